"""Which builder lays out which table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.study.paper import paper_facts
from reports.results.results import Results
from reports.tables.ablation import build_table
from reports.tables.columns import choose_columns
from reports.tables.effects import build_effects
from reports.tables.footnotes import scale_warning
from reports.tables.literature import build_literature
from reports.tables.model import Table
from reports.tables.recipe import build_settings
from reports.tables.search import search_tables

BUILDERS: dict[str, Callable[[int, Results | None], Table]] = {"recipe": build_settings, "comparison": build_literature}
"""By the kind of the paper's table; any other is laid out as an ablation."""


def need_no_study() -> list[int]:
    """Return the numbers of the paper's tables that say something before anything has run."""
    return [number for number, facts in paper_facts().items() if not facts.needs_study]


def build_all(
    numbers: Sequence[int], results: Sequence[Results], *, everything: bool = False, columns: Sequence[str] = ()
) -> list[Table]:
    """Lay out the results, and the paper's tables that need none, in the order of their numbers.

    Args:
        numbers: tables asked for.
        results: what was collected, one per study.
        everything: add those that need no results even if they were not asked for.
        columns: only these, where a table has them; empty: all.

    Raises:
        ConfigError: no table has a column that is asked for.
    """
    standing = need_no_study()
    wanted = standing if everything else [n for n in standing if n in numbers]
    measured = {found.table for found in results}
    tables = [table for found in results for table in build_tables(found)]
    tables += [BUILDERS[paper_facts()[n].kind](n, None) for n in wanted if n not in measured]
    return _told_apart(choose_columns(sorted(tables, key=lambda table: table.number or 99), columns))


def _told_apart(tables: Sequence[Table]) -> list[Table]:
    """Give every table of a document a reference of its own: two studies may reproduce one table of the paper."""
    seen: Counter[str] = Counter()
    told = []
    for table in tables:
        seen[table.key] += 1
        told.append(replace(table, anchor=f"{table.key}-{seen[table.key]}" if seen[table.key] > 1 else ""))
    return told


def build_tables(results: Results) -> list[Table]:
    """Lay out one study: its rows, if it has any, the effects of a factorial, and what its search has found."""
    tables = [build_one(results)] if results.rows or results.search is None else []
    if results.present:
        tables.append(build_effects(results))
    if results.search is not None:
        warning = scale_warning(results)
        tables += search_tables(results.study, results.profile, results.search, warning)
    return [replace(table, source=results) for table in tables]


def build_one(results: Results) -> Table:
    """Lay out one study."""
    kind = paper_facts()[results.table].kind if results.table else ""
    if results.table is not None and kind in BUILDERS:
        return BUILDERS[kind](results.table, results)
    return build_table(results)

"""Which builder lays out which table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.garbage import gc_paused
from reports.results.results import Results
from reports.tables import literature
from reports.tables.ablation import build_table
from reports.tables.footnotes import scale_warning
from reports.tables.model import Table
from reports.tables.recipe import build_settings
from reports.tables.search import search_tables

NEED_NO_STUDY = (1, *literature.NUMBERS)
"""Tables of the paper that say something before anything has run."""


@gc_paused()
def build_all(numbers: Sequence[int], results: Sequence[Results], *, everything: bool = False) -> list[Table]:
    """Lay out the results, and the paper's tables that need none, in the order of their numbers.

    Args:
        numbers: tables asked for.
        results: what was collected, one a study.
        everything: add Tables 1, 7 and 8 even if they were not asked for.
    """
    wanted = {*numbers, *(NEED_NO_STUDY if everything else ())}
    measured = {found.table for found in results}
    tables = [table for found in results for table in build_tables(found)]
    tables += [build_settings()] if 1 in wanted and 1 not in measured else []
    tables += [literature.build_literature(n) for n in literature.NUMBERS if n in wanted and n not in measured]
    return _told_apart(sorted(tables, key=lambda table: table.number or 99))


def _told_apart(tables: Sequence[Table]) -> list[Table]:
    """Give every table of a document a reference of its own: two studies may reproduce one table of the paper."""
    seen: Counter[str] = Counter()
    told = []
    for table in tables:
        seen[table.key] += 1
        told.append(replace(table, anchor=f"{table.key}-{seen[table.key]}" if seen[table.key] > 1 else ""))
    return told


def build_tables(results: Results) -> list[Table]:
    """Lay out one study: its rows, if it has any, and what its search has found, if it has one."""
    tables = [build_one(results)] if results.rows or results.search is None else []
    if results.search is not None:
        warning = scale_warning(results)
        tables += search_tables(results.study, results.profile, results.search, warning)
    return [replace(table, source=results) for table in tables]


def build_one(results: Results) -> Table:
    """Lay out one study."""
    if results.table in literature.NUMBERS:
        assert results.table is not None
        return literature.build_literature(results.table, results)
    return build_table(results)

"""Comparisons (Tables 7 and 8): the literature as reported, in the paper's compartments, and our rows as measured."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.study.names import pair_names
from reports import paper
from reports.analysis.comparison import Comparison, compare_rows
from reports.analysis.self_checks import self_checks
from reports.paper import PaperRow, PaperTable
from reports.paper.costs import cost_of_table
from reports.paper.recounts import RECOUNTS, recount
from reports.results.results import Results, RowResults
from reports.results.state import State
from reports.tables import differences
from reports.tables.ablation import best_marked
from reports.tables.cells import (
    COSTS,
    METRICS,
    accuracy_cell,
    average,
    cost_cell,
    cost_data,
    coverage_cell,
    decimals_of,
    paper_cell,
    views_cell,
)
from reports.tables.footnotes import (
    comparison_notes,
    doubt_notes,
    finding_notes,
    override_notes,
    problem_notes,
    scale_warning,
)
from reports.tables.model import Cell, Column, Note, Origin, Row, Table

if TYPE_CHECKING:
    from reports.paper.costs import CostRow

OURS = "our implementation"
"""The compartment whose rows can be run here."""


def build_literature(number: int, results: Results | None = None) -> Table:
    """Lay out Table 7 or 8.

    Args:
        number: 7 (Something-Something V2) or 8 (Kinetics-400).
        results: of a study with this ``table``, whose rows are named ``Method Backbone``; None: nothing measured.
    """
    printed = paper.paper_table(number)
    counted = {row.row: row for row in cost_of_table(number).rows}
    notes = [Note(f"Top-1, Top-5 and Flops of the paper and of the literature are as the paper reports them "
                  f"({printed.facts.setting}); Flops are of one view × the number of views.")]  # fmt: skip
    comparison = None
    if results is not None:
        comparison = compare_rows(results)
        notes += override_notes(results)
        notes += [Note(text) for text in results.remarks]
        notes += finding_notes(results.findings)
    ours = {row.name: row for row in results.rows} if results else {}
    names = {theirs: own for own, theirs in pair_names(ours, [row.name for row in printed.rows]).items()}
    marks, why = _recount_notes(number)
    rows = [
        _row(
            number,
            about,
            ours.pop(names[about.name]) if about.name in names else None,
            counted.get(about.name),
            marks,
            comparison,
        )
        for about in printed.rows
    ]
    rows += [_own(row, comparison) for row in ours.values()]
    if results is None:
        notes.append(Note(f"Nothing is measured: no study with 'table: {number}' runs at this profile. Its rows are "
                          "matched by name, e.g. 'FAR (MVD) ViT-S'."))  # fmt: skip
    else:
        notes += doubt_notes(results, printed)
        if not names:
            notes.append(Note("None of the study's rows is one of the paper's, which bear method and backbone, "
                              "e.g. 'FAR (MVD) ViT-S': they stand last, without numbers of the paper."))  # fmt: skip
        notes.append(Note("Measured: mean ± sample standard deviation over n seeds."))
        notes += comparison_notes(comparison, number if names else None, is_paper_setting=results.comparable)
        notes += [Note(f"{text}.") for text in self_checks(results, comparison)]
        notes += problem_notes(results)
    notes.append(Note("Counted: FLOPs of one view at the paper's scale by one convention (farlab cost)."))
    return Table(
        key=str(number),
        number=number,
        study=results.study if results else "",
        caption=_caption(printed, results),
        columns=tuple(_columns(results, comparison)),
        rows=tuple(best_marked([_highlighted(row, results) for row in rows])),
        profile=results.profile if results else "",
        warning=scale_warning(results) if results else "",
        notes=(*why, *notes),
        provenance={"study": str(results.path) if results else "", "store": str(results.store) if results else ""},
    )


def _caption(printed: PaperTable, results: Results | None) -> str:
    """Return the study's own title; where it is the paper's caption cut short, or there is none, the caption."""
    return results.title if results and results.title and not printed.title.startswith(results.title) else printed.title


def _columns(results: Results | None, comparison: Comparison | None) -> list[Column]:
    columns = [Column(key, key, Origin.LABEL) for key in ("Method", "Extra Data", "Backbone")]
    columns += [
        Column("paper_flops", "Flops (G)", Origin.PAPER),
        Column("paper_top1", "Top-1 (%)", Origin.PAPER),
        Column("paper_top5", "Top-5 (%)", Origin.PAPER),
        Column("counted_flops", "Flops (G)", Origin.COUNTED),
        Column("counted_params", "Param (M)", Origin.COUNTED),
    ]
    if results is not None:
        columns += [Column(name, title) for name, title in METRICS.items()]
        columns += differences.columns(comparison)
        columns += [
            Column("flops", "FLOPs (G)"),
            Column("n", "seeds", foldable=True),
            Column("coverage", "evaluated/expected videos", foldable=True),
            Column("views", "views (frames × clips × crops)", foldable=True),
        ]
    return columns


def _recount_notes(number: int) -> tuple[dict[str, str], list[Note]]:
    """Letters and texts where a recount departs from the reported number."""
    found = {name: recount(number, name) for table, name in RECOUNTS if table == number}
    reasons = {name: each.why for name, each in found.items() if each and each.why}
    marks = dict(zip(reasons, string.ascii_lowercase, strict=False))
    return marks, [Note(f"{name}: {reasons[name]}.", mark) for name, mark in marks.items()]


def _row(
    number: int,
    about: PaperRow,
    line: RowResults | None,
    counted: CostRow | None,
    marks: Mapping[str, str],
    comparison: Comparison | None,
) -> Row:
    flops, views = about.numbers["flops"], about.numbers["views"]
    cells = {title: Cell(text) for title, text in about.labels.items()}
    cells["paper_flops"] = Cell(f"{'n/a' if flops is None else f'{flops:g}'} × {views:g}")
    cells |= {f"paper_{name}": paper_cell(about.numbers[name]) for name in METRICS}
    cost = counted or recount(number, about.name)
    if cost:
        mark = (marks[about.name],) if about.name in marks else ()
        cells["counted_flops"] = Cell(cost.flops / 1e9, decimals=1, marks=mark)
        cells["counted_params"] = Cell(cost.params / 1e6, decimals=1) if cost.params else Cell()
    state = line.state if line else State.MISSING if about.group == OURS else State.UNREPORTED
    cells |= (
        _measured(line, comparison) if line else {name: Cell(state=state) for name in METRICS if state is State.MISSING}
    )
    metrics = {name: list(line.by_seed(name).values()) if line else [] for name in METRICS}
    if line and line.name != about.name:
        cells["Method"] = Cell(line.name)  # a row bears the name that it was given
    data = {
        "row": line.name if line else about.name,
        "group": about.group,
        **{title.lower().replace(" ", "_"): text for title, text in about.labels.items()},
        "metrics": {name: average(values) for name, values in metrics.items()},
        **(cost_data(line) if line else dict.fromkeys(COSTS)),
        "counted": {"flops": cost.flops, "params": cost.params} if cost else None,
        "paper": dict(about.numbers),
        "delta": {"top1": differences.data(comparison, line.name)} if comparison and line else None,
        "pairs": differences.pairs_data(comparison, line.name) if comparison and line else [],
        "state": state.value,
    }
    return Row(line.name if line else about.name, cells, state, group=about.group, data=data)


def _highlighted(row: Row, results: Results | None) -> Row:
    return replace(row, default=results is not None and results.baseline_asked and row.name == results.baseline)


def _own(line: RowResults, comparison: Comparison | None) -> Row:
    """A row of the study that the paper does not have."""
    data = {
        "row": line.name,
        "group": "this study",
        "metrics": {name: average(list(line.by_seed(name).values())) for name in METRICS},
        **cost_data(line),
        "paper": None,
        "delta": {"top1": differences.data(comparison, line.name)} if comparison else None,
        "pairs": differences.pairs_data(comparison, line.name) if comparison else [],
        "state": line.state.value,
    }
    return Row(
        line.name, {"Method": Cell(line.name), **_measured(line, comparison)}, line.state, group="this study", data=data
    )


def _measured(line: RowResults, comparison: Comparison | None) -> dict[str, Cell]:
    cells = {name: accuracy_cell(line, name) for name in METRICS}
    cells["flops"] = cost_cell(line, "flops", decimals_of([line], "flops"))
    cells["n"] = Cell(f"{len(line.finished)}/{len(line.planned)}")
    if comparison:
        cells |= differences.cells(comparison, line.name, line.state)
    return cells | {"coverage": coverage_cell(line), "views": views_cell(line)}

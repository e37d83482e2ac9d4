"""Comparisons (Tables 7 and 8): the literature as reported, in the paper's compartments, and our rows as measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from reports import paper
from reports.analysis.comparison import compare_rows
from reports.analysis.self_checks import self_checks
from reports.paper import PaperRow, PaperTable
from reports.paper.costs import cost_of_table
from reports.paper.recounts import RECOUNTS, recount
from reports.results.results import Results, RowResults
from reports.results.state import State
from reports.tables.ablation import best_marked
from reports.tables.cells import METRICS, paper_cell
from reports.tables.footnotes import (
    comparison_notes,
    doubt_notes,
    finding_notes,
    note_letters,
    override_notes,
    problem_notes,
    scale_warning,
)
from reports.tables.lines import Line, join_lines, measured_columns
from reports.tables.model import Cell, Column, Note, Origin, Row, Table
from reports.tables.quoted import quoted_columns, quoted_lines

if TYPE_CHECKING:
    from reports.paper.costs import CostRow
    from reports.paper.recounts import Recount

OURS = "our implementation"
"""The compartment whose rows can be run here."""
OWN = "this study"
"""That of the rows which the paper does not have."""
COLUMNS = (
    *(Column(key, key, Origin.LABEL) for key in ("Method", "Extra Data", "Backbone")),
    Column("paper_flops", "Flops (G)", Origin.PAPER),
    Column("paper_top1", "Top-1 (%)", Origin.PAPER),
    Column("paper_top5", "Top-5 (%)", Origin.PAPER),
    Column("counted_flops", "Flops (G)", Origin.COUNTED),
    Column("counted_params", "Param (M)", Origin.COUNTED),
)


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
    letters = note_letters()
    marks, marked = _recount_notes(number, letters)
    comparison = None
    papers: dict[str, PaperRow] = {}
    own: dict[str, Line] = {}
    quoted: list[Row] = []
    if results is not None:
        papers = printed.rows_of([row.name for row in results.rows])
        comparison = compare_rows(results)
        own, about_trials = join_lines(results, papers, comparison, letters)
        marked += about_trials
        quoted, sources = quoted_lines(results, letters, "Method")
        marked += sources
        notes += override_notes(results)
        notes += [Note(text) for text in results.remarks]
        notes += finding_notes(results.findings)
    ours = {line.paper.name: line for line in own.values() if line.paper}
    rows = []
    for about in printed.rows:
        line = ours.get(about.name) or Line(RowResults(about.name, ()), about)
        rows.append(
            _row(line, about, counted.get(about.name) or recount(number, about.name), marks.get(about.name, ()))
        )
    rows += [_own(line) for line in own.values() if line.paper is None]
    if results is None:
        notes.append(Note(f"Nothing is measured: no study with 'table: {number}' runs at this profile. Its rows are "
                          "matched by name, e.g. 'FAR (MVD) ViT-S'."))  # fmt: skip
    else:
        notes += doubt_notes(results, printed)
        if not papers:
            notes.append(Note("None of the study's rows is one of the paper's, which bear method and backbone, "
                              "e.g. 'FAR (MVD) ViT-S': they stand last, without numbers of the paper."))  # fmt: skip
        notes.append(Note("Measured: mean ± sample standard deviation over n seeds."))
        notes += comparison_notes(comparison, number if papers else None, is_paper_setting=results.comparable)
        notes += [Note(f"{text}.") for text in self_checks(results, comparison)]
        notes += problem_notes(results)
    notes.append(Note("Counted: FLOPs of one view at the paper's scale by one convention (farlab cost)."))
    return Table(
        key=str(number),
        number=number,
        study=results.study if results else "",
        caption=_caption(printed, results),
        columns=(
            *COLUMNS,
            *((*measured_columns(comparison, ["flops"]), *quoted_columns(results)) if results else ()),
        ),
        rows=(*best_marked([_highlighted(row, results) for row in rows]), *quoted),
        profile=results.profile if results else "",
        warning=scale_warning(results) if results else "",
        notes=(*marked, *notes),
        provenance={"study": str(results.path) if results else "", "store": str(results.store) if results else ""},
    )


def _caption(printed: PaperTable, results: Results | None) -> str:
    """Return the study's own title; where it is the paper's caption cut short, or there is none, the caption."""
    return results.title if results and results.title and not printed.title.startswith(results.title) else printed.title


def _recount_notes(number: int, letters: Iterator[str]) -> tuple[dict[str, tuple[str, ...]], list[Note]]:
    """Letters and texts where a recount departs from the reported number."""
    marks: dict[str, tuple[str, ...]] = {}
    notes = []
    for table, name in RECOUNTS:
        found = recount(table, name) if table == number else None
        if found and found.why:
            marks[name] = (next(letters),)
            notes.append(Note(f"{name}: {found.why}.", *marks[name]))
    return marks, notes


def _row(line: Line, about: PaperRow, counted: CostRow | Recount | None, marks: tuple[str, ...]) -> Row:
    """Lay out a row of the paper, with what was measured where it is one of the study's."""
    flops, views = about.numbers["flops"], about.numbers["views"]
    is_measured = bool(line.results.planned)
    state = line.state if is_measured or about.group == OURS else State.UNREPORTED
    cells = line.cells() | {"n": _seeds(line)} if is_measured else {}
    if not is_measured and state is State.MISSING:
        cells |= {name: Cell(state=state) for name in METRICS}
    cells |= {title: Cell(text) for title, text in about.labels.items()}
    cells["paper_flops"] = Cell(f"{'n/a' if flops is None else f'{flops:g}'} × {views:g}")
    cells |= {f"paper_{name}": paper_cell(about.numbers[name]) for name in METRICS}
    if counted:
        cells["counted_flops"] = Cell(counted.flops / 1e9, decimals=1, marks=marks)
        cells["counted_params"] = Cell(counted.params / 1e6, decimals=1) if counted.params else Cell()
    if line.name != about.name:
        cells["Method"] = Cell(line.name)  # a row bears the name that it was given
    data = {
        **line.data(),
        "group": about.group,
        **{title.lower().replace(" ", "_"): text for title, text in about.labels.items()},
        "counted": {"flops": counted.flops, "params": counted.params} if counted else None,
        "state": state.value,
    }
    return Row(line.name, cells, state, group=about.group, data=data)


def _own(line: Line) -> Row:
    """Lay out a row of the study that the paper does not have."""
    cells = {"Method": Cell(line.name), **line.cells(), "n": _seeds(line)}
    return Row(line.name, cells, line.state, group=OWN, data={**line.data(), "group": OWN})


def _seeds(line: Line) -> Cell:
    return Cell(f"{len(line.results.finished)}/{len(line.results.planned)}")


def _highlighted(row: Row, results: Results | None) -> Row:
    return replace(row, default=results is not None and results.baseline_asked and row.name == results.baseline)

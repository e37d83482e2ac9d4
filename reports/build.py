"""From results to a table in the paper's layout: measured columns first, the paper's own beside them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from reports import paper
from reports.comparability import Finding, findings, incomparable
from reports.differences import Comparison, compare_rows
from reports.paper import PaperRow, PaperTable
from reports.results import Results, RowResults, TrialRecord
from reports.table import Cell, Column, Note, Origin, Row, State, Table

METRICS = {"top1": "Top-1 (%)", "top5": "Top-5 (%)"}
"""Accuracies of a row, in the paper's order."""

COSTS: dict[str, tuple[str, Callable[[int], float]]] = {
    "flops": ("FLOPs (G)", lambda count: count / 1e9),
    "params": ("Params (M)", lambda count: count / 1e6),
}
"""Costs of the model that ran, in the paper's units."""

PAPER_TITLES = {"top1": "Top-1 (%)", "top5": "Top-5 (%)", "flops": "FLOPS (G)", "params": "Param (M)"}


def build_table(results: Results) -> Table:
    """Lay out a study: as the paper's table if it reproduces one, else in the same form without its columns.

    Args:
        results: the plan joined with what has finished.
    """
    printed = paper.paper_table(results.table) if results.table in paper.paper_tables()[1:] else None
    found = findings(results)
    results = results.without(incomparable(found))
    comparison = compare_rows(results)
    lines = _lines(results, printed)
    costs = {name: _decimals(_cost_values(results.rows, name)) for name in COSTS}
    rows = [_row(results, line, about, costs, comparison) for line, about in lines]
    rows = _best_marked(rows)
    return Table(
        key=str(results.table) if printed else results.study,
        caption=printed.title if printed else results.title or results.study,
        columns=tuple(_columns(results, printed, comparison)),
        rows=tuple(_ruled(rows, printed)),
        profile=results.profile,
        warning=_warning(results),
        notes=tuple(_notes(results, printed, comparison, found)),
        provenance={"study": str(results.path or results.study), "store": str(results.store or "")},
    )


def _lines(results: Results, printed: PaperTable | None) -> list[tuple[RowResults, PaperRow | None]]:
    """Return the rows in the paper's order; rows of the study's own come after them."""
    if printed is None:
        return [(row, None) for row in results.rows]
    about = {row.name: printed.row(row.name) for row in results.rows}
    order = {row.name: index for index, row in enumerate(printed.rows)}
    lines = [(row, about[row.name]) for row in results.rows]
    return sorted(lines, key=lambda line: order[line[1].name] if line[1] else len(order))


def _columns(results: Results, printed: PaperTable | None, comparison: Comparison | None) -> list[Column]:
    head = printed.label_columns[0] if printed else results.row_header
    columns = [Column("row", head, Origin.LABEL)]
    columns += [Column(name, title) for name, title in METRICS.items()]
    if comparison and comparison.differences:
        columns.append(Column("delta_top1", "Δ Top-1"))
    columns += [Column(name, title) for name, (title, _) in COSTS.items()]
    columns += [
        Column("n", "n"),
        Column("coverage", "evaluated/expected videos", foldable=True),
        Column("views", "views (frames × clips × crops)", foldable=True),
    ]
    if printed:
        numbers = [paper.METRIC_OF_COLUMN.get(title) for title in printed.columns]
        columns += [Column(f"paper_{n}", PAPER_TITLES[n], Origin.PAPER) for n in numbers if n in PAPER_TITLES]
    return columns


def _row(
    results: Results,
    line: RowResults,
    about: PaperRow | None,
    costs: dict[str, int],
    comparison: Comparison | None,
) -> Row:
    cells = {"row": Cell(about.name if about else line.name)}
    cells |= {name: accuracy_cell(line, name) for name in METRICS}
    cells |= {name: cost_cell(line, name, decimals) for name, decimals in costs.items()}
    cells["n"] = Cell(
        f"{len(line.finished)}/{len(line.trials)}" if line.state is not State.FINISHED else str(len(line.finished))
    )
    if comparison:
        cells["delta_top1"] = comparison.cell(line.name, line.state)
    cells["coverage"] = coverage_cell(line)
    cells["views"] = views_cell(line)
    if about:
        for name in PAPER_TITLES:
            cells[f"paper_{name}"] = paper_cell(about.numbers.get(name))
    return Row(
        name=about.name if about else line.name,
        cells=cells,
        state=line.state,
        default=line.name == results.baseline,
        seeds=tuple(trial.seed for trial in line.trials),
        data=_data(line, about, comparison),
    )


def _data(line: RowResults, about: PaperRow | None, comparison: Comparison | None) -> dict[str, object]:
    """The row for machines: means and deviations unrounded, costs as exact integers."""
    metrics = {}
    for name in (*METRICS, "loss"):
        values = list(line.by_seed(name).values())
        metrics[name] = {
            "mean": statistics.fmean(values) if values else None,
            "std": statistics.stdev(values) if len(values) > 1 else None,
            "n": len(values),
            "values": values,
        }
    costs = {name: {getattr(t, name) for t in line.trials} - {None} for name in COSTS}
    return {
        "row": line.name,
        "metrics": metrics,
        **{name: counts.pop() if len(counts) == 1 else None for name, counts in costs.items()},
        "delta": {"top1": comparison.data(line.name)} if comparison else None,
        "paper": dict(about.numbers) if about else None,
        "state": line.state.value,
        "seeds": {str(t.seed): {"key": t.key, "state": t.state.value} for t in line.trials},
    }


def accuracy_cell(line: RowResults, metric: str) -> Cell:
    """Mean and sample standard deviation over the finished seeds; a single seed has no deviation."""
    values = tuple(line.by_seed(metric).values())
    if not values:
        return Cell(state=line.state if line.state is not State.FINISHED else State.MISSING)
    return Cell(
        value=statistics.fmean(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
        state=line.state if len(values) == len(line.trials) else State.PARTIAL,
        values=values,
        expected=len(line.trials),
        decimals=1,
        trials=tuple(trial.key for trial in line.finished),
    )


def _cost_values(rows: Sequence[RowResults], name: str) -> list[float]:
    convert = COSTS[name][1]
    return [convert(getattr(t, name)) for row in rows for t in row.trials if getattr(t, name) is not None]


def cost_cell(line: RowResults, name: str, decimals: int) -> Cell:
    """FLOPs (G) or parameters (M) of the model that ran; seeds that disagree are shown, not averaged."""
    values = sorted(set(_cost_values([line], name)))
    keys = tuple(trial.key for trial in line.trials if getattr(trial, name) is not None)
    if not values:
        return Cell(state=line.state if line.state is not State.FINISHED else State.MISSING)
    if len(values) > 1:
        return Cell(" or ".join(f"{v:.{decimals}f}" for v in values), state=State.INCOMPARABLE, trials=keys)
    return Cell(values[0], decimals=decimals, trials=keys)


def coverage_cell(line: RowResults) -> Cell:
    """Evaluated/expected videos, of all finished seeds together if they differ."""
    counts = {(t.result.get("evaluated"), t.result.get("expected")) for t in line.finished}
    return Cell(", ".join(sorted(f"{done}/{expected}" for done, expected in counts)) or None)


def views_cell(line: RowResults) -> Cell:
    """Frames × clips × crops at test time."""
    views = {trial.views for trial in line.finished if trial.views}
    return Cell(", ".join(" × ".join(str(n) for n in view) for view in sorted(views)) or None)


def paper_cell(value: float | None) -> Cell:
    """A number as the paper prints it."""
    return Cell(value, decimals=1) if value is not None else Cell(state=State.UNREPORTED)


def _decimals(values: Sequence[float]) -> int:
    """One decimal at the paper's scale; at demo scale, enough to tell rows apart."""
    largest = max(values, default=0)
    return 1 if largest >= 10 or largest <= 0 else 2 if largest >= 1 else 4


def _best_marked(rows: Sequence[Row]) -> list[Row]:
    """Mark the highest accuracy of each column among complete rows (all that print the same digits)."""
    marked = list(rows)
    for metric in METRICS:
        complete = [r.cells[metric] for r in rows if r.cells[metric].state is State.FINISHED]
        numbers = [round(float(c.value), c.decimals) for c in complete if isinstance(c.value, float)]
        if len(numbers) < 2:
            continue
        for index, row in enumerate(marked):
            cell = row.cells[metric]
            is_best = cell.state is State.FINISHED and isinstance(cell.value, float)
            if is_best and round(float(cell.value or 0), cell.decimals) == max(numbers):
                marked[index] = replace(row, cells={**row.cells, metric: replace(cell, best=True)})
    return marked


def _ruled(rows: Sequence[Row], printed: PaperTable | None) -> list[Row]:
    """Ask for a rule where the paper draws one between compartments."""
    after = paper.RULED_AFTER.get(printed.number, ()) if printed else ()
    ruled = {i + 1 for i, row in enumerate(rows) if row.name in after}
    return [replace(row, ruled=index in ruled) for index, row in enumerate(rows)]


def _warning(results: Results) -> str:
    if results.comparable:
        return ""
    return (
        f"Profile {results.profile}: a small model on small data. These numbers show that the pipeline "
        "works; they are not comparable with the paper's."
    )


def _notes(
    results: Results, printed: PaperTable | None, comparison: Comparison | None, found: Sequence[Finding]
) -> list[Note]:
    notes = [Note("Mean ± sample standard deviation over n seeds; a single seed has no ±.")]
    if comparison:
        notes += comparison.notes() + [Note(f"Problem: {text}") for text in comparison.problems]
    notes += [Note(f"{'Not comparable' if f.fatal else 'Careful'}: {f.text}.") for f in found]
    if printed:
        notes.append(Note(f"Columns marked 'paper' are the paper's own numbers ({paper.SETTING[printed.number]})."))
    notes += [Note(f"Problem: {text}") for text in results.problems]
    if not any(trial.state is not State.MISSING for row in results.rows for trial in row.trials):
        notes.append(Note(f"Nothing has run yet: farlab sweep {results.path or results.study}"))
    for row in results.rows:
        for trial in row.trials:
            if trial.state is not State.FINISHED and row.state is not State.MISSING:
                notes.append(Note(f"{row.name}, seed {trial.seed}: {_why(trial)}"))
    return notes


def _why(trial: TrialRecord) -> str:
    """What became of a trial that has no number, in one line."""
    error = trial.result.get("error") or {}
    message = str(error.get("message", "")).split("\n")[0][:160]
    return f"{trial.state.value} ({error.get('kind', 'error')}): {message}" if message else trial.state.value

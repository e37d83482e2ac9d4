"""A plan for people and as plain data."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from orchestrator.cli.console import make_console
from orchestrator.estimate.format import between, format_estimate
from orchestrator.plan import changed_code, starts
from orchestrator.plan.changed_code import CHANGED
from orchestrator.plan.starts import accounts
from orchestrator.study.as_typed import sweep_command

if TYPE_CHECKING:
    from orchestrator.estimate import CostEstimate
    from orchestrator.plan.changed_code import Verdict
    from orchestrator.plan.plan import Plan, PlannedTrial


def as_json(
    plan: Plan, estimate: CostEstimate | None = None, selected: list[PlannedTrial] | None = None
) -> dict[str, Any]:
    """Return the plan, its cost estimate and what fits into a budget as plain data.

    ``id`` is unique within the plan; it is the trial's key, which is null until its data are there.
    """
    return {
        "studies": [
            {"study": s.name, "table": s.table, "profile": s.profile.name, "path": str(s.path)} for s in plan.studies
        ],
        "trials": [
            {
                "study": t.study,
                "row": t.row,
                "seed": t.seed,
                "key": t.key if t.is_known else None,
                "id": t.key,
                "state": t.state,
                "done": t.done,
            }
            for t in plan.trials
        ],
        "distinct": len(plan.unique()),
        "to_run": [trial.key for trial in plan.missing()],
        "duplicates": [{"study": d.study, "rows": list(d.rows)} for d in plan.duplicates],
        "problems": list(plan.problems),
        "unusable": list(plan.unusable),
        "damaged": list(plan.damaged),
        "earlier": list(plan.earlier),
        "starts": [
            {"study": s.study, "row": s.row, "weights": s.weights, **s.load_report.as_json()} for s in plan.starts
        ],
        "other_frames": list(plan.other_frames),
        **changed_code.as_json(plan.code),
        "notes": list(dict.fromkeys(text for study in plan.studies for text in study.notes)),
        "price": _estimate_json(estimate) if estimate else None,
        "bought": [trial.key for trial in selected] if selected is not None else None,
    }


def _estimate_json(estimate: CostEstimate) -> dict[str, Any]:
    return {
        "device": estimate.target.name,
        "devices": estimate.target.count,
        "unit": estimate.target.unit,
        "device_hours": estimate.device_hours,
        "device_hours_range": estimate.hours_range,
        "seconds": estimate.seconds,
        "seconds_range": estimate.spans,
        "disk_bytes": estimate.disk,
        "mlflow_bytes": estimate.copies,
        "peak_memory_bytes": estimate.memory,
        "fit_on_a_device": estimate.fit,
        "at_once": estimate.at_once,
        "estimate": estimate.is_estimate,
        "unknown": list(estimate.unknown),
        "trials": {
            key: {
                "seconds": cost.seconds,
                "seconds_range": [cost.low, cost.high],
                "device_hours": cost.device_hours,
                "memory_bytes": cost.memory,
                "disk_bytes": cost.disk,
                "basis": cost.basis,
            }
            for key, cost in estimate.costs.items()
        },
    }


def show(plan: Plan, estimate: CostEstimate | None = None, selected: list[PlannedTrial] | None = None) -> None:
    """Print the plan as a table, and what is wrong with it on standard error."""
    console = make_console()
    chosen = {trial.key for trial in selected or ()}
    for study in plan.studies:
        number = f"Table {study.table}: " if study.table else ""
        title = f"{number}{study.title or study.name} (profile {study.profile.name})"
        table = Table(title=title, title_justify="left")
        headers = [study.row_header, "seed", "trial", "state"]
        headers += [*(["time"] if estimate else []), *(["in budget"] if selected is not None else [])]
        for header in headers:
            table.add_column(header, overflow="fold")
        for trial in plan.cells(study.name):
            state = f"{trial.state}, run again" if trial.again else trial.state
            if not trial.again and trial.key in plan.code and plan.code[trial.key].state == CHANGED:
                state += ", stale"
            cells = [trial.row, str(trial.seed), trial.key if trial.is_known else "after generation", state]
            if estimate:
                cost = estimate.costs.get(trial.key)
                mark = "~" if cost and cost.basis != "measured" else ""
                cells.append("" if trial.done else mark + between(cost.low, cost.high) if cost else "?")
            if selected is not None:
                cells.append("" if trial.done else "yes" if trial.key in chosen else "no")
            table.add_row(*cells)
        console.print(table)
    for text in accounts(plan):
        console.print(text, markup=False)
    distinct, left = plan.unique(), plan.missing()
    console.print(
        f"{len(plan.trials)} cells, {len(distinct)} distinct trials: "
        f"{len(distinct) - len(left)} done, {len(left)} to run"
    )
    if estimate and left:
        for line in format_estimate(estimate, len(left), None if selected is None else len(selected)):
            console.print(line)
    if not all(trial.is_known for trial in plan.trials):
        print(
            "the demo data set is not generated yet: keys, and what the store has of them, are known once it is "
            "(`farlab sweep`, or `farlab data generate`)"
        )
    for line in warnings(plan):
        print(line, file=sys.stderr)


def _stale(plan: Plan, verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    """Yield what to do about stale trials, study by study."""
    for study in plan.studies:
        keys = dict.fromkeys(trial.key for trial in plan.trials if trial.study == study.name)
        own = {key: verdicts[key] for key in keys if key in verdicts}
        sweep = sweep_command(study.path, study.profile.name, study.seeds, study.overrides)
        yield from (f"warning: {text}" for text in changed_code.described(own, sweep))


def warnings(plan: Plan) -> list[str]:
    """Return warnings and notes on the plan, one line each."""
    again = {trial.key for trial in plan.trials if trial.again}
    kept = {key: verdict for key, verdict in plan.code.items() if key not in again}
    short = {
        f"{trial.config.recipe.epochs} epochs with {trial.config.recipe.warmup_epochs:g} of warm-up"
        for trial in plan.trials
        if trial.config.recipe.warmup_epochs >= trial.config.recipe.epochs
    }
    return [
        *(f"warning: {text}: the learning rate never comes down" for text in sorted(short)),
        *(f"warning: {duplicate}" for duplicate in plan.duplicates),
        *(f"warning: {text}" for text in starts.warnings(plan)),
        *(f"problem: {text}" for text in (*plan.problems, *plan.unusable)),
        *(f"damaged: {text}; the trial will be run again" for text in plan.damaged),
        *(f"warning: {text}" for text in plan.other_frames),
        *_stale(plan, kept),
        *(f"note: {text}" for text in changed_code.unknown(kept)),
        *dict.fromkeys(f"note: {text}" for study in plan.studies for text in study.notes),
        *(f"note: {text}" for text in plan.earlier),
    ]

"""``farlab plan``: what a sweep would run, and what the store already has."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from orchestrator.commands.options import JsonOption, ProfileOption, SeedsOption, Targets

if TYPE_CHECKING:
    from orchestrator.plan import Plan


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("plan")
    def plan(
        targets: Targets,
        profile: ProfileOption = None,
        seeds: SeedsOption = None,
        json_: JsonOption = False,
    ) -> None:
        """Show the trials of studies, which are done, and what the rest costs."""
        from orchestrator.commands.options import plan_targets

        made, _, _ = plan_targets(targets, profile, seeds)
        if json_:
            print(json.dumps(as_json(made), indent=1, ensure_ascii=False))
            return
        show(made)


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain data."""
    return {
        "studies": [
            {"study": s.name, "table": s.table, "profile": s.profile.name, "path": str(s.path)} for s in plan.studies
        ],
        "trials": [
            {"study": t.study, "row": t.row, "seed": t.seed, "key": t.key, "state": t.state, "done": t.done}
            for t in plan.trials
        ],
        "distinct": len(plan.unique()),
        "to_run": [trial.key for trial in plan.missing()],
        "duplicates": [{"study": d.study, "rows": list(d.rows)} for d in plan.duplicates],
        "problems": list(plan.problems),
        "damaged": list(plan.damaged),
    }


def show(plan: Plan) -> None:
    """Print the plan as a table, and what is wrong with it on standard error."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    for study in plan.studies:
        number = f"Table {study.table}: " if study.table else ""
        table = Table(title=f"{number}{study.title or study.name} (profile {study.profile.name})", title_justify="left")
        for header in (study.row_header, "seed", "trial", "state"):
            table.add_column(header, overflow="fold")
        for trial in plan.cells(study.name):
            table.add_row(trial.row, str(trial.seed), trial.key, trial.state)
        console.print(table)
    distinct, left = plan.unique(), plan.missing()
    console.print(
        f"{len(plan.trials)} cells, {len(distinct)} distinct trials: "
        f"{len(distinct) - len(left)} done, {len(left)} to run"
    )
    for line in warnings(plan):
        print(line, file=sys.stderr)


def warnings(plan: Plan) -> list[str]:
    """Return what a user should know before running the plan, one line each."""
    return [
        *(f"warning: {duplicate}" for duplicate in plan.duplicates),
        *(f"problem: {text}" for text in plan.problems),
        *(f"damaged: {text}; the trial will be run again" for text in plan.damaged),
    ]

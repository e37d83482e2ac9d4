"""``farlab check-plugin``: does what a plug-in registers do what its axis needs?"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from far.errors import ConfigError
from far.plugins import load_plugin
from orchestrator.cli.options import JsonOption

if TYPE_CHECKING:
    from far.testing.entries import Outcome

MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


def check_plugin(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Plug-ins: files, folders or installed modules.")
    ],
    json_: JsonOption = False,
) -> int:
    """Run the conformance suite on what plug-ins register; exit 3 if something fails, 2 if one cannot be loaded.

    Examples:
        farlab check-plugin my_ideas.py
        farlab check-plugin mylab.patterns --json
    """
    plugins = list({plugin.code.module: plugin for plugin in map(load_plugin, files)}.values())

    from far.testing.entries import run_checks

    outcomes: list[Outcome] = []
    heading = ""
    for outcome in run_checks(plugins):
        outcomes.append(outcome)
        if json_:
            continue
        if f"{outcome.axis} '{outcome.name}'" != heading:
            heading = f"{outcome.axis} '{outcome.name}'"
            print(heading, flush=True)
        why = f": {outcome.why}" if outcome.why else ""
        print(f"  {MARKS[outcome.state]:8}{outcome.check}{why}", flush=True)
    counts: Counter[str] = Counter(outcome.state for outcome in outcomes)
    if json_:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=1, ensure_ascii=False))
    else:
        print(", ".join(f"{counts[state]} {state}" for state in MARKS if counts[state]))
    if not outcomes:
        raise ConfigError("registers nothing of its own: another plug-in has it", where=" ".join(files))
    return 3 if counts["failed"] else 0

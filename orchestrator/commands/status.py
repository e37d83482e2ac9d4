"""``farlab status``: what is going on, from another terminal or after the fact."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from far.config import TrialConfig
from far.errors import ConfigError
from far.text import rounded
from orchestrator.cli.completion import offer_rows, offer_submitted
from orchestrator.cli.console import make_console
from orchestrator.cli.fitting import cropped, fitting
from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import JsonOption, TrustOption, workspace_line
from orchestrator.monitor.clips import in_words
from orchestrator.monitor.status import STATES, chosen, statuses
from orchestrator.plan import changed_code
from orchestrator.plan.lockfile import read_lockfile
from orchestrator.plan.other_frames import described, misread_sets, trials_with_other_frames
from orchestrator.study import submitted_name
from orchestrator.study.as_typed import sweep_command
from orchestrator.workspace.plugins import load_where_they_were, records_in
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from orchestrator.monitor.status import StudyStatus, TrialStatus
    from orchestrator.plan.changed_code import Verdict
    from orchestrator.plan.other_frames import Misread
    from orchestrator.store.store import Store
    from orchestrator.workspace.workspace import Workspace


Studies = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[STUDY...]", help="Names of studies; default: all submitted.", autocompletion=offer_submitted
    ),
]
RowOption = Annotated[
    list[str] | None, typer.Option("--row", "-r", help="Only this row; may be repeated.", autocompletion=offer_rows)
]
StateOption = Annotated[
    list[str] | None, typer.Option("--state", "-s", help="Only trials in this state; may be repeated.")
]
IdOption = Annotated[
    list[str] | None, typer.Option("--id", help="Only trials whose key starts with this; may be repeated.")
]
SubmittedProfile = Annotated[
    str | None, typer.Option("--profile", "-p", help="Only what was submitted with this profile.")
]
NOTHING = "no study was submitted to this store yet: farlab sweep STUDY"
TABLE_FRAME = 4
"""Lines of a table that are no rows."""
WIDE, NARROW = 100, 75
"""Columns of a terminal from which everything about a trial fits on its line, and most of it."""
INTEREST = (
    "running", "failed", "diverged", "corrupt", "interrupted", "partial", "finished", "queued", "missing",
)  # fmt: skip
"""States by how much a person who watches wants to see their trials."""


@modes(
    mode("with --json", ("studies", "profile", "row", "state", "id_", "json_", "trust"), when="json_"),
    mode("here", ("studies", "profile", "row", "state", "id_", "watch", "trust")),
)
def status(
    studies: Studies = None,
    profile: SubmittedProfile = None,
    row: RowOption = None,
    state: StateOption = None,
    id_: IdOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C (piped: until the sweep ends).")
    ] = False,
    json_: JsonOption = False,
    trust: TrustOption = False,
) -> None:
    """Show where submitted studies stand: trials, epochs, losses, who drives them.

    Examples:
        farlab status
        farlab status head_ratio --watch
        farlab status --state failed --json
    """
    workspace = open_workspace()
    store = workspace.store
    names = [submitted_name(text, store.studies(), store.root) for text in studies or ()]

    def look() -> list[StudyStatus]:
        found = statuses(store, names, profile)
        return chosen(found, rows=row or (), states=state or (), ids=id_ or ())

    if json_:
        shown = [
            {
                **s.as_json(),
                "other_frames": sorted(other_frames(s, workspace)),
                **changed_code.as_json(code(s, store)),
            }
            for s in look()
        ]
        print(json.dumps(shown, indent=1, ensure_ascii=False))
    elif watch:
        _watch(look, workspace_line(workspace.settings))
    else:
        studies_here = look()
        make_console().print(_render(studies_here))
        for study in studies_here:
            notes: list[str] = []
            verdicts = code(study, store, notes)
            stale = changed_code.described(verdicts, submitted_as(study, store))
            lines = [*described(other_frames(study, workspace)), *stale]
            for line in (*lines, *notes, *changed_code.unknown(verdicts)):
                print(f"{study.study}: {line}", file=sys.stderr)
        print(workspace_line(workspace.settings))


def other_frames(study: StudyStatus, workspace: Workspace) -> dict[str, Misread]:
    """Return the finished trials of a study that saw other frames than they would now, by key."""
    store = workspace.store
    keys = [trial.key for trial in study.trials if trial.state in ("finished", "partial")]
    configs = (store.trial(key).get("config") or {} for key in keys[:1])  # the rows of a study share their data
    sources = [str(config.get("data", {}).get("source")) for config in configs]
    return trials_with_other_frames(store, keys, misread_sets(sources, workspace))


def submitted_as(study: StudyStatus, store: Store) -> str:
    """Return the command that a study was submitted by, in full."""
    record = read_lockfile(store.study(study.study).lockfile(study.profile))
    source = str(record.get("source") or study.study)
    seeds = record.get("seeds") or {trial.seed for trial in study.trials}
    path = Path(source) if Path(source).is_file() else source
    return sweep_command(path, study.profile, seeds, record.get("overrides") or ())


def code(study: StudyStatus, store: Store, notes: list[str] | None = None) -> dict[str, Verdict]:
    """Return how the source behind a study's trials compares with what is here, by key.

    Args:
        study: the study.
        store: where it was submitted.
        notes: gets what cannot be known, in words.
    """
    record = read_lockfile(store.study(study.study).lockfile(study.profile))
    problems = load_where_they_were(records_in(record))
    if notes is not None:
        notes += problems
    rows = record.get("rows", {})
    configs = {}
    for name, row in rows.items():
        with contextlib.suppress(ConfigError, ValueError):  # of a version whose settings are not these
            configs[name] = TrialConfig.model_validate(row["config"])
    begun = ((t.key, configs[t.row]) for t in study.trials if t.state != "missing" and t.row in configs)
    return changed_code.judge_trials(store, begun)


def _watch(look: Callable[[], list[StudyStatus]], heading: str) -> None:
    console = make_console()
    if not console.is_terminal:
        while True:
            studies = look()
            console.print(_render(studies))
            if not any(study.driver for study in studies):
                return
            time.sleep(5)
    with Live(_screen(look(), heading, console.width, console.height), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(1)
            live.update(_screen(look(), heading, console.width, console.height), refresh=True)


def _render(studies: list[StudyStatus]) -> Group:
    """Lay out everything: every trial of every study, then how many are where."""
    if not studies:
        return Group(NOTHING)
    parts: list[Table | str] = []
    for study in studies:
        parts += [_table(study, study.trials), _summary(study), *_clips(study), *_errors(study.trials)]
    return Group(*parts)


def _screen(studies: list[StudyStatus], heading: str, width: int, height: int) -> Group:
    """Lay out what fits a terminal: how many are where, then the trials at work, those that failed, and others."""
    if not studies:
        return Group(NOTHING, heading)
    summaries = [text for study in studies for text in (_summary(study), *(_clips(study) if study.driver else ()))]
    parts: list[Table | str] = [cropped(text, width) for text in (heading, *summaries)]
    room = height - len(parts) - 1
    for number, study in enumerate(studies):
        reasons = _errors(study.trials)[: 2 if room > 20 else 0]
        own = room // (len(studies) - number) - TABLE_FRAME - len(reasons)
        if own < 1:
            break  # the summaries above say how many
        shown, others = fitting(study.trials, own, lambda trial: INTEREST.index(trial.state), lambda trial: trial.state)
        parts += [_table(study, shown, width), *([cropped(f" {others}", width)] if others else [])]
        parts += [cropped(reason, width) for reason in reasons]
        room -= TABLE_FRAME + len(shown) + bool(others) + len(reasons)
    return Group(*parts)


def _table(study: StudyStatus, trials: Sequence[TrialStatus], width: int | None = None) -> Table:
    """Lay out trials; with a width, each on one line, without the columns that it has no room for."""
    title = f"{study.title or study.study} (profile {study.profile})"
    table = Table(title=title if width is None else None, title_justify="left")
    left_out = () if width is None or width >= WIDE else ("trial",) if width >= NARROW else ("trial", "loss", "starts")
    headers = [name for name in ("row", "seed", "trial", "state", "epoch", "loss", "top-1", "starts")
               if name not in left_out]  # fmt: skip
    for header in headers:
        right = header in ("seed", "epoch", "loss", "top-1", "starts")
        table.add_column(header, justify="right" if right else "left", overflow="fold")
    for trial in trials:
        state = f"{trial.state} ({trial.phase})" if trial.phase else trial.state
        cells = {
            "row": trial.row if width is None else cropped(trial.row, max(12, width // 4)),
            "seed": str(trial.seed),
            "trial": trial.key,
            "state": state if width is None or width >= NARROW else trial.state,
            "epoch": f"{trial.epoch}/{trial.epochs}" if trial.state != "missing" else "",
            "loss": "" if trial.loss is None else f"{trial.loss:.3f}",
            "top-1": "" if trial.top1 is None else str(rounded(trial.top1, 1)),
            "starts": str(trial.attempts or ""),
        }
        table.add_row(*(cells[header] for header in headers))
    return table


def _errors(trials: Sequence[TrialStatus]) -> list[str]:
    return [f"{t.row}, seed {t.seed}: {t.error}" for t in trials if t.error]


def _summary(study: StudyStatus) -> str:
    counts = ", ".join(f"{study.count(state)} {state}" for state in STATES if study.count(state))
    driven = f"running as {study.driver}" if study.driver else "not running"
    return f"{study.study}: {counts or 'no trials'}; submitted {study.submitted_at}; {driven}"


def _clips(study: StudyStatus) -> list[str]:
    return [] if study.clips is None else [f"clips: {in_words(study.clips)}"]

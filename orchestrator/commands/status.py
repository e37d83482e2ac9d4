"""``farlab status`` and ``farlab logs``: what is going on, from another terminal or after the fact."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.inputs import mode, modes
from orchestrator.commands.options import JsonOption

if TYPE_CHECKING:
    from rich.console import Group

    from orchestrator.status import StudyStatus
    from orchestrator.store import Store

Studies = Annotated[
    list[str] | None, typer.Argument(metavar="[STUDY...]", help="Names of studies; default: all submitted.")
]
RowOption = Annotated[list[str] | None, typer.Option("--row", "-r", help="Only this row; may be repeated.")]
StateOption = Annotated[
    list[str] | None, typer.Option("--state", "-s", help="Only trials in this state; may be repeated.")
]
IdOption = Annotated[list[str] | None, typer.Option("--id", help="Only trials whose key begins so; may be repeated.")]
SubmittedProfile = Annotated[
    str | None, typer.Option("--profile", "-p", help="Only what was submitted with this profile.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("status")
    @modes(
        mode("with --json", ("studies", "profile", "row", "state", "id_", "json_"), when="json_"),
        mode("here", ("studies", "profile", "row", "state", "id_", "watch")),
    )
    def status(
        studies: Studies = None,
        profile: SubmittedProfile = None,
        row: RowOption = None,
        state: StateOption = None,
        id_: IdOption = None,
        watch: Annotated[
            bool, typer.Option("--watch", "-w", help="Keep showing, until Ctrl-C (piped: until the sweep ends).")
        ] = False,
        json_: JsonOption = False,
    ) -> None:
        """Show where submitted studies stand: trials, epochs, losses, who drives them."""
        from orchestrator.cli.console import make_console
        from orchestrator.commands.options import workspace_line
        from orchestrator.replica import open_store
        from orchestrator.settings import load_settings
        from orchestrator.status import chosen, statuses
        from orchestrator.study import submitted_name

        settings = load_settings()
        store = open_store(settings)
        names = [submitted_name(text, store.studies(), store.root) for text in studies or ()]

        def look() -> list[StudyStatus]:
            found = statuses(store, names, profile)
            return chosen(found, rows=row or (), states=state or (), ids=id_ or ())

        if json_:
            print(json.dumps([study.as_json() for study in look()], indent=1, ensure_ascii=False))
        elif watch:
            _watch(look)
        else:
            make_console().print(_render(look()))
            print(workspace_line(settings))

    @app.command("logs")
    def logs(
        trial: Annotated[str, typer.Argument(metavar="TRIAL", help="The trial's key, or its beginning.")],
        follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the trial has ended.")] = False,
    ) -> None:
        """Print everything that a trial's processes have said."""
        from far.errors import ConfigError

        store = _store()
        key = store.find(trial)
        path = store.paths(key).log
        if not path.exists() and not follow:
            raise ConfigError(f"trial {key} ({store.state(key)}) has said nothing yet", where=str(path))
        for text in follow_file(store, key) if follow else [path.read_text(errors="replace")]:
            sys.stdout.write(text)
            sys.stdout.flush()


def follow_file(store: Store, key: str, wait: float = 0.3) -> Iterator[str]:
    """Yield a trial's log as it grows, until the trial is no longer running."""
    import time

    path, position = store.paths(key).log, 0
    while True:
        running = store.state(key) == "running"  # asked first, so that what is written last is not missed
        if path.exists():
            with path.open(errors="replace") as stream:
                stream.seek(position)
                text = stream.read()
                position = stream.tell()
            if text:
                yield text
        if not running:
            return
        time.sleep(wait)


def _store() -> Store:
    from orchestrator.replica import open_store
    from orchestrator.settings import load_settings

    return open_store(load_settings())


def _watch(look: Callable[[], list[StudyStatus]]) -> None:
    import time

    from rich.live import Live

    from orchestrator.cli.console import make_console

    console = make_console()
    if not console.is_terminal:
        while True:
            studies = look()
            console.print(_render(studies))
            if not any(study.driver for study in studies):
                return
            time.sleep(5)
    with Live(_render(look()), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(1)
            live.update(_render(look()), refresh=True)


def _render(studies: list[StudyStatus]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not studies:
        return Group(Text("no study was submitted to this store yet: farlab sweep STUDY"))
    parts: list[Table | Text] = []
    for study in studies:
        table = Table(title=f"{study.title or study.study} (profile {study.profile})", title_justify="left")
        for header in ("row", "seed", "trial", "state", "epoch", "loss", "top-1", "starts"):
            right = header in ("seed", "epoch", "loss", "top-1", "starts")
            table.add_column(header, justify="right" if right else "left", overflow="fold")
        for trial in study.trials:
            epoch = f"{trial.epoch}/{trial.epochs}" if trial.state != "missing" else ""
            loss = "" if trial.loss is None else f"{trial.loss:.3f}"
            top1 = "" if trial.top1 is None else f"{trial.top1:.1f}"
            state = f"{trial.state} ({trial.phase})" if trial.phase else trial.state
            starts = str(trial.attempts or "")
            table.add_row(trial.row, str(trial.seed), trial.key, state, epoch, loss, top1, starts)
        parts += [table, Text(_summary(study))]
        parts += [Text(f"{t.row}, seed {t.seed}: {t.error}") for t in study.trials if t.error]
    return Group(*parts)


def _summary(study: StudyStatus) -> str:
    from orchestrator.status import STATES

    counts = ", ".join(f"{study.count(state)} {state}" for state in STATES if study.count(state))
    driven = f"driven by {study.driver}" if study.driver else "nobody drives it"
    return f"{study.study}: {counts or 'no trials'}; submitted {study.submitted_at}; {driven}"

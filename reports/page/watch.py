"""The page again whenever something of its studies has changed: written into a file, or served to a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from far.store.paths import TrialPaths
from orchestrator.store.store import is_held
from orchestrator.workspace.settings import load_settings
from reports.figures import Options
from reports.output import deliver
from reports.page.build import Pictures, build_page
from reports.results.results import Results
from reports.results.state import State
from reports.tables.model import Table
from reports.tables.registry import build_all

PENDING = {State.MISSING, State.RUNNING}
SHARE = 20
"""Times the work of a page that pass before the next one: watching takes no more than a twentieth of a core."""


@dataclass
class Watch:
    """The page of some studies, made again when their files have changed.

    Attributes:
        collect: reads the results again.
        numbers: tables asked for.
        everything: whether Tables 1, 7 and 8 belong to it.
        columns: only these, where a table has them; empty: all.
        from_files: whether the results lie in this machine's store alone, so that its files tell of every change.
    """

    collect: Callable[[], list[Results]]
    numbers: Sequence[int]
    everything: bool = False
    columns: Sequence[str] = ()
    from_files: bool = True
    results: list[Results] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    spent: float = 0.0
    """Seconds that the last page took."""
    _seen: object = None
    _pictures: Pictures = field(default_factory=Pictures)

    def __post_init__(self) -> None:
        settings = load_settings()
        self._options = Options(data_root=settings.data_root, weights_root=settings.weights_root)
        self.from_files = self.from_files and settings.remote_store is None

    @property
    def pending(self) -> bool:
        """Whether a trial is running or to come; of everything, only what was submitted to the store is waited for."""
        awaited = [found for found in self.results if found.submitted or not self.everything]
        return any(t.state in PENDING for found in awaited for row in found.rows for t in row.planned)

    def look(self) -> bool:
        """Read the results again if their files have changed; return whether there is something new."""
        if self.from_files and self.results and self._seen == footprint(self.results):
            return False
        self.results = self.collect()
        seen, self._seen = self._seen, footprint(self.results)
        return seen != self._seen

    def page(self, *, refresh: int | None = None, live: str = "") -> str:
        """Return the page; figures of which nothing has changed are not drawn again.

        Args:
            refresh: seconds after which a browser loads the page again.
            live: version of the page, of one that a server refreshes.
        """
        began = time.monotonic()
        self.tables = build_all(self.numbers, self.results, everything=self.everything, columns=self.columns)
        text = build_page(self.tables, self.results, self._options, refresh=refresh, live=live, pictures=self._pictures)
        self.spent = time.monotonic() - began
        return text

    def wait(self, every: float) -> None:
        """Sleep until the next look is due."""
        time.sleep(max(every, SHARE * self.spent))
        self.spent = 0.0


def footprint(results: Sequence[Results]) -> object:
    """Return what changes with every start, epoch, end and submission: sizes and times of files, and who runs."""
    trials = {t.key: t for found in results for row in found.rows for t in row.planned}
    found: list[object] = [(key, trial.state) for key, trial in trials.items()]
    for trial in trials.values():
        if trial.directory is not None:
            paths = TrialPaths(trial.directory)
            found += map(_stamp, (paths.result, paths.metrics, paths.trial))
            found.append(trial.state in PENDING and is_held(paths.lock))
    stores = sorted({each.home for each in results if each.home})
    found += [(path, _stamp(path)) for store in stores for path in sorted(store.glob("studies/*/*/study.lock.yaml"))]
    return found


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def write_page(output: Path, watch: Watch, *, every: int | None = None) -> list[Table]:
    """Write the page, and with ``every`` again when something has changed, until no trial is pending.

    Args:
        output: a folder, in which the page is ``index.html``, or the page's own file.
        watch: what it shows.
        every: seconds between two looks.

    Returns:
        The tables as they were written last.
    """
    path = output if output.suffix.lower() in (".html", ".htm") else output / "index.html"
    watch.look()
    if every and not watch.pending:
        typer.echo("nothing to wait for: no trial is running or to come")
    again = every if watch.pending else None
    deliver(watch.page(refresh=again), path)
    if again is not None:
        typer.echo(f"watching; open {path.resolve().as_uri()} (Ctrl-C ends it)")
    while again is not None:
        watch.wait(again)
        if watch.look():
            again = every if watch.pending else None
            deliver(watch.page(refresh=again), path)
    return watch.tables

"""What a person sees while trials run: a live table on a terminal, a line an epoch when piped.

It reads the trial directories, so it shows the same whoever runs the trials and wherever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.files import TrialPaths, read_json, read_json_lines

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.cli.console import PlainConsole

INTERVAL = 0.5
"""Seconds between two looks."""


@dataclass
class Watched:
    """A trial on display."""

    row: str
    seed: int
    epochs: int
    directory: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    beat: dict[str, Any] | None = None
    _size: int = -1

    def look(self) -> list[str]:
        """Read what is new; return one line for each epoch and for the end."""
        if self.result is not None:
            return []
        paths, lines = TrialPaths(self.directory), []
        size = paths.metrics.stat().st_size if paths.metrics.exists() else -1
        if size != self._size:
            self._size, before = size, len(self.records)
            self.records = read_json_lines(paths.metrics)
            lines = [self._line(record) for record in self.records[before:]]
        self.beat = read_json(paths.progress)
        self.result = read_json(paths.result)
        if self.result is not None:
            lines.append(f"{self.name}  {self.outcome}")
        return lines

    @property
    def name(self) -> str:
        """The trial as the study calls it."""
        return f"{self.row}, seed {self.seed}"

    @property
    def outcome(self) -> str:
        """How the trial ended."""
        assert self.result is not None
        if self.result["state"] == "finished":
            metrics = self.result["metrics"]
            return f"finished: top-1 {metrics['top1']:.1f} %, top-5 {metrics['top5']:.1f} %"
        return f"{self.result['state']}: {(self.result.get('error') or {}).get('message', '')}"

    @property
    def fraction(self) -> float:
        """Share of the trial that is done."""
        if self.result is not None:
            return 1.0
        within = 0.0
        if self.beat and self.beat["phase"] == "train" and self.beat["epoch"] == len(self.records):
            within = self.beat["done"] / max(self.beat["total"], 1)
        return min((len(self.records) + within) / self.epochs, 1.0)

    def _line(self, record: dict[str, Any]) -> str:
        return (
            f"{self.name}  epoch {record['epoch'] + 1}/{self.epochs}  loss {record['train_loss']:.3f}"
            f"  val top-1 {record['val_top1']:.1f} %  {record['seconds']:.1f} s"
        )


class Progress:
    """Shows the trials until it is closed.

    Args:
        trials: those that run in this sweep, in the plan's order.
        console: where to show them; a terminal gets a live table, anything else plain lines.
        notes: called for a line below the table, e.g. of a tracking store that is down.
    """

    def __init__(self, trials: Sequence[Watched], console: PlainConsole, notes: Any = lambda: None) -> None:
        self.trials, self.console, self.notes = list(trials), console, notes
        for trial in trials:
            trial.look()  # what an earlier sweep did is not news
        self._started = time.monotonic()
        self._at_start = sum(trial.fraction for trial in trials)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)

    def add(self, trial: Watched) -> None:
        """Show one more trial, which a search has just proposed."""
        trial.look()
        self._at_start += trial.fraction
        self.trials.append(trial)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _show(self) -> None:
        if not self.console.is_terminal:
            self._show_lines()
            return
        from rich.live import Live

        with Live(self._table(), console=self.console, refresh_per_second=4, transient=True) as live:
            while not self._stop.wait(INTERVAL):
                for trial in self.trials:
                    trial.look()
                live.update(self._table())
        for trial in self.trials:
            trial.look()
        self.console.print(self._table())

    def _show_lines(self) -> None:
        last = False
        while not last:
            last = self._stop.wait(INTERVAL)
            for trial in self.trials:
                for line in trial.look():
                    done = sum(other.result is not None for other in self.trials)
                    clock = _duration(time.monotonic() - self._started)
                    self.console.print(
                        f"[{clock}] {line}  ({done}/{len(self.trials)} trials{self._eta()})",
                        soft_wrap=True,
                    )  # fmt: skip

    def _eta(self) -> str:
        done = sum(trial.fraction for trial in self.trials)
        elapsed, gained = time.monotonic() - self._started, done - self._at_start
        left = len(self.trials) - done
        if gained <= 0 or left <= 0:
            return ""
        return f", about {_duration(elapsed * left / gained)} left"

    def _table(self) -> Table:
        from rich import box
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        done = sum(trial.result is not None for trial in self.trials)
        caption = f"{done}/{len(self.trials)} trials, {_duration(time.monotonic() - self._started)}{self._eta()}"
        table = Table(box=box.SIMPLE, caption="\n".join(filter(None, (caption, self.notes()))))
        for header in ("row", "seed", "progress", "epoch", "loss", "val top-1", "state"):
            table.add_column(header, justify="left" if header in ("row", "progress", "state") else "right")
        for trial in self.trials:
            last = trial.records[-1] if trial.records else {}
            beat = trial.beat or {}
            loss = beat.get("loss") or last.get("train_loss")
            table.add_row(
                trial.row,
                str(trial.seed),
                ProgressBar(total=1.0, completed=trial.fraction, width=20),
                f"{len(trial.records)}/{trial.epochs}",
                f"{loss:.3f}" if loss is not None else "",
                f"{last['val_top1']:.1f}" if last else "",
                trial.outcome if trial.result else beat.get("phase", "waiting"),
            )
        return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

"""What a person sees while trials run: a live table on a terminal, a line per epoch when piped.

It reads the trial directories, so it shows the same whoever runs the trials and wherever.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from far.errors import FarError
from far.store.atomic import read_json
from far.store.attempts import Attempt, Clips, sum_of_clips
from far.store.paths import TrialPaths
from far.store.records import Result, clips_of, read_epochs, read_heartbeat, read_result, read_spec
from far.text import rounded
from orchestrator.cli.fitting import cropped, fitting
from orchestrator.monitor.clips import in_words
from orchestrator.store.store import is_held

if TYPE_CHECKING:
    from orchestrator.cli.console import PlainConsole

TABLE_FRAME = 5
"""Lines of a table that are no rows: its heading, rules and margins."""
WIDE, NARROW = 100, 80
"""Columns of a terminal from which there is room for a whole bar, and for any."""
OTHER_COLUMNS = 46
"""Characters of a line that are neither the row's name, nor the bar, nor the state."""
INTERVAL = 0.5
"""Seconds between two looks."""
SILENCE = 60.0
"""Seconds without progress after which the reason is said."""
LISTED = 5
"""Trials that such a line names."""


@dataclass
class Watched:
    """A trial on display."""

    row: str
    seed: int
    epochs: int
    directory: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    result: Result | None = None
    beat: dict[str, Any] | None = None
    attempts: list[Attempt] = field(default_factory=list)
    _size: int = -1
    _stamp: int = -1

    def look(self) -> list[str]:
        """Read what is new; return one line for each epoch, for each attempt that ended badly, and for the end."""
        if self.result is not None:
            return []
        paths, lines = TrialPaths(self.directory), self._look_at_attempts()
        size = paths.metrics.stat().st_size if paths.metrics.exists() else -1
        if size != self._size:
            self._size, before = size, len(self.records)
            self.records = read_epochs(paths)
            lines += [self._line(record) for record in self.records[before:]]
        self.beat = read_heartbeat(paths)
        self.result = read_result(paths)
        if self.result is not None:
            lines.append(f"{self.name}  {self.outcome}")
        return lines

    def _look_at_attempts(self) -> list[str]:
        """Read the trial's record if it has changed; return why attempts ended, of those that did since."""
        paths = TrialPaths(self.directory)
        with contextlib.suppress(OSError):
            stamp = paths.trial.stat().st_mtime_ns
            if stamp == self._stamp:
                return []
            self._stamp = stamp
        before = [_ending(attempt) for attempt in self.attempts]
        self.attempts = read_spec(paths).get("attempts") or []
        now = [_ending(attempt) for attempt in self.attempts]
        return [
            f"{self.name}  {why}"
            for number, why in enumerate(now)
            if why is not None and (number >= len(before) or before[number] is None)
        ]

    @property
    def trouble(self) -> str | None:
        """Why the last attempt ended badly, until the next one begins."""
        return _ending(self.attempts[-1]) if self.attempts else None

    @property
    def state(self) -> tuple[object, ...]:
        """What changes when anything happens to the trial."""
        return self._size, self.beat, len(self.attempts), self._stamp, self.result is not None

    @property
    def name(self) -> str:
        """The trial as the study calls it."""
        return f"{self.row}, seed {self.seed}"

    @property
    def word(self) -> str:
        """Where the trial stands, in a word."""
        if self.result is not None:
            return str(self.result["state"])
        return "running" if self.beat else "waiting"

    @property
    def outcome(self) -> str:
        """How the trial ended."""
        assert self.result is not None
        if self.result["state"] == "finished":
            metrics = self.result["metrics"] or {}
            values = {"top-1": metrics.get("top1"), "top-5": metrics.get("top5")}
            said = [f"{title} {rounded(value, 1)} %" for title, value in values.items() if value is not None]
            return f"finished: {', '.join(said)}"
        return f"{self.result['state']}: {(self.result.get('error') or {}).get('message', '')}"

    @property
    def clips(self) -> Clips | None:
        """How many clips it was delivered and had decoded; None if it did not count."""
        return clips_of(self.attempts, self.result, self.beat)

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
            f"  val top-1 {rounded(record['val_top1'], 1)} %  {record['seconds']:.1f} s"
        )


class Progress:
    """Shows the trials until it is closed.

    Args:
        trials: those that run in this sweep, in the plan's order.
        console: where to show them; a terminal gets a live table, anything else plain lines.
        notes: called for a line below the table, e.g. of a tracking store that is down.
        waiting: called for what trials that have not begun wait for, by key, when nothing has happened for a while.
    """

    def __init__(
        self,
        trials: Sequence[Watched],
        console: PlainConsole,
        notes: Callable[[], str | None] = lambda: None,
        waiting: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self.trials, self.console, self.notes = list(trials), console, notes
        self._silence = Silence(waiting)
        self._warnings: list[str] = []
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

        with Live(self._screen(), console=self.console, refresh_per_second=4, transient=True) as live:
            while not self._stop.wait(INTERVAL):
                for trial in self.trials:
                    trial.look()
                    self._warned(trial)
                self._silence.look(self.trials)
                live.update(self._screen())
        for trial in self.trials:
            trial.look()
        self.console.print(self._summary())
        self.console.print(self._table(self.trials))

    def _show_lines(self) -> None:
        last = False
        while not last:
            last = self._stop.wait(INTERVAL)
            for trial in self.trials:
                for line in [*trial.look(), *self._warned(trial)]:
                    done = sum(other.result is not None for other in self.trials)
                    clock = _duration(time.monotonic() - self._started)
                    self.console.print(
                        f"[{clock}] {line}  ({done}/{len(self.trials)} trials{self._eta()})",
                        soft_wrap=True,
                    )  # fmt: skip
            if not last and (said := self._silence.look(self.trials)):
                clock = _duration(time.monotonic() - self._started)
                self.console.print(f"[{clock}] {said}", soft_wrap=True)

    def _warned(self, trial: Watched) -> list[str]:
        """Return a line for each warning of a trial that none has given before: most are of all trials."""
        texts = [text for text in (trial.beat or {}).get("warnings") or () if text not in self._warnings]
        self._warnings += texts
        return [f"{trial.name}  warning: {text}" for text in texts]

    def _eta(self) -> str:
        done = sum(trial.fraction for trial in self.trials)
        elapsed, gained = time.monotonic() - self._started, done - self._at_start
        left = len(self.trials) - done
        if gained <= 0 or left <= 0:
            return ""
        return f", about {_duration(elapsed * left / gained)} left"

    def _summary(self) -> str:
        """Return what must never be cut off: how far it is, how long it takes, and what is wrong."""
        done = sum(trial.result is not None for trial in self.trials)
        counts = f"{done}/{len(self.trials)} trials, {_duration(time.monotonic() - self._started)}{self._eta()}"
        clips = sum_of_clips(trial.clips for trial in self.trials)
        said = f"clips: {in_words(clips)}" if clips else None
        warnings = [f"warning: {text}" for text in self._warnings[:LISTED]]
        return "\n".join(filter(None, (counts, said, *warnings, self._silence.line, self.notes())))

    def _screen(self) -> Group:
        """Return the summary, and of the trials what fits below it: those at work, those that failed, the latest."""
        summary = self._summary()
        room = max(self.console.height - summary.count("\n") - 1 - TABLE_FRAME, 2)
        shown, others = fitting(self.trials, room, _interest, lambda trial: trial.word)
        width = self.console.width
        lines = "\n".join(cropped(line, width) for line in summary.split("\n"))
        return Group(lines, self._table(shown, width), *([cropped(f" {others}", width)] if others else []))

    def _table(self, trials: Sequence[Watched], width: int | None = None) -> Table:
        """Lay out trials; with a width, each on one line."""
        table = Table(box=box.SIMPLE)
        name = max(12, (width or 0) // 5)
        bar = 20 if width is None or width >= WIDE else 8 if width >= NARROW else 0
        for header in ("row", "seed", *(["progress"] if bar else []), "epoch", "loss", "val top-1", "state"):
            left = header in ("row", "progress", "state")
            table.add_column(header, justify="left" if left else "right")
        for trial in trials:
            last = trial.records[-1] if trial.records else {}
            beat = trial.beat or {}
            loss = beat.get("loss") or last.get("train_loss")
            state = trial.outcome if trial.result else trial.trouble or beat.get("phase", "waiting")
            table.add_row(
                trial.row if width is None else cropped(trial.row, name),
                str(trial.seed),
                *([ProgressBar(total=1.0, completed=trial.fraction, width=bar)] if bar else []),
                f"{len(trial.records)}/{trial.epochs}",
                f"{loss:.3f}" if loss is not None else "",
                str(rounded(last["val_top1"], 1)) if last else "",
                state if width is None else cropped(state, width - name - bar - OTHER_COLUMNS),
            )
        return table


class Silence:
    """Notices that nothing has happened for a while, and says what each trial is at or waits for.

    Args:
        waiting: called for what trials that have not begun wait for, by key.

    Attributes:
        line: what was said last; empty once something happens again.
    """

    def __init__(self, waiting: Callable[[], dict[str, str]]) -> None:
        self.line = ""
        self._waiting = waiting
        self._state: object = None
        self._since, self._due = time.monotonic(), SILENCE

    def look(self, trials: Sequence[Watched]) -> str | None:
        """Return a line if it is time for one: after a minute, then after twice as long each time."""
        now, state = time.monotonic(), [trial.state for trial in trials]
        if state != self._state:
            self._state, self._since, self._due, self.line = state, now, SILENCE, ""
        elif now - self._since >= self._due:
            self._due *= 2
            self.line = f"no progress for {_duration(now - self._since)}: {self._words(trials)}"
            return self.line
        return None

    def _words(self, trials: Sequence[Watched]) -> str:
        waiting = self._waiting()
        words = []
        for trial in trials:
            if trial.result is None and (what := waiting.get(trial.directory.name) or _occupation(trial)):
                words.append(f"{trial.name} {what}")
        more = f"; and {len(words) - LISTED} more" if len(words) > LISTED else ""
        return (
            "; ".join(words[:LISTED]) + more if words else "no trial has begun, and Ray does not say why; see ray.log"
        )


def _interest(trial: Watched) -> tuple[int, float]:
    """Return what sorts the trials by how much a person wants to see them: at work, in trouble, ended last."""
    if trial.result is None:
        return (0 if trial.beat else 1 if trial.trouble else 4), 0.0
    ended = 0.0
    with contextlib.suppress(ValueError):
        ended = datetime.fromisoformat(str(trial.result.get("finished_at"))).timestamp()
    return (3 if trial.word == "finished" else 2), -ended


def _occupation(trial: Watched) -> str | None:
    """Return a trial's progress, None if it is not running."""
    lock = TrialPaths(trial.directory).lock
    try:
        if not is_held(lock):
            return None
    except FarError:
        return None
    owner = read_json(lock, dict) or {}
    phase = (trial.beat or {}).get("phase", "starting")
    return f"is at '{phase}' (process {owner.get('pid')} on {owner.get('host')})"


def _ending(attempt: Attempt) -> str | None:
    """Return how an attempt ended badly, None if it goes on or was stopped on purpose."""
    if "lost" in attempt:
        return f"its process was lost: {attempt['lost']}"
    if attempt.get("ended") in (None, "cancelled"):
        return None
    return f"{attempt['ended']}: {attempt.get('message', '')}; goes on".replace(": ;", ";")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

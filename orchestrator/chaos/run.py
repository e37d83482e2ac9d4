"""A chaos run: the study undisturbed once, then again and again under faults until all of them have struck."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from far.data.sharing.leftovers import abandoned
from far.errors import FarError
from far.interpreter import child_environment, python_command
from orchestrator.chaos.faults import FAULTS, SHARING, Running
from orchestrator.chaos.invariants import (
    MARK,
    finished_marks,
    leftovers,
    run_again,
    shared_memory,
    violations,
    windows_left,
)
from orchestrator.chaos.lost_work import Epochs, epochs_of
from orchestrator.chaos.site import Server
from orchestrator.executors.signals import ignore_stops
from orchestrator.store.store import Store

PERIOD = 10.0
"""Mean seconds between two faults."""
IN_VAIN = 3
"""Sweeps in a row without a strike after which there will be none."""
LIMIT = 3600.0
"""Seconds after which a sweep that does not end is a violation."""

INTERNAL = 1
"""Exit code of a driver that met what it did not expect; no fault is an excuse for it."""


@dataclass(frozen=True)
class Strike:
    """One fault that struck.

    Attributes:
        fault: its name in the registry.
        at: seconds since the current driver was started.
        what: what was done.
        code: the driver's exit code if it ended of it.
        wrong: violations seen right after it.
    """

    fault: str
    at: float
    what: str
    code: int | None
    wrong: tuple[str, ...]


@dataclass
class Report:
    """What a chaos run saw.

    Attributes:
        clean_seconds: wall clock of the undisturbed sweep.
        seconds: wall clock of all disturbed sweeps, restarts included.
        rounds: disturbed sweeps that were run to their end.
        strikes: the faults.
        wrong: violations at the end of a round.
        impossible: faults that this machine does not allow.
        epochs: what the disturbed sweeps had to train, and what they trained.
    """

    clean_seconds: float = 0.0
    seconds: float = 0.0
    rounds: int = 0
    strikes: list[Strike] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)
    epochs: Epochs = field(default_factory=Epochs)

    @property
    def violations(self) -> list[str]:
        """All that went wrong."""
        return [*(text for strike in self.strikes for text in strike.wrong), *self.wrong]

    @property
    def ratio(self) -> float:
        """Wall clock under faults over the undisturbed one."""
        return self.seconds / max(self.rounds * self.clean_seconds, 1e-9)


class Chaos:
    """Runs a sweep command under faults.

    Args:
        arguments: of ``farlab sweep``, e.g. the study's file and overrides.
        directory: an empty folder for the workspaces.
        data_root: folder of data sets.
        weights_root: folder of initial weights.
        seed: of every choice.
        period: mean seconds between two faults.
        faults: names of the faults to choose from.
        searches: whether the study has a search.
        shares: whether its trials may share clips.
        say: called with a line whenever something happens.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        directory: Path,
        *,
        data_root: Path,
        weights_root: Path | None = None,
        seed: int = 0,
        period: float = PERIOD,
        faults: Sequence[str] | None = None,
        searches: bool = False,
        shares: bool = True,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.command = python_command("-m", "farlab", "sweep", *arguments)
        self.directory, self.period, self.say = directory, period, say
        self.random = random.Random(seed)
        self.names = list(faults or FAULTS)
        conditions = {"search journal torn": searches, **dict.fromkeys(SHARING, shares)}
        self.impossible = [name for name in self.names if not conditions.get(name, True)]
        self.mark = uuid.uuid4().hex
        self.server = Server(directory / "server")
        settings = f"data_root = {str(data_root)!r}\ntracking_uri = {self.server.uri!r}\n"
        if weights_root is not None:
            settings += f"weights_root = {str(weights_root)!r}\n"
        self._settings = settings
        self._deck: list[str] = []
        self.environment = {**child_environment(), MARK: self.mark}

    def run(self, kills: int) -> Report:
        """Run the study undisturbed, then under faults until ``kills`` of them have struck.

        Raises:
            FarError: the undisturbed sweep itself fails.
        """
        if len(self.impossible) == len(self.names):
            raise FarError(f"this study does not allow: {', '.join(self.impossible)}")
        report = Report(impossible=self.impossible)
        with ExitStack() as stack:
            stack.callback(self._end_what_is_left)
            stack.callback(self.server.close)
            try:
                self._run(kills, report, stack)
            finally:
                ignore_stops()  # until everything started has ended; the caller restores the handlers
        return report

    def _run(self, kills: int, report: Report, stack: ExitStack) -> None:
        self.server.start()
        clean = self._workspace("clean")
        started = time.monotonic()
        done = subprocess.run(self.command, cwd=clean, env=self.environment, capture_output=True)
        report.clean_seconds = time.monotonic() - started
        if done.returncode:
            raise FarError(f"the undisturbed sweep ends with {done.returncode}: {done.stderr.decode()[-2000:]}")
        self.say(f"undisturbed: {report.clean_seconds:.1f} s")
        in_vain = 0
        while len(report.strikes) < kills:
            report.rounds += 1
            before = len(report.strikes)
            self._round(self._workspace(f"round-{report.rounds}"), Store(clean / "runs"), report, kills)
            in_vain = 0 if len(report.strikes) > before else in_vain + 1
            if in_vain == IN_VAIN:
                raise FarError(
                    f"{in_vain} sweeps in a row have ended before a fault found anything to strike at "
                    f"({', '.join(self.names)}); shorten --period, or take a longer study"
                )

    def _end_what_is_left(self) -> None:
        """End what sweeps that were killed have not yet ended themselves."""
        for text in leftovers(self.mark, self.directory):
            with suppress(OSError):
                os.kill(int(text.split()[1]), signal.SIGKILL)

    def _workspace(self, name: str) -> Path:
        workspace = self.directory / name
        workspace.mkdir(parents=True)
        (workspace / "farlab.toml").write_text(self._settings)
        return workspace

    def _round(self, workspace: Path, clean: Store, report: Report, kills: int) -> None:
        store, memory, started = Store(workspace / "runs"), shared_memory(), time.monotonic()
        windows = abandoned()
        while True:
            code = self._drive(workspace, store, report, kills)
            if code == INTERNAL:
                report.wrong.append(f"round {report.rounds}: the driver has ended with an internal error (exit {code})")
            if code == 0 or time.monotonic() - started > LIMIT:
                break
        report.seconds += time.monotonic() - started
        wrong = [] if code == 0 else [f"the sweep did not end within {LIMIT:.0f} s"]
        wrong += leftovers(self.mark, workspace)
        wrong += [f"shared memory is left: {name}" for name in sorted(shared_memory() - memory)]
        wrong += windows_left(windows)
        if not self.server.is_up():
            # The sweep has ended without its server, and said so: the same command brings tracking up to date.
            self.server.start()
            subprocess.run(self.command, cwd=workspace, env=self.environment, capture_output=True)
        wrong += violations(store, clean, self.server.uri)
        report.epochs += epochs_of(store, store.keys())
        report.wrong += [f"round {report.rounds}: {text}" for text in wrong]
        self.say(f"round {report.rounds} has ended: {len(wrong)} violations")

    def _drive(self, workspace: Path, store: Store, report: Report, kills: int) -> int:
        """Start the sweep and strike until it ends; return its exit code."""
        with (workspace / "output.txt").open("ab") as output:
            driver = subprocess.Popen(
                self.command, cwd=workspace, env=self.environment, stdout=output, stderr=output, start_new_session=True,
                # What runs in the background of a shell ignores Ctrl-C, and so would what it starts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip
        running = Running(driver, self.command, self.environment, workspace, store, self.random, self.server)
        started = time.monotonic()
        try:
            while driver.poll() is None:
                if len(report.strikes) >= kills:
                    return driver.wait(LIMIT)
                try:
                    driver.wait(self.random.uniform(0.3, 1.7) * self.period)
                except subprocess.TimeoutExpired:
                    self._strike(running, report, time.monotonic() - started)
            return driver.returncode
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            if driver.poll() is None:
                driver.kill()
                driver.wait()

    def _strike(self, running: Running, report: Report, at: float) -> None:
        before = finished_marks(running.store)
        if not self._deck:  # every fault once, in random order, then all of them again
            self._deck = self.random.sample(self.names, len(self.names))
        name = self._deck.pop()
        what = FAULTS[name](running)
        if what is None:
            return  # nothing there to strike at: the next one comes soon
        time.sleep(0.3)
        code = running.driver.poll()
        strike = Strike(name, at, what, code, tuple(run_again(before, running.store)))
        report.strikes.append(strike)
        self.say(f"{len(report.strikes)}. {at:.1f} s: {name} ({what})")

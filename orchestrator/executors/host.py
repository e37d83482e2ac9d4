"""One process that hosts trials one after another: begin, epoch by epoch, finish; failures become results."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config.schema import TrialConfig
from far.errors import ConfigError, DivergedError, FarError
from far.files import FileLock, TrialPaths, read_json, write_json

if TYPE_CHECKING:
    from far.train.trial import TrialRun
    from far.train.world import World

LOCK_PATIENCE = 90.0
"""Seconds to wait for a trial's former process, which outlives a killed driver by a few of them."""


class TrialHost:
    """Holds this process's part of the trial at hand.

    Args:
        world: this process's place among the trial's processes.
        capture: send what the process prints to the trial's ``log.txt``, native libraries' output included.
    """

    def __init__(self, world: World, *, capture: bool = True) -> None:
        self.world, self.capture = world, capture
        self._run: TrialRun | None = None
        self._lock: FileLock | None = None

    def begin(self, directory: Path, data_root: Path) -> None:
        """Build or resume the trial whose ``trial.json`` lies in ``directory``.

        Raises:
            ConfigError: the trial's description is missing or broken.
            Locked: another process still writes into the trial's folder.
        """
        from far.train.trial import TrialRun

        self.close()
        paths = TrialPaths(directory)
        if self.capture:
            _redirect(paths.log)
        if self.world.is_main:
            self._lock = FileLock(paths.lock, f"trial {paths.key}").acquire(timeout=LOCK_PATIENCE)
        spec = read_spec(paths)
        self._run = TrialRun(
            TrialConfig.model_validate(spec["config"]),
            spec["identity"],
            paths,
            self.world,
            data_root=data_root,
            weights_root=Path(spec.get("weights_root", ".")),
            profile=spec.get("profile"),
            attempts=spec.get("attempts"),
        )
        if self.world.is_main:
            write_json(paths.trial, {**spec, "attempts": self._run.attempts})

    def advance(self) -> bool:
        """Train one epoch, or finish; return whether the trial is finished."""
        assert self._run is not None
        if not self._run.is_trained:
            self._run.train_epoch()
        if self._run.is_trained:
            self._run.finish()
            return True
        return False

    def close(self) -> None:
        """Let go of the trial at hand; the process stays ready for the next."""
        if self._run is not None:
            self._run.close()
            self._run = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def read_spec(paths: TrialPaths) -> dict[str, Any]:
    """Return a trial's description.

    Raises:
        ConfigError: it is missing or broken.
    """
    spec = read_json(paths.trial)
    if not isinstance(spec, dict) or "config" not in spec:
        raise ConfigError("the trial's description is missing or broken", where=str(paths.trial))
    return spec


def write_failure(directory: Path, error: BaseException) -> None:
    """Write the result of a trial that cannot be finished, so that the table shows it.

    Args:
        directory: the trial's folder.
        error: why; a typed error gives its kind, anything else is internal.
    """
    paths = TrialPaths(directory)
    spec = read_json(paths.trial) or {}
    kind = error.kind if isinstance(error, FarError) else "internal"
    details = "".join(traceback.format_exception(error)) if kind == "internal" else None
    write_json(
        paths.result,
        {
            "key": paths.key,
            "state": "diverged" if isinstance(error, DivergedError) else "failed",
            "identity": spec.get("identity"),
            "config": spec.get("config"),
            "profile": spec.get("profile"),
            "metrics": {},
            "attempts": spec.get("attempts", []),
            "error": {"kind": kind, "message": str(error) or type(error).__name__, "traceback": details},
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def _redirect(log: Path) -> None:
    """Send file descriptors 1 and 2 to the trial's log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)

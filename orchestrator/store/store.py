"""The store: what has been run. The truth; everything else (MLflow, tables) can be rebuilt from it."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from far.errors import ConfigError
from far.store.atomic import write_atomic
from far.store.lock import FileLock, no_locks
from far.store.paths import TrialPaths
from far.store.records import Result, Spec, damage, read_result, read_spec, write_spec

TrialState = Literal[
    "missing", "queued", "running", "interrupted", "corrupt", "finished", "failed", "diverged", "partial"
]
"""``queued``: submitted, not started yet; ``running``: the trial's lock is held; ``interrupted``: started, not
ended, not running;
``corrupt``: a result file that does not parse or belongs elsewhere; the rest as in ``far.store.records``."""

DONE: frozenset[TrialState] = frozenset({"finished", "diverged"})
"""Not run again by the same command."""


@dataclass(frozen=True)
class StudyPaths:
    """Every path that belongs to one study rather than to a trial."""

    directory: Path

    def lockfile(self, profile: str) -> Path:
        """The study as it was last submitted at this scale, with the resolved configuration of every trial."""
        return self.directory / profile / "study.lock.yaml"

    def earlier(self, profile: str) -> list[Path]:
        """What was submitted at this scale before that, from the first."""
        return sorted((self.directory / profile / "history").glob("study.lock.*.yaml"))

    def submissions(self) -> list[Path]:
        """The frozen studies that there are, one per profile."""
        return sorted(self.directory.glob("*/study.lock.yaml"))

    @property
    def driver_lock(self) -> Path:
        """Held by the process that drives the study."""
        return self.directory / "driver.lock"

    @property
    def search(self) -> Path:
        """Optuna's journal."""
        return self.directory / "search.journal"

    @property
    def log(self) -> Path:
        """What Ray, DeepSpeed and MLflow say while the study runs."""
        return self.directory / "log.txt"


class Store:
    """Trials and studies under one directory.

    Args:
        root: the directory; it is made when something is written.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.trials = self.root / "trials"

    def identity(self) -> str:
        """Return this store's UUID, which tells it from others on the same tracking server; created on first use.

        Raises:
            ConfigError: the file that holds it is damaged.
        """
        path = self.root / "store.id"
        if not path.exists():
            write_atomic(path, f"{uuid.uuid4().hex}\n")
        try:
            return path.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise ConfigError(
                "is damaged: put it back, or delete it, and the store's runs are made again in MLflow", where=str(path)
            ) from None

    def paths(self, key: str) -> TrialPaths:
        """Return where the files of a trial lie.

        Raises:
            ConfigError: the key, which may come from another user's file, is no plain name.
        """
        return TrialPaths(self.trials / plain_name(key, "trial"))

    def study(self, name: str) -> StudyPaths:
        """Return where the files of a study lie.

        Raises:
            ConfigError: the name is no plain name.
        """
        return StudyPaths(self.root / "studies" / plain_name(name, "study"))

    def studies(self) -> list[str]:
        """Return the names of the studies that were ever submitted, sorted."""
        return sorted({path.parent.parent.name for path in self.root.glob("studies/*/*/study.lock.yaml")})

    def keys(self) -> list[str]:
        """Return the keys of all trials that were ever started, sorted."""
        try:
            with os.scandir(self.trials) as entries:
                return sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except FileNotFoundError:
            return []

    def find(self, prefix: str) -> str:
        """Return the unique key with this prefix.

        Raises:
            ConfigError: no trial or more than one does.
        """
        keys = self.keys()
        hits = [key for key in keys if key.startswith(prefix)]
        if len(hits) == 1:
            return hits[0]
        what = f"{len(hits)} trials start" if hits else "no trial starts"
        raise ConfigError(f"{what} with '{prefix}'", choices=(hits or keys)[:10], got=prefix)

    def write_trial(self, key: str, spec: Spec) -> None:
        """Write what a trial is, atomically."""
        write_spec(self.paths(key), spec)

    def trial(self, key: str) -> Spec:
        """Return what a trial is; empty if that is missing or damaged."""
        return read_spec(self.paths(key))

    def result(self, key: str) -> Result | None:
        """Return a trial's result, None if it has none or a damaged one."""
        return read_result(self.paths(key))

    def state(self, key: str) -> TrialState:
        """Return where a trial stands."""
        paths = self.paths(key)
        result = self.result(key)
        if result is not None:
            return result["state"]
        if paths.result.exists():
            return "corrupt"
        if not paths.directory.is_dir():
            return "missing"
        if is_held(paths.lock):
            return "running"
        return "interrupted" if self.has_begun(key) or paths.cancel.exists() else "queued"

    def has_begun(self, key: str) -> bool:
        """Return whether a trial was ever started, rather than only submitted."""
        record = self.trial(key)
        return bool(record.get("attempts")) or "attempts" not in record

    def states(self, keys: Iterable[str]) -> dict[str, TrialState]:
        """Return where each trial stands, with one look at the directory for those never started."""
        started = set(self.keys())
        return {key: self.state(key) if key in started else "missing" for key in keys}

    def finished(self, keys: Collection[str] | None = None) -> set[str]:
        """Return which of these trials (default: of all) are done and will not be run again."""
        states = self.states(self.keys() if keys is None else keys)
        return {key for key, state in states.items() if state in DONE}

    def damage(self, key: str) -> str | None:
        """Return what is wrong with a trial's result file, None if there is none or it is in order."""
        return damage(self.paths(key))

    def lock_study(self, name: str) -> FileLock:
        """Return the lock that keeps a second driver off a study; use it as a context manager."""
        return FileLock(self.study(name).driver_lock, f"study '{name}'")

    def lock_trial(self, key: str) -> FileLock:
        """Return the lock that whoever writes into a trial's directory holds."""
        return FileLock(self.paths(key).lock, f"trial {key}")


def plain_name(name: str, what: str) -> str:
    """Return a name that is to be a folder's, if it cannot lead out of the folder above.

    Raises:
        ConfigError: it can, or it is empty.
    """
    if not is_plain_name(name):
        raise ConfigError(f"{name!r} cannot be the name of a {what}")
    return name


def is_plain_name(name: str) -> bool:
    """Return whether a path that ends in this name stays in the folder before it."""
    return name not in ("", ".", "..") and not any(character in name for character in "/\\\0")


def refuse_unknown(beginnings: Iterable[str], keys: Sequence[str]) -> None:
    """Refuse what ``--id`` says where no trial's key begins so.

    Raises:
        ConfigError: naming it.
    """
    for beginning in beginnings:
        if not any(key.startswith(beginning) for key in keys):
            raise ConfigError(f"no trial starts with '{beginning}'", key="--id", choices=keys[:10], got=beginning)


def is_held(lock: Path) -> bool:
    """Return whether this lock file is held, without taking it.

    Raises:
        StorageError: its file system has no locks.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise no_locks(lock, error) from error
    finally:
        os.close(descriptor)
    return False

"""A budget for the files of a folder that any number of processes write, on one machine or several.

How many bytes the files take stands in a small file that its writers lock (flock). Each writer counts a file there
before it writes it, so that a folder never holds more than its budget; what a killed writer had counted, or somebody
removed by hand, is put right by looking at the files, once a day and whenever the budget seems to be used up.

Where room is needed, the files go that were not used for longest (their modification time is that of their last use),
but none that was used since this process opened the folder: whoever used it wants it again. So two data sets that do
not fit together leave each other alone while both are in use.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pydantic import ByteSize

from far.store.atomic import FULL, is_abandoned, parse_json, scratch_path

FOLDER = ".frames"
"""Folder next to a data set's manifest where decoded videos are kept, unless the configuration names another."""
SUFFIX = ".rgb"
_COUNTED = re.compile(rf"[0-9a-f]{{32}}{re.escape(SUFFIX)}")
"""Names of the files that count, and may be removed: others in the folder are somebody's own."""
PARTIAL, _LEDGER = "partial", ".usage.json"
PATIENCE = 2.0
"""Seconds to wait for the lock, which others hold for milliseconds: one that holds it for longer has been stopped."""
RESCAN = 24 * 3600.0
"""Seconds after which the files are looked at again, and after which a disk that was full may have room again."""
RESERVE, MOST_RESERVED = 0.05, 10 << 30
"""Share of a file system, and the most bytes of it, that are left for what matters more, such as checkpoints."""
_PAUSE = 60.0
"""Seconds after which a disk that is full once more means that more has to go."""
_SLACK = 20
"""A twentieth of the budget is freed at a time, since looking at all files takes time."""


@dataclass
class _Ledger:
    """What the folder's small file says.

    Attributes:
        bytes: that the files take, those that are being written included.
        scanned: when that was last compared with the files, in seconds since the epoch.
        ceiling: bytes that fitted when the disk, or the user's share of it, was full; None if it was not.
        full: when that was.
    """

    bytes: int = 0
    scanned: float = 0.0
    ceiling: int | None = None
    full: float = 0.0


_FIELDS = {field.name for field in fields(_Ledger)}


class Budget:
    """Bytes that the files of a folder may take which are named by 32 hexadecimal digits and ``SUFFIX``.

    Args:
        folder: made if it is not there.
        limit: bytes.
        removed: called with the name of each file that is removed.

    Attributes:
        limit: bytes; fewer than asked for where the disk was full with fewer, less than a day ago.
        opened: when this process opened the folder, by the clock of its file system, in nanoseconds.

    Raises:
        OSError: the folder cannot be written, or has no locks.
    """

    def __init__(self, folder: Path, limit: int, removed: Callable[[str], None] = lambda name: None) -> None:
        self._folder, self.limit, self._removed = folder, limit, removed
        with self._ledger() as (ledger, opened):
            self.opened = opened
            self._heed(ledger)
            self._clear_abandoned(ledger)
            if ledger.bytes > self.limit:
                self._make_room(ledger, 0)

    def create(self, path: Path, size: int) -> tuple[Path, int] | None:
        """Count a file and return where it is to be written before it is renamed, and a descriptor of its size there.

        Returns:
            None where files that are in use leave no room for it.

        Raises:
            OSError: it cannot be written; of ``FULL`` where the file system has no room to spare.
        """
        with self._ledger() as (ledger, _):
            if time.time() - ledger.scanned > RESCAN:
                self._count(ledger)
            self._heed(ledger)
            if ledger.bytes + size > self.limit and not self._make_room(ledger, size):
                return None
            disk = os.statvfs(self._folder)
            reserved = _reserved(disk)
            if disk.f_blocks and disk.f_bavail * disk.f_frsize - size < reserved:  # 0: it does not say
                text = f"less than {ByteSize(reserved).human_readable()} would stay free on its disk"
                raise OSError(errno.ENOSPC, text, str(self._folder))
            partial = scratch_path(self._folder / PARTIAL / f"{path.stem}-{uuid.uuid4().hex[:8]}{SUFFIX}")
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                os.ftruncate(descriptor, size)  # so that whoever looks at the files counts all of it
            except OSError:
                os.close(descriptor)
                partial.unlink()
                raise
            ledger.bytes += size
        return partial, descriptor

    @classmethod
    def clear(cls, folder: Path) -> None:
        """Remove all files of a folder that are not being written, also while others use it.

        Raises:
            OSError: they cannot be removed.
        """
        budget = cls(folder, 1 << 62)
        with budget._ledger() as (ledger, _):
            budget._evict(ledger, 0, budget._count(ledger))
            ledger.ceiling = None

    def remove(self, path: Path, size: int) -> None:
        """Remove a file that counts, if it can be removed."""
        with suppress(OSError), self._ledger() as (ledger, _):
            path.unlink()
            ledger.bytes = max(0, ledger.bytes - size)

    def give_way(self) -> None:
        """Remove what was not used for longest, since the disk or the user's share of it is full, for others' files."""
        with suppress(OSError), self._ledger() as (ledger, _):
            if ledger.ceiling is not None and time.time() - ledger.full < _PAUSE:
                return  # another process has just done so
            room = min(_reserved(os.statvfs(self._folder)) or MOST_RESERVED, ledger.bytes // 2)
            self._evict(ledger, ledger.bytes - room, sorted(self._count(ledger)))
            ledger.ceiling, ledger.full = ledger.bytes, time.time()

    def _heed(self, ledger: _Ledger) -> None:
        """Keep to what fitted when the disk was full."""
        if ledger.ceiling is not None:
            if time.time() - ledger.full < RESCAN:
                self.limit = min(self.limit, ledger.ceiling)
            else:
                ledger.ceiling = None

    def _make_room(self, ledger: _Ledger, size: int) -> bool:
        """Remove what was not used for longest until there is room for ``size`` bytes; return whether there is."""
        files = self._count(ledger)
        if ledger.bytes + size > self.limit:
            unused = sorted(file for file in files if file[0] < self.opened)
            self._evict(ledger, self.limit - self.limit // _SLACK - size, unused)
        return ledger.bytes + size <= self.limit

    def _evict(self, ledger: _Ledger, wanted: int, files: list[tuple[int, str, int]]) -> None:
        for _, name, size in files:
            if ledger.bytes <= wanted:
                return
            (self._folder / name).unlink(missing_ok=True)
            self._removed(name)
            ledger.bytes -= size

    def _count(self, ledger: _Ledger) -> list[tuple[int, str, int]]:
        """Put the ledger right by the files, and return those that are whole: last use, name, bytes."""
        self._clear_abandoned(ledger)
        total, files = 0, []
        for entry in os.scandir(self._folder / PARTIAL):  # before the others: what is renamed meanwhile counts twice
            with suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
        for entry in os.scandir(self._folder):
            if is_counted(entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    files.append((status.st_mtime_ns, entry.name, status.st_size))
        ledger.bytes = total + sum(size for *_, size in files)
        ledger.scanned = time.time()
        return files

    def _clear_abandoned(self, ledger: _Ledger) -> None:
        """Remove what killed processes have left."""
        for entry in os.scandir(self._folder / PARTIAL):
            with suppress(FileNotFoundError):
                if is_abandoned(Path(entry.path)):
                    size = entry.stat(follow_symlinks=False).st_size
                    Path(entry.path).unlink()
                    ledger.bytes = max(0, ledger.bytes - size)

    @contextmanager
    def _ledger(self) -> Iterator[tuple[_Ledger, int]]:
        """Lock the ledger; yield it, to be changed, and the time by the clock of the file system.

        Raises:
            OSError: it cannot be written, or somebody holds it for too long (``BlockingIOError``).
        """
        (self._folder / PARTIAL).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder / _LEDGER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.002)
            os.utime(descriptor)
            now = os.fstat(descriptor).st_mtime_ns
            text = os.pread(descriptor, 4096, 0)
            known = parse_json(text, _Ledger)
            ledger = _Ledger(**known) if isinstance(known, dict) and known.keys() <= _FIELDS else _Ledger()
            if not ledger.scanned:  # new, or a power cut
                self._count(ledger)
            try:
                yield ledger, now
            finally:
                written = json.dumps(asdict(ledger)).encode()
                if written != text:
                    os.pwrite(descriptor, written, 0)
                    os.ftruncate(descriptor, len(written))
        finally:
            os.close(descriptor)


def _reserved(disk: os.statvfs_result) -> int:
    """Return the bytes of a file system that are left free."""
    return min(int(RESERVE * disk.f_blocks * disk.f_frsize), MOST_RESERVED)


def is_counted(name: str) -> bool:
    """Return whether a file of this name is one of a budget's folder that counts."""
    return _COUNTED.fullmatch(name) is not None


def is_full(error: OSError) -> bool:
    """Return whether an error says that there is no room."""
    return error.errno in FULL

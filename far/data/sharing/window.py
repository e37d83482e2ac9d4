"""The clips that are in memory for several processes of one machine, and how far each of these has come.

There is no server. A window is a directory of a file system in memory, with a file per clip, written once and mapped by
whoever reads it. What a process holds, it holds by ``flock``, which the kernel gives back when the process ends in
whatever way: the making of a clip (a claim), and its place among the readers. So a killed process blocks nobody; nor
does one that is stopped: nothing is waited for without end.

A full window gives up first what will be wanted last (Belady, IBM Systems Journal 5(2), 1966: the readers' order is
known), be that the new clip: a reader far behind costs the others nothing, and one just behind finds what comes next.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import math
import mmap
import os
import shutil
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from far.data.sharing.leftovers import CLAIMS, CLIPS, LOCK, READERS, is_held, readers_in, remove

LOOK = 0.5
"""Seconds between two looks at who reads."""
LOCK_PATIENCE, NO_PATIENCE = 0.5, 10.0
"""Seconds that one waits for the lock, which is held for milliseconds unless its holder is stopped, and in which one
does not wait for it any more after that."""
_NUMBER = struct.Struct("<q")
_HEADER = 128
"""Bytes of a clip's file before its values."""

Clip = NDArray[np.uint8]


@dataclass(frozen=True)
class Reader:
    """A process that reads clips in order.

    Attributes:
        trial: that it belongs to; processes of one trial share no clips.
        wants: the groups of clips that it reads.
        where: memory that begins with the place of the first clip that it has not read.
    """

    trial: str
    wants: frozenset[str]
    where: mmap.mmap | bytes

    @property
    def place(self) -> int:
        """The first clip that it has not read."""
        return int(_NUMBER.unpack_from(self.where)[0])


def expected(trial: str, wants: Collection[str], place: int) -> Reader:
    """Return a reader that has not come yet, and will begin at a place."""
    return Reader(trial, frozenset(wants), _NUMBER.pack(place))


def name_of(group: str, place: int) -> str:
    """Return the name of a clip: which group it is of, and where in the order of its readers."""
    return f"{group}-{place:012d}"


def next_use(name: str, readers: Collection[Reader]) -> float:
    """Return how many clips the nearest of the readers that want a clip has before it; infinity: none wants it."""
    group, _, place = name.rpartition("-")
    distances = (int(place) - reader.place for reader in readers if group in reader.wants)
    return min((distance for distance in distances if distance >= 0), default=math.inf)


class Window:
    """The clips in memory and their readers; one of them is this process.

    Args:
        directory: of the window; it is made if need be, and removed with its last reader.
        size: bytes that its clips may take together.
        trial: that this process belongs to.
        wants: the groups of clips that it will read.

    Raises:
        OSError: the directory cannot be used.
    """

    def __init__(self, directory: Path, size: int, trial: str, wants: Collection[str]) -> None:
        self.directory, self.size = directory, size
        self._clips, self._claims, self._readers = (directory / name for name in (CLIPS, CLAIMS, READERS))
        self._others: dict[str, Reader] = {}
        self._looked = -math.inf
        self._looking, self._locking = threading.Lock(), threading.Lock()
        self._partial, self._no_patience_until = itertools.count(), -math.inf
        self._too_late, self._full_until = math.inf, -math.inf
        record = json.dumps({"trial": trial, "wants": sorted(wants)}).encode()
        while (entered := self._entered(record)) is None:
            pass  # its last reader, or who clears up, removed it at this moment
        lock, self._held, self._path = entered
        self._lock: int | None = lock
        self.me = Reader(trial, frozenset(wants), mmap.mmap(self._held, 0))

    def _entered(self, record: bytes) -> tuple[int, int, Path] | None:
        """Make the directory if need be and this process a reader; return the lock's and the reader's descriptors."""
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            found = self.directory.lstat()
        except FileNotFoundError:
            if self.directory.parent.is_dir():
                return None
            raise
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{self.directory} is not a folder of this user's")
        with contextlib.ExitStack() as undo:
            undo.callback(remove, self.directory)
            try:
                lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                return None
            undo.callback(os.close, lock)
            if not _takes_within(lock, NO_PATIENCE):
                raise TimeoutError(f"{self.directory} is locked by a process that does not go on")
            if not _is_at(lock, self.directory / LOCK):
                return None
            if not any(map(is_held, readers_in(self.directory))):  # what there is was left by killed ones
                self._begin_anew(lock)
            for folder in (self._clips, self._claims, self._readers):
                folder.mkdir(exist_ok=True)
            reader, path = tempfile.mkstemp(dir=self._readers)
            undo.callback(os.close, reader)
            fcntl.flock(reader, fcntl.LOCK_EX)
            os.write(reader, _NUMBER.pack(0) + record)
            fcntl.flock(lock, fcntl.LOCK_UN)
            undo.pop_all()
            return lock, reader, Path(path)

    def _begin_anew(self, lock: int) -> None:
        for folder in (self._clips, self._claims, self._readers):
            shutil.rmtree(folder, ignore_errors=True)
        os.ftruncate(lock, 0)

    def close(self) -> None:
        """Be a reader no longer; the last one takes the directory with it."""
        with self._locking:  # a thread that still reads must not take another file for the lock
            if self._lock is None:
                return
            os.close(self._lock)
            self._lock = None
        self._path.unlink(missing_ok=True)
        os.close(self._held)
        remove(self.directory)

    # -- readers --

    def move(self, place: int) -> None:
        """Say which is the first clip that this process has not read."""
        assert isinstance(self.me.where, mmap.mmap)
        _NUMBER.pack_into(self.me.where, 0, place)

    def others(self) -> list[Reader]:
        """Return the other living readers, as they were half a second ago at most."""
        with self._looking:
            if time.monotonic() - self._looked > LOOK:
                self._others = dict(self._look())
                self._looked = time.monotonic()
            return list(self._others.values())

    def _look(self) -> Iterator[tuple[str, Reader]]:
        """Find the living readers and remove the dead."""
        for path in self._readers.iterdir():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # it comes, or goes, at this moment
                if path == self._path:
                    continue
                if not is_held(path):
                    if path.stat().st_size:
                        path.unlink()
                elif path.name in self._others:
                    yield path.name, self._others[path.name]
                else:
                    with path.open("rb") as stream:
                        where = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
                    record = json.loads(where[_NUMBER.size :])
                    yield path.name, Reader(record["trial"], frozenset(record["wants"]), where)

    # -- clips --

    def take(self, name: str) -> Clip | None:
        """Return a clip that is in the window as a private map of it: what is written there nobody else sees.

        Where it cannot be mapped, it is copied.
        """
        import torch

        path = self._clips / name
        try:
            with path.open("rb") as stream:
                shape, size = json.loads(stream.read(_HEADER)), os.fstat(stream.fileno()).st_size
                try:
                    # NumPy's maps, and Python's, each keep a descriptor, of which a process has few
                    values = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8).numpy()[_HEADER:]
                except RuntimeError:  # it went at this moment, or the kernel has no memory left for private maps
                    values = np.fromfile(stream, np.uint8)
            return values.reshape(shape)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):  # no whole clip
            self.discard(name)
            return None

    def has(self, name: str) -> bool:
        """Return whether a clip is in the window."""
        return os.access(self._clips / name, os.F_OK)

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Yield whether this thread, of all in all processes, is to make a clip; the claim ends with the context."""
        path = self._claims / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            is_mine = _takes(descriptor) and _is_at(descriptor, path)
            try:
                yield is_mine
            finally:
                if is_mine:
                    path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def publish(self, name: str, clip: Clip, readers: Collection[Reader], use: float) -> bool:
        """Put a clip into the window unless all that is there is wanted before it, or the window is locked for long.

        Args:
            name: see :func:`name_of`.
            clip: its values.
            readers: all who may want clips.
            use: how many clips from now it is wanted.

        Returns:
            Whether it is there now.

        Raises:
            OSError: there is no room for it in memory.
        """
        size = clip.nbytes + _HEADER
        if use >= self._too_late and time.monotonic() < self._full_until:
            return False
        with self._locked() as lock:
            if lock is None:
                return False
            if not self._make_room(lock, size, readers, use):
                self._too_late, self._full_until = use, time.monotonic() + LOOK
                return False
            _add(lock, size)
        partial = self._clips / f".{self._path.name}.{next(self._partial)}"
        try:
            with partial.open("xb") as stream:  # np.save says nothing of a last page that found no room
                stream.write(json.dumps(clip.shape).encode().ljust(_HEADER))
                stream.write(np.ascontiguousarray(clip).data)
            partial.rename(self._clips / name)
        except OSError:
            partial.unlink(missing_ok=True)
            with self._locked() as lock:
                if lock is not None:
                    _add(lock, -size)
            raise
        return True

    def discard(self, name: str) -> None:
        """Remove a clip that nobody wants any more."""
        with contextlib.suppress(OSError), self._locked() as lock:
            if lock is None:
                return
            size = (self._clips / name).stat().st_size
            (self._clips / name).unlink()
            _add(lock, -size)

    def _make_room(self, lock: int, size: int, readers: Collection[Reader], use: float) -> bool:
        """Remove clips until another has room: what nobody wants, then what is wanted last, if later than ``use``.

        An eighth of the window is made free at once, since all of it must be looked at. The lock is held.
        """
        if _total(lock) + size <= self.size:
            return True
        sizes = self._sizes()
        total = sum(sizes.values())
        uses = {name: next_use(name, readers) for name in sizes if not name.startswith(".")}
        for name in sorted(uses, key=uses.__getitem__, reverse=True):
            if uses[name] <= use or (total + size <= self.size * 7 // 8 and uses[name] < math.inf):
                break
            (self._clips / name).unlink(missing_ok=True)
            total -= sizes[name]
        _add(lock, total - _total(lock))
        return total + size <= self.size

    def _sizes(self) -> dict[str, int]:
        """Return the bytes of each clip; what somebody who was killed left half written is removed."""
        sizes = {}
        for path in self._clips.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                if path.name.startswith(".") and not is_held(self._readers / path.name.split(".")[1]):
                    path.unlink()
                else:
                    sizes[path.name] = found.st_size
        return sizes

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Exclude all other threads of all processes; yield the lock's descriptor, whose file holds the total size.

        Nothing slow may be done in it. It is None where another process does not give the lock up.

        Raises:
            OSError: the window is closed.
        """
        with self._locking:
            if self._lock is None:
                raise OSError("the window is closed")
            patience = LOCK_PATIENCE if time.monotonic() > self._no_patience_until else 0.0
            if not _takes_within(self._lock, patience):
                if patience:
                    self._no_patience_until = time.monotonic() + NO_PATIENCE
                yield None
                return
            try:
                yield self._lock
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)


def _total(lock: int) -> int:
    """Return the bytes of all clips: an estimate, if somebody was killed, until all are looked at again."""
    written = os.pread(lock, _NUMBER.size, 0)
    return int(_NUMBER.unpack(written)[0]) if len(written) == _NUMBER.size else 0


def _add(lock: int, size: int) -> None:
    os.pwrite(lock, _NUMBER.pack(max(0, _total(lock) + size)), 0)


def _takes(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _takes_within(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (is_taken := _takes(descriptor)) and time.monotonic() < deadline:
        time.sleep(0.0005)
    return is_taken


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one of its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False

"""Decoding in processes that can be killed: a decoder that hangs, crashes or leaks takes nothing else with it.

decord is known to hang on some files and to leak over long runs. A worker process that does not answer in time is
killed, one that dies is replaced, and each is retired after a number of files.

Frames come back in memory that both processes map, and stay there while anyone reads them. ``pebble.ProcessPool`` does
the rest as well, but sends them through a pipe: 67 clips per second instead of 81 (pebble 5.2.3; 24 clips of 16 frames
and 1 MB, medians of 7 interleaved rounds with one worker on two cores that other work shared).
"""

from __future__ import annotations

import atexit
import math
import mmap
import os
import select
import signal
import subprocess
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from far.data.decoding.decoder import Decoded, Frames, VideoError
from far.data.decoding.frame_index import DECORD, PYAV, FrameIndex
from far.data.decoding.worker import KEPT, receive, send
from far.interpreter import child_environment, python_command

T = TypeVar("T")

TIMEOUT = 60.0
"""Seconds that decord may take for one file."""
CHECK_TIMEOUT = 600.0
"""Seconds that decoding all of a file may take."""
RETIRE_AFTER = 1000
"""Files after which a worker is replaced, which bounds what its decoders leak."""
MEMORIES = 3
"""Memories of a worker for frames: all but one of them may be in use while it decodes the next file."""


class UndecidedError(VideoError):
    """A video that could not be read this time: too slow, or its decoder was killed. Another time it may be read."""


class KilledError(UndecidedError):
    """The process was killed, by the kernel for want of memory or by a person: the file may have no part in it."""


class _Memory:
    """A file of memory that a worker writes frames to."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("far-frames", os.MFD_CLOEXEC)
        self._map: mmap.mmap | None = None
        self._lent: Callable[[], Frames | None] = lambda: None

    @property
    def free(self) -> bool:
        """Whether nobody reads the frames that are in it."""
        return self._lent() is None

    @property
    def size(self) -> int:
        """Bytes that were once in it at most."""
        return 0 if self._map is None else len(self._map)

    def frames(self, shape: tuple[int, ...]) -> Frames:
        """Return the frames that are in it; it is not free until nobody refers to them, or to parts of them."""
        size = math.prod(shape)
        if self._map is None or len(self._map) < size:  # a new map costs three times a copy
            self._map = mmap.mmap(self.descriptor, size)
        whole = np.frombuffer(self._map, np.uint8, size)  # what is made of it refers to this array
        self._lent = weakref.ref(whole)
        return whole.reshape(shape)

    def close(self) -> None:
        """Give the memory back, as soon as nobody reads it."""
        self._map = None
        os.close(self.descriptor)


class KillableProcess:
    """A process that works on one file after another and can be ended at any moment.

    Args:
        module: that it runs; what that prints goes nowhere.
        work: what it does to a file, for messages: it is the decoder, or the encoder.
        descriptors: files that it is given, and told the numbers of.
    """

    def __init__(self, module: str, work: str, descriptors: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            python_command("-m", module, *map(str, descriptors)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            env=child_environment(),
        )
        self._work = work
        self.files = 0

    @property
    def usable(self) -> bool:
        """Whether it lives and is not due for replacement."""
        return self._process.poll() is None and self.files < RETIRE_AFTER

    def crashed(self, path: Path) -> VideoError:
        """Return the error for a file in whose midst the process ended."""
        code = self._process.wait()
        kind = KilledError if code == -signal.SIGKILL else VideoError
        return kind(path, f"the {self._work} crashed on it (exit status {code})")

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """End the process and close its pipes; for the thread that uses it."""
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if stream:
                    stream.close()


class Worker(KillableProcess):
    """One decoding process and the memory that it shares with this one."""

    def __init__(self) -> None:
        self._memories = [_Memory() for _ in range(MEMORIES)]
        super().__init__("far.data.decoding.worker", "decoder", [memory.descriptor for memory in self._memories])

    def decode(self, path: Path, index: FrameIndex, wanted: NDArray[np.int64], timeout: float) -> Decoded:
        """Return frames of one file, or raise ``VideoError``; if it hung or crashed, the worker is dead after that."""
        free = [number for number, memory in enumerate(self._memories) if memory.free]
        chosen = max(free, key=lambda number: self._memories[number].size > KEPT)  # of which a small file gives back
        shape, decoder = self._ask("decode", path, timeout, index, wanted, chosen)
        frames = self._memories[chosen].frames(shape)
        return Decoded(frames if len(free) > 1 else frames.copy(), decoder)

    def index(self, task: str, path: Path, timeout: float, *needs: Any) -> FrameIndex:
        """Return the answer to ``index`` or ``confirm`` for one file, or raise ``VideoError`` like ``decode``."""
        index: FrameIndex = self._ask(task, path, timeout, *needs)
        return index

    def compare(self, path: Path, index: FrameIndex, timeout: float) -> str:
        """Return how earlier versions read a file differently, or raise ``VideoError`` like ``decode``."""
        text: str = self._ask("compare", path, timeout, index)
        return text

    def _ask(self, task: str, path: Path, timeout: float, *needs: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self.files += 1
        try:
            send(self._process.stdin, (task, str(path.absolute()), timeout, needs))
            if not select.select([self._process.stdout], [], [], timeout)[0]:
                self.close()
                raise UndecidedError(path, f"decoding did not end within {timeout:g} s")
            kind, content = receive(self._process.stdout)
            if kind == "error":
                raise VideoError(path, content)
            return content
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise self.crashed(path) from None
        except VideoError:
            raise
        except BaseException:  # left in the middle of an exchange: of no more use
            self.close()
            raise

    def close(self) -> None:
        """End the process and give its memory back."""
        super().close()
        while self._memories:
            self._memories.pop().close()


class Pool:
    """Workers of this process, made when all are busy, shared by all its streams and threads."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def decode(self, path: Path, index: FrameIndex, wanted: NDArray[np.int64], timeout: float | None = None) -> Decoded:
        """Decode frames of one file in a worker.

        Args:
            path: the file.
            index: its frame index.
            wanted: numbers of the frames, in any order, repeats allowed.
            timeout: seconds that it may take; by default ``TIMEOUT`` with decord, which is known to hang, and
                ``CHECK_TIMEOUT`` with PyAV, which is not, so that a busy machine does not decide what can be read.

        Raises:
            VideoError: the file is bad, took too long, or crashed the decoder.
        """
        if index.reader != PYAV:
            with suppress(VideoError):  # it hung, or crashed: another decoder may not
                return self._with_worker(lambda worker: worker.decode(path, index, wanted, timeout or TIMEOUT))
            index = replace(index, reader=PYAV)
        return self._with_worker(lambda worker: worker.decode(path, index, wanted, timeout or CHECK_TIMEOUT))

    def index(self, path: Path, timeout: float = CHECK_TIMEOUT) -> FrameIndex:
        """Make one file's frame index in a worker; raises like ``decode``."""
        index = self._with_worker(lambda worker: worker.index("index", path, timeout))
        if index.reader == DECORD:
            return index
        try:
            difference = self._with_worker(lambda worker: worker.compare(path, index, TIMEOUT))
        except VideoError as error:  # decord hung or crashed, as it did then
            difference = error.reason
        return replace(index, read_differently=difference)

    def confirm(self, path: Path, index: FrameIndex, timeout: float = CHECK_TIMEOUT) -> FrameIndex:
        """Decode every frame of one file in a worker and return its index as that shows it; raises like ``decode``."""
        return self._with_worker(lambda worker: worker.index("confirm", path, timeout, index))

    def _with_worker(self, work: Callable[[Worker], T]) -> T:
        """Return what a worker answers; where it is killed meanwhile, another one is asked, once."""
        try:
            return self._with_one_worker(work)
        except KilledError:
            return self._with_one_worker(work)

    def _with_one_worker(self, work: Callable[[Worker], T]) -> T:
        worker = self._take()
        try:
            return work(worker)
        finally:
            self._give_back(worker)

    def _take(self) -> Worker:
        with self._lock:
            if self._owner != os.getpid():  # after a fork the idle workers are the parent's
                self._idle, self._owner = [], os.getpid()
            while self._idle:
                worker = self._idle.pop()
                if worker.usable:
                    return worker
                worker.close()  # it died while nobody used it, which is no file's fault
        return Worker()

    def _give_back(self, worker: Worker) -> None:
        if worker.usable:
            with self._lock:
                self._idle.append(worker)
        else:
            worker.close()

    def close(self) -> None:
        """End all idle workers."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._owner == os.getpid():
            for worker in idle:
                worker.close()


POOL = Pool()
atexit.register(POOL.close)

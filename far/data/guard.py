"""Decoding in processes that can be killed: a decoder that hangs, crashes or leaks takes nothing else with it.

decord is known to hang on some files and to leak over long runs. A worker process that does not answer in time is
killed, one that dies is replaced, and each is retired after a number of files.
"""

from __future__ import annotations

import atexit
import mmap
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from far.data.decoder import Decoded, Facts, Pick, VideoError
from far.data.worker import receive, send
from far.interpreter import child_environment, python_command

T = TypeVar("T")

TIMEOUT = 60.0
"""Seconds that one file may take."""
CHECK_TIMEOUT = 600.0
"""Seconds that decoding all of a file may take."""
RETIRE_AFTER = 1000
"""Files after which a worker is replaced, which bounds what its decoders leak."""


class UndecidedError(VideoError):
    """A video that could not be read this time: too slow, or its decoder was killed. Another time it may be read."""


class Worker:
    """One decoding process and the memory that it shares with this one."""

    def __init__(self) -> None:
        self._memory = os.memfd_create("far-frames", os.MFD_CLOEXEC)
        self._map: mmap.mmap | None = None
        self._process = subprocess.Popen(
            python_command("-m", "far.data.worker", str(self._memory)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._memory],
            env=child_environment(),
        )
        self.files = 0

    def decode(self, path: Path, pick: Pick, timeout: float) -> Decoded:
        """Return frames of one file, or raise ``VideoError``; if it hung or crashed, the worker is dead after that."""
        shape, *facts = self._ask("decode", path, timeout, pick)
        frames = np.empty(shape, np.uint8)
        if self._map is None or len(self._map) < frames.nbytes:  # a new map costs three times the copy
            self._map = mmap.mmap(self._memory, frames.nbytes, prot=mmap.PROT_READ)
        frames.data.cast("B")[:] = memoryview(self._map)[: frames.nbytes]
        return Decoded(frames, *facts)

    def facts(self, task: str, path: Path, timeout: float) -> Facts:
        """Return what ``verify`` or ``probe`` tells of one file, or raise ``VideoError`` like ``decode``."""
        facts: Facts = self._ask(task, path, timeout)
        return facts

    def _ask(self, task: str, path: Path, timeout: float, pick: Pick | None = None) -> Any:
        assert self._process.stdin and self._process.stdout
        self.files += 1
        try:
            send(self._process.stdin, (task, str(path.absolute()), timeout))
            while True:
                if not select.select([self._process.stdout], [], [], timeout)[0]:
                    self.close()
                    raise UndecidedError(path, f"decoding did not end within {timeout:g} s")
                kind, content = receive(self._process.stdout)
                if kind == "error":
                    raise VideoError(path, content)
                if kind != "count":
                    return content
                assert pick is not None
                send(self._process.stdin, pick(content))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            code = self._process.wait()
            kind = UndecidedError if code == -signal.SIGKILL else VideoError  # e.g. by the kernel, out of memory
            raise kind(path, f"the decoder crashed on it (exit status {code})") from None
        except VideoError:
            raise
        except BaseException:  # left in the middle of an exchange: of no more use
            self.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether it lives and is not due for replacement."""
        return self._process.poll() is None and self.files < RETIRE_AFTER

    def close(self) -> None:
        """End the process, whatever it is doing."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if stream:
                    stream.close()
        self._map = None
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1


class Pool:
    """Workers of this process, made when all are busy, shared by all its streams and threads."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def decode(self, path: Path, pick: Pick, timeout: float = TIMEOUT) -> Decoded:
        """Decode frames of one file in a worker.

        Raises:
            VideoError: the file is bad, took too long, or crashed the decoder.
        """
        return self._with_worker(lambda worker: worker.decode(path, pick, timeout))

    def verify(self, path: Path, timeout: float = CHECK_TIMEOUT) -> Facts:
        """Decode every frame of one file in a worker and tell what it is; raises like ``decode``."""
        return self._with_worker(lambda worker: worker.facts("verify", path, timeout))

    def probe(self, path: Path, timeout: float = TIMEOUT) -> Facts:
        """Tell what a file is without decoding all of it; raises like ``decode``."""
        return self._with_worker(lambda worker: worker.facts("probe", path, timeout))

    def _with_worker(self, work: Callable[[Worker], T]) -> T:
        worker = self._take()
        try:
            return work(worker)
        finally:
            self._give_back(worker)

    def _take(self) -> Worker:
        with self._lock:
            if self._owner != os.getpid():  # after a fork the idle workers are the parent's
                self._idle, self._owner = [], os.getpid()
            if self._idle:
                return self._idle.pop()
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

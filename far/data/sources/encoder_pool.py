"""Processes that re-encode videos and can be killed: a file that hangs or crashes one takes nothing else with it."""

from __future__ import annotations

import io
import select
import threading
from pathlib import Path
from typing import Any

from far.data.decoding.frame_index import FrameIndex
from far.data.decoding.pool import KillableProcess, UndecidedError
from far.data.decoding.worker import receive, send
from far.data.sources.video_encoder import STALLED


class _Encoder(KillableProcess):
    """One encoding process."""

    def __init__(self) -> None:
        super().__init__("far.data.sources.video_encoder", "encoder")
        assert self._process.stdout
        # of what comes at once it reads one message, so that `select` sees the next
        self._answers = io.BufferedReader(io.FileIO(self._process.stdout.fileno(), closefd=False), buffer_size=1)

    def ask(self, source: Path, *request: Any) -> str:
        """Return the answer to a request, or raise it; if it hung or crashed, the process is dead after that."""
        assert self._process.stdin
        self.files += 1
        try:
            send(self._process.stdin, (source, *request))
            answer: Any = None
            while answer is None:  # a sign of life
                if not select.select([self._answers], [], [], STALLED)[0]:
                    self.close()
                    raise UndecidedError(source, f"re-encoding it stood still for {STALLED:g} s")
                answer = receive(self._answers)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise self.crashed(source) from None
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)


class EncoderPool:
    """Encoding processes, made when all are busy, shared by threads. A context manager: they end with it."""

    def __init__(self) -> None:
        self._idle: list[_Encoder] = []
        self._busy: set[_Encoder] = set()
        self._lock = threading.Lock()
        self._ended = False

    def write_smaller(self, source: Path, index: FrameIndex, target: Path, size: tuple[int, int]) -> str:
        """Re-encode a video in a process; see ``video_encoder.write_smaller``.

        Raises:
            VideoError: it cannot be re-encoded, or it crashed the process.
            UndecidedError: it stood still, or the process was killed.
            StorageError: the target cannot be written.
        """
        with self._lock:
            if self._ended:
                raise UndecidedError(source, "interrupted")
            encoder = self._idle.pop() if self._idle else _Encoder()
            self._busy.add(encoder)
        try:
            return encoder.ask(source.absolute(), index, target.absolute(), size)
        finally:
            with self._lock:
                self._busy.discard(encoder)
                is_kept = encoder.usable and not self._ended
                if is_kept:
                    self._idle.append(encoder)
            if not is_kept:
                encoder.close()

    def end(self) -> None:
        """End all processes; what they are at is left undone."""
        with self._lock:
            self._ended = True
            idle, self._idle = self._idle, []
            for encoder in self._busy:
                encoder.kill()
        for encoder in idle:
            encoder.close()

    def __enter__(self) -> EncoderPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

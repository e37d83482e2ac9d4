"""The process that decodes for ``far.data.decoding.pool``: reads requests on stdin, writes frames into shared memory.

Started as ``python -m far.data.decoding.worker <descriptors of shared memory>``. It ends when its stdin closes, and
its own alarm kills it if its parent dies while a decoder hangs.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from far.data.decoding.decoder import Frames, VideoError, decode
from far.data.decoding.earlier import read_differently
from far.data.decoding.frame_index import FrameIndex
from far.data.decoding.scan import confirmed, index_file

HEADER = struct.Struct("<I")
KEPT = 64 << 20
"""Bytes of each shared memory that a worker keeps from one file to the next."""

_INDEXING: dict[str, Callable[..., FrameIndex]] = {"index": index_file, "confirm": confirmed}


def send(stream: IO[bytes], message: object) -> None:
    """Write one message."""
    body = pickle.dumps(message)
    stream.write(HEADER.pack(len(body)) + body)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one message.

    Raises:
        EOFError: the other side has gone.
    """
    head = stream.read(HEADER.size)
    size = HEADER.unpack(head)[0] if len(head) == HEADER.size else -1
    body = stream.read(max(size, 0))
    if len(body) != size:
        raise EOFError
    return pickle.loads(body)


def serve(memories: list[SharedMemory], requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until the parent goes.

    A request is (task, path, seconds, what the task needs). For ``decode`` that includes the number of the memory to
    write to, and the answer is the shape of the frames and the decoder that read them; for ``index`` and ``confirm`` it
    is the frame index; for ``compare`` how earlier versions read the file differently. Or why there is none.
    """
    while True:
        try:
            task, path, seconds, needs = receive(requests)
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, seconds + 5)
        try:
            if task == "compare":
                send(answers, ("text", read_differently(Path(path), *needs)))
            elif task == "decode":
                index, wanted, memory = needs
                decoded = decode(Path(path), index, wanted, memories[memory].allocate)
                send(answers, ("frames", (decoded.frames.shape, decoded.decoder)))
            else:
                send(answers, ("index", _INDEXING[task](Path(path), *needs)))
        except VideoError as error:
            send(answers, ("error", error.reason))
        signal.setitimer(signal.ITIMER_REAL, 0)


class SharedMemory:
    """Frames for the parent, in a file of memory that grows as they do and is given back where it has grown large."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None

    def allocate(self, shape: tuple[int, ...]) -> Frames:
        """Return the start of the memory as an array, whatever was there before."""
        size = math.prod(shape)
        if self._map is None or not size <= len(self._map) <= max(size, KEPT):
            os.ftruncate(self._descriptor, size)
            self._map = mmap.mmap(self._descriptor, size)
        return np.frombuffer(self._map, np.uint8, size).reshape(shape)


def answer_stream() -> IO[bytes]:
    """Return standard output for answers alone: whatever libraries print goes to standard error instead.

    Ctrl-C, which goes to the whole group, is left to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def main() -> None:
    """Serve on stdin and stdout."""
    serve([SharedMemory(int(each)) for each in sys.argv[1:]], sys.stdin.buffer, answer_stream())


if __name__ == "__main__":
    main()

"""A wall clock of its own for what a test starts, made by a C compiler."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path


class Clock:
    """The wall clock of everything that is started with ``environment``; it can be put back while that runs.

    Args:
        directory: where the library and the file that it reads are made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._offset, library = directory / "offset", directory / "clock.so"
        self._offset.write_bytes(struct.pack("l", 0))
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        source = Path(__file__).with_name("clock.c")
        command = [compiler or "cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        self.works = compiler is not None and subprocess.run(command, capture_output=True).returncode == 0
        self.environment = {"LD_PRELOAD": str(library), "FARLAB_TEST_CLOCK": str(self._offset)} if self.works else {}

    def jump(self, seconds: int) -> None:
        """Move the clock by so many seconds; negative: back."""
        with self._offset.open("r+b") as stream:
            (now,) = struct.unpack("l", stream.read())
            stream.seek(0)
            stream.write(struct.pack("l", now + seconds))

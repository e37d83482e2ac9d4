"""Standard output and error that no reader, disk, encoding or name can break.

``Output`` keeps a command going whose reader has left (``| head``) or whose disk is full, and writes characters that
the stream's encoding lacks as escapes. ``Clean``, laid over it while a command runs, also escapes control characters:
whatever a file, a name or a server says, it cannot drive the terminal. Consoles of ``orchestrator.cli.console`` write
to the ``Output`` below, because their own control sequences are intended.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from far.text import encodable, printable

READER_GONE = (errno.EPIPE, errno.EIO, errno.ESHUTDOWN)
"""A pipe without a reader; a terminal that was closed. There is no reader left, so it is no failure."""


class Output:
    """A text stream that notes what it could not write, instead of raising."""

    def __init__(self, stream: TextIO | Any) -> None:
        self.stream = stream
        self.problem: OSError | None = None
        self.substituted = False
        """Whether a character was written as an escape because the encoding lacks it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, or note why it cannot be."""
        self._attempt(lambda: self._write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or note why it cannot be."""
        self._attempt(self.stream.flush)

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            self.substituted = True
            self.stream.write(encodable(text, self.stream.encoding))

    def _attempt(self, act: Any) -> None:
        if self.problem is not None:
            return
        try:
            act()
        except OSError as error:
            self.problem = error
        except ValueError:  # closed under our hands
            self.problem = OSError(errno.EBADF, os.strerror(errno.EBADF))


class Clean:
    """A text stream in which control characters are escaped.

    Args:
        output: the stream below.
        leave_out: how lines begin that are not written at all.
    """

    def __init__(self, output: Output, leave_out: str | None = None) -> None:
        self.output, self._leave_out, self._within = output, leave_out, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.output, name)

    def write(self, text: str) -> int:
        """Write with control characters other than newline and tab as escapes."""
        if self._leave_out is None:
            return self.output.write(printable(text))
        for line in text.splitlines(keepends=True):  # the end of a line may come by itself
            self._within = self._within or line.startswith(self._leave_out)
            if not self._within:
                self.output.write(printable(line))
            self._within = self._within and not line.endswith("\n")
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)


@contextmanager
def tolerant() -> Iterator[tuple[Output, Output]]:
    """Put ``Output`` over standard output and error; yield both."""
    before = sys.stdout, sys.stderr
    made = Output(sys.stdout), Output(sys.stderr)
    sys.stdout, sys.stderr = made
    try:
        yield made
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def clean(leave_out: str | None = None) -> Iterator[None]:
    """Put ``Clean`` over standard output and error.

    Args:
        leave_out: how lines of standard error begin that are not written.
    """
    before = sys.stdout, sys.stderr
    output, errors = (each if isinstance(each, Output) else Output(each) for each in before)
    sys.stdout, sys.stderr = Clean(output), Clean(errors, leave_out)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def terminal(stream: Any) -> Any:
    """Return the stream below that takes control sequences, for a console that writes its own."""
    return stream.output if isinstance(stream, Clean) else stream


def open_standard_streams() -> None:
    """Send standard streams that were closed (``>&-``) to nowhere: else the next file opened would receive them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115

"""What can go wrong, as types: the orchestrator decides by type whether to retry, adapt, list or stop.

Exit codes follow the convention of the command line (0 complete, 1 internal, 2 configuration or usage,
3 some trials failed or some data are bad, 4 budget reached, 130 interrupted).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from far.redaction import redacted


class FarError(Exception):
    """Base of every error that FARLab raises on purpose: shown as one message, never as a traceback.

    Its text holds no credentials, whatever library's message it was made of (``far.redaction``).
    """

    exit_code = 1
    kind = "internal"

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))


class ConfigError(FarError):
    """An invalid configuration. Never retried.

    Args:
        message: what is wrong, in one sentence.
        key: dotted path of the offending key, if one is known.
        where: ``file:line`` of that key, if it came from a file, or ``command line``.
        choices: the values that would have been right.
        got: the offending value; with ``choices`` it yields the nearest valid choice.
    """

    exit_code = 2
    kind = "configuration"

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        where: str | None = None,
        choices: Iterable[object] = (),
        got: object = None,
    ) -> None:
        self.message, self.key, self.where = message, key, where
        self.choices = [str(choice) for choice in choices]
        self.got = got
        super().__init__(str(self))

    def at(self, *, key: str | None = None, where: str | None = None) -> ConfigError:
        """Return the same error with its place filled in where it was not yet known."""
        return ConfigError(
            self.message,
            key=self.key or key,
            where=self.where or where,
            choices=self.choices,
            got=self.got,
        )

    def __str__(self) -> str:
        return redacted(self._text())

    def _text(self) -> str:
        place = ": ".join(part for part in (self.where, self.key) if part)
        text = f"{place}: {self.message}" if place else self.message
        if self.choices:
            near = difflib.get_close_matches(str(self.got), self.choices, n=1, cutoff=0.4)
            if near:
                text += f". Did you mean '{near[0]}'?"
            text += f" (valid: {', '.join(self.choices)})"
        return text


class DataError(FarError):
    """A data set or a video that cannot be used as asked."""

    exit_code = 3
    kind = "data"


class WeightsError(FarError):
    """A weights file that cannot be opened safely, recognised, or loaded completely."""

    exit_code = 2
    kind = "weights"


class DivergedError(FarError):
    """The loss or the gradient stopped being finite. Not retried: it is a result, and the table shows it."""

    exit_code = 3
    kind = "diverged"


class OutOfMemoryError(FarError):
    """The device ran out of memory. Retried with half the micro-batch and twice the accumulation."""

    exit_code = 3
    kind = "out-of-memory"


class StorageError(FarError):
    """Results cannot be written: the file system is read-only, broken or gone.

    The sweep stops cleanly and resumes when it can be written again.
    """

    exit_code = 3
    kind = "storage"


class StorageFullError(StorageError):
    """No space is left where results are written. The sweep stops cleanly and resumes when space is freed."""

    kind = "disk-full"


class LostError(FarError):
    """The trial's process or node died. Retried from the last complete checkpoint, a limited number of times."""

    exit_code = 3
    kind = "lost"


class CancelledError(FarError):
    """This one trial was cancelled. It keeps its checkpoint, and a later sweep goes on with it."""

    exit_code = 130
    kind = "cancelled"


class TrialInterruptedError(FarError):
    """The process was asked to end: a signal, a node that is drained, a sweep that stops.

    The trial has written what it had, and goes on from there; it is neither failed nor lost.
    """

    exit_code = 130
    kind = "interrupted"


class DamagedError(FarError):
    """A checkpoint that cannot be loaded. The trial goes on from the one before it, or from the start."""

    exit_code = 3
    kind = "damaged-checkpoint"

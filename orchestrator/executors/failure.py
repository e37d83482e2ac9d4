"""What a trial that did not end by itself leaves behind, and where its output goes."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from far.errors import DivergedError, FarError
from far.redaction import redacted
from far.store.paths import TrialPaths
from far.store.records import Failure, State, has_result, read_spec, write_result


def write_failure(directory: Path, error: BaseException | Failure, state: State | None = None) -> None:
    """Write the result of a trial that cannot be finished, so that the table shows it; a result that is there stays.

    Args:
        directory: the trial's folder.
        error: why; a typed error gives its kind, anything else is internal.
        state: default: ``diverged`` or ``failed``, by the error.
    """
    paths = TrialPaths(directory)
    if has_result(paths):
        return
    if isinstance(error, BaseException):
        kind = error.kind if isinstance(error, FarError) else "internal"
        failure = Failure(kind=kind, message=redacted(str(error)) or type(error).__name__)
        if kind == "internal":
            failure["traceback"] = redacted("".join(traceback.format_exception(error)))
    else:
        failure = error
    write_result(
        paths,
        {
            "key": paths.key,
            "state": state or ("diverged" if isinstance(error, DivergedError) else "failed"),
            "metrics": {},
            "error": failure,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        read_spec(paths).get("attempts") or [],
    )


def redirect(log: Path) -> None:
    """Send file descriptors 1 and 2 to the trial's log; where there is no room for one, to nowhere."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)  # less the umask
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)

"""The file in which Optuna keeps a search: one JSON object per line, mended where a full disk or a power cut tore it.

Optuna appends to a line that was cut off as to a whole one, and can read nothing after it any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from far.errors import DataError, StorageFullError
from far.store.atomic import storage_errors, write_atomic

START = b'{"op_code"'
"""How every entry begins."""


class Journal(JournalFileBackend):
    """Optuna's journal, whose file stays whole when there is no room for an entry."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries.

        Raises:
            StorageFullError: there is no room for them; what was written of them is taken back.
        """
        path = Path(self._file_path)
        try:
            with storage_errors(path):
                super().append_logs(logs)
        except StorageFullError:
            with contextlib.suppress(OSError):
                mend(path)
            raise


def mend(path: Path) -> None:
    """Leave only whole entries in a journal, and say what was left out.

    Raises:
        DataError: it holds what no cut-off entry explains.
        OSError: it cannot be read, or a torn one cannot be written.
    """
    if not path.exists() or not _torn(path.read_bytes()):
        return
    with _locked(path):
        data = path.read_bytes()  # another process may just have finished the line
        torn, whole = _torn(data), b"".join(_whole(path, data))
        if whole == data + b"\n":  # all of the entry but the end of its line
            with path.open("ab") as stream:
                stream.write(b"\n")
            return
        if data.startswith(whole):  # only the end is torn: that needs no room
            os.truncate(path, len(whole))
        else:
            write_atomic(path.with_name(f"{path.name}.torn"), data)
            write_atomic(path, whole)
    if torn:
        entries = whole.count(b"\n")
        print(
            f"note: {path}: line {torn} was cut off, as by a full disk or a power cut, and is left out; "
            f"the other {entries} count",
            file=sys.stderr,
        )


def _torn(data: bytes) -> int:
    """Return the number of the first line that is no entry; 0 if all are."""
    lines = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        last = number == len(lines)
        if line != b"" if last else not _is_entry(line):
            return number
    return 0


def _whole(path: Path, data: bytes) -> Iterator[bytes]:
    """Yield the entries of a torn journal, those included that were appended to a line that was cut off."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        begun = line.replace(b"\0", b"")  # some file systems leave zeros where a power cut came first
        entry = line if _is_entry(line) else line[max(line.rfind(START), 0) :]
        if _is_entry(entry):
            yield entry + b"\n"
        elif not (begun.startswith(START) or START.startswith(begun)):
            raise DataError(
                f"{path}: line {number} is no entry of a search: move the file away to start the search over; "
                "what its trials have found is kept and not run again"
            )


def _is_entry(line: bytes) -> bool:
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and "op_code" in value


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        yield
    finally:
        lock.release()

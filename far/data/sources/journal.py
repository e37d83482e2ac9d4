"""What was found out about files, kept in a file of JSON lines, so that an interrupted command goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from far.cpus import whole_cpus
from far.data.decoding.decoder import VideoError
from far.data.decoding.frame_index import VERSION
from far.data.decoding.pool import UndecidedError
from far.data.sources.demo_writer import Progress
from far.store.atomic import append_json_line, file_sha256, finite, read_json_lines

Result = dict[str, Any]


class Journal:
    """Results by file in a file of JSON lines; a file that has not changed since is not looked at again.

    A file that could not be read is looked at again when it changes, when the decoders do, or when the trouble was not
    the file's (too slow, no permission).

    Args:
        path: the journal.
        made_with: what decides the results besides the files; results of other values do not count.
        also: journals of other data sets that may hold the same files; a file is the same by name, size and time.
    """

    def __init__(self, path: Path, made_with: object = VERSION, also: Iterable[Path] = ()) -> None:
        self._path, self._made_with = path, made_with
        self._decoders = _decoder_versions()
        self._known = {
            (record["name"], record["size"], record["mtime"]): record["result"]
            for each in (*also, path)
            for record in read_json_lines(each)
            if {"name", "size", "mtime", "result"} <= set(record)
            and record.get("version") == made_with
            and ("reason" not in record["result"] or record.get("decoders") == self._decoders)
        }

    def run(
        self,
        files: Iterable[tuple[str, Path]],
        work: Callable[[Path], Result],
        progress: Progress,
        *,
        hashed: bool = True,
        holds: Callable[[str, Result], bool] = lambda name, result: True,
        stop: Callable[[], None] = lambda: None,
    ) -> dict[str, Result]:
        """Return ``work(path)`` of each file by name with the file's SHA-256, from the journal where it is known.

        Where ``work`` fails, the result has a ``reason``.

        Args:
            files: name and path of each.
            work: called in threads.
            progress: called with (files done, files in all).
            hashed: whether the SHA-256 is wanted.
            holds: whether a known result of this name still does.
            stop: called on an interruption or an error, to end work that is going on.
        """
        files = list(files)
        states = {name: state_of(path) for name, path in files}
        known = {name: self._known[name, *state] for name, state in states.items() if (name, *state) in self._known}
        results = {name: result for name, result in known.items() if holds(name, result)}
        rest = iter([(name, path) for name, path in files if name not in results])
        progress(len(results), len(files))
        threads = whole_cpus()
        with ThreadPoolExecutor(threads, thread_name_prefix="far-check") as pool:
            running: dict[Future[tuple[Result, bool]], str] = {}
            try:
                while True:
                    # no more than keeps the threads busy, so that an interruption waits for a few files only
                    for name, path in islice(rest, 2 * threads - len(running)):
                        running[pool.submit(_result, path, work, hashed)] = name
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        name = running.pop(future)
                        results[name], is_lasting = future.result()
                        if is_lasting:
                            self._write(name, *states[name], results[name])
                        progress(len(results), len(files))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                stop()
                raise
        return results

    def _write(self, name: str, size: int, mtime: int, result: Result) -> None:
        record = {"version": self._made_with, "name": name, "size": size, "mtime": mtime, "result": result}
        if "reason" in result:
            record["decoders"] = self._decoders
        append_json_line(self._path, record)


def state_of(path: Path) -> tuple[int, int]:
    """Return size and time of a file, zeros if it is gone."""
    try:
        state = path.stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _result(path: Path, work: Callable[[Path], Result], hashed: bool) -> tuple[Result, bool]:
    """Return what is known of a file, and whether it will be true next time."""
    record: Result = {}
    try:
        if hashed:
            record["sha256"] = file_sha256(path)
        return {**record, **finite(work(path))}, True
    except UndecidedError as error:
        return {**record, "reason": error.reason}, False
    except VideoError as error:
        return {**record, "reason": error.reason}, True
    except OSError as error:
        return {**record, "reason": f"cannot be read: {error.strerror}"}, False


def _decoder_versions() -> str:
    """Return the video libraries of this installation with their versions, as text."""
    versions = []
    for name in ("decord", "decord2", "av"):
        with suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    return ", ".join(versions)

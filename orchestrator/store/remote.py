"""A store at a URL: each machine works on its own copy of a trial, and what is whole is kept at the URL.

Locks, renames and DeepSpeed's checkpoints need a real file system, which an object store is not. So a trial is worked
on in a local folder; after every epoch its files go to the URL (any that fsspec supports), and a machine without the
trial fetches them before it goes on. What makes a file whole is written last: a checkpoint counts with its list of
files, a trial with its ``result.json``. (``fsspec.generic.rsync`` has no such order, writes files in place, and
compares their sizes alone.)
"""

from __future__ import annotations

import json
import logging
import posixpath
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from far.errors import ConfigError, FarError
from far.plugins.kept import FETCHED, mark_fetched
from far.redaction import redacted
from far.store.atomic import read_json, scratch_path, storage_errors
from far.store.paths import TrialPaths
from far.store.records import DamagedRecordError, Spec, has_result, parse_result, read_spec
from orchestrator.store.store import Store, is_held, is_plain_name, plain_name

log = logging.getLogger(__name__)

WHOLE = "files.json"
"""Written into a checkpoint's folder at the URL when all its files are there: their names and sizes."""
SMALL = (
    "trial.json", "classes.json", "metrics.jsonl", "progress.json", "log.txt", "predictions.parquet", "result.json",
)  # fmt: skip
"""Files of a trial in the order in which they go up: the result last."""
OPEN = ("metrics.jsonl", "progress.json", "trial.json")
"""Those of them that are read of a trial before it has ended."""
POLL_SECONDS = 10.0
"""Between two looks at what other machines have written."""
_CHECKPOINT = re.compile(r"epoch-\d+(?:-step-\d+)?")


class RemoteStoreError(FarError):
    """The URL cannot be read or written."""

    kind = "store"


class RemoteStore:
    """The store's copy at a URL; every method raises ``RemoteStoreError`` where that cannot be read or written now.

    Args:
        url: e.g. ``s3://bucket/farlab``; options such as credentials come from fsspec's own configuration.

    Raises:
        RemoteStoreError: no installed package supports this kind of URL.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except Exception as error:
            raise RemoteStoreError(f"the store {url} cannot be opened: {error}") from None
        self._root = root.rstrip("/")

    def push_trial(self, paths: TrialPaths) -> None:
        """Bring the URL up to date with a trial's folder; remove checkpoints there that are gone here."""
        with self._errors():
            remote, here, there = self._trial(paths.key), _checkpoints(paths), self._checkpoints(paths.key)
            for name in sorted(here - there):
                files = {file.name: file for file in sorted((paths.checkpoints / name).iterdir())}
                for file, local in files.items():
                    self._put(local, f"{remote}/checkpoints/{name}/{file}")
                sizes = {file: local.stat().st_size for file, local in files.items()}
                self._fs.pipe_file(f"{remote}/checkpoints/{name}/{WHOLE}", json.dumps(sizes).encode())
            self._put_plugins(paths)
            for name in SMALL:
                if (paths.directory / name).exists():
                    self._put(paths.directory / name, f"{remote}/{name}")
            for name in there - here if here else ():
                self._fs.rm_file(f"{remote}/checkpoints/{name}/{WHOLE}")  # first: it is no longer whole
                self._fs.rm(f"{remote}/checkpoints/{name}", recursive=True)

    def pull_trial(self, paths: TrialPaths) -> None:
        """Fetch what the URL has of a trial and this machine lacks; the caller holds the trial's lock."""
        with self._errors():
            newest = max(self._checkpoints(paths.key), default="")
            if not self._pull_records(paths) and newest > max(_checkpoints(paths), default=""):
                remote = f"{self._trial(paths.key)}/checkpoints/{newest}"
                sizes = {_name(name): size for name, size in json.loads(self._fs.cat_file(f"{remote}/{WHOLE}")).items()}
                with _scratch(paths.checkpoints) as scratch:
                    self._get(remote, scratch, sizes)
                    if {path.name: path.stat().st_size for path in scratch.iterdir()} != sizes:
                        raise RemoteStoreError(f"{self.url}: {remote} is not what its {WHOLE} says")
                    scratch.rename(paths.checkpoints / newest)

    def pull(self, store: Store, keys: Iterable[str] | None = None) -> None:
        """Fetch the submissions that this machine lacks, and the records of trials, by default of all."""
        with self._errors():
            for key in filter(is_plain_name, self._names(f"{self._root}/trials") if keys is None else keys):
                if not is_held(store.paths(key).lock):
                    self._pull_records(store.paths(key))
            studies = self._fs.find(f"{self._root}/studies") if self._fs.exists(f"{self._root}/studies") else ()
            for remote in studies if keys is None else ():
                local = store.root.joinpath(*map(_name, posixpath.relpath(remote, self._root).split("/")))
                if not local.exists():
                    with _scratch(local.parent) as scratch:
                        self._get(posixpath.dirname(remote), scratch, [local.name])
                        (scratch / local.name).replace(local)
                        mark_fetched(local)

    def push(self, store: Store, keys: Iterable[str]) -> None:
        """Bring the URL up to date with the studies, and with trials that have a result or came farther here."""
        with self._errors():
            for local in sorted(store.root.glob("studies/**/*")):
                if local.is_file() and (local.suffix in (".yaml", ".journal") or "plugins" in local.parts[:-1]):
                    self._put(local, f"{self._root}/{local.relative_to(store.root).as_posix()}")
            for paths in map(store.paths, keys):
                ended = self._fs.exists(f"{self._trial(paths.key)}/result.json")
                farther = max(_checkpoints(paths), default="") > max(self._checkpoints(paths.key), default="")
                if not ended and (farther or has_result(paths)) and not is_held(paths.lock):
                    self.push_trial(paths)

    def submit(self, paths: TrialPaths) -> None:
        """Put a trial's description there for the machine that runs it; a result of an earlier try makes way."""
        with self._errors():
            if self._fs.exists(result := f"{self._trial(paths.key)}/result.json"):
                self._fs.rm_file(result)
            self._put_plugins(paths)
            self._put(paths.trial, f"{self._trial(paths.key)}/trial.json")

    def set_aside(self, key: str, number: int) -> None:
        """Move all files of a trial into a folder of its own within the trial's, as on this machine."""
        own = self._trial(key)
        with self._errors():
            for name in sorted(set(self._names(own)) - {"earlier"}, key=("result.json", "trial.json").count):
                self._fs.makedirs(place := f"{own}/earlier/{max(number, 1)}", exist_ok=True)
                self._fs.mv(f"{own}/{name}", f"{place}/{name}", recursive=True)

    @contextmanager
    def polled(self, store: Store, keys: Callable[[], Sequence[str]]) -> Iterator[None]:
        """Fetch, in a thread, what other machines write about the trials that ``keys`` returns."""
        over = threading.Event()

        def poll() -> None:
            while not over.wait(POLL_SECONDS):
                try:
                    self.pull(store, keys())
                except RemoteStoreError as error:
                    log.info("%s", error)

        thread = threading.Thread(target=poll, name="remote-store", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _pull_records(self, paths: TrialPaths) -> bool:
        """Fetch a trial's result, else how far it is unless it had more starts here; return whether it has ended."""
        if has_result(paths):
            return True
        remote = self._trial(paths.key)
        with _scratch(paths.directory) as scratch:
            fetched = TrialPaths(scratch)
            self._get(remote, scratch, ["result.json"])
            ended = _is_result(fetched.result, paths.key)
            self._get(remote, scratch, SMALL[:-1] if ended else OPEN)
            spec: Spec | None = read_json(fetched.trial, Spec)
            if ended or (spec is not None and _starts(spec) >= _starts(read_spec(paths))):
                self._get_plugins(spec or {}, paths)
                for name in SMALL if ended else OPEN:
                    if (scratch / name).exists():
                        (scratch / name).replace(paths.directory / name)
        return ended

    def _put_plugins(self, paths: TrialPaths) -> None:
        for local in sorted(paths.plugins.rglob("*")):
            remote = f"{self._trial(paths.key)}/{local.relative_to(paths.directory).as_posix()}"
            if local.is_file() and local.name != FETCHED and not self._fs.exists(remote):  # named by their content
                self._put(local, remote)

    def _get_plugins(self, spec: Spec, paths: TrialPaths) -> None:
        """Fetch the plug-ins of a trial that are not here, and mark them as somebody else's."""
        for record in spec.get("plugins") or ():
            for file in record["files"]:
                parts = [_name(part) for part in (record["digest"], *file.split("/"))]
                local = paths.plugins.joinpath(*parts)
                if not local.exists():
                    with _scratch(local.parent) as scratch:
                        remote = f"{self._trial(paths.key)}/plugins/{'/'.join(parts[:-1])}"
                        self._get(remote, scratch, [local.name])
                        if (scratch / local.name).exists():
                            mark_fetched(local)
                            (scratch / local.name).replace(local)

    def _trial(self, key: str) -> str:
        return f"{self._root}/trials/{key}"

    def _checkpoints(self, key: str) -> set[str]:
        """Return the names of the whole checkpoints at the URL."""
        folder = f"{self._trial(key)}/checkpoints"
        names = filter(_CHECKPOINT.fullmatch, self._names(folder))
        return {name for name in names if self._fs.exists(f"{folder}/{name}/{WHOLE}")}

    def _names(self, remote: str) -> list[str]:
        try:
            entries: list[str] = self._fs.ls(remote, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(entry.rstrip("/")) for entry in entries)

    def _put(self, local: Path, remote: str) -> None:
        self._fs.makedirs(posixpath.dirname(remote), exist_ok=True)
        self._fs.put_file(str(local), remote)

    def _get(self, remote: str, folder: Path, names: Iterable[str]) -> None:
        """Fetch those of some files that there are into a folder."""
        for name in names:
            if self._fs.exists(f"{remote}/{name}"):
                with suppress(FileNotFoundError), storage_errors(folder):
                    self._fs.get_file(f"{remote}/{name}", str(folder / name))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn any error of a file system into a ``RemoteStoreError``."""
        self._fs.invalidate_cache()
        try:
            yield
        except FarError:
            raise
        except Exception as error:
            why = redacted(str(error))[:300]
            raise RemoteStoreError(f"the store {self.url}: {type(error).__name__}: {why}") from error


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """Yield a new folder whose files are renamed into ``parent`` once they are whole; it is removed after that."""
    parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch_path(parent / f"remote-{uuid.uuid4().hex[:8]}")
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _name(text: str) -> str:
    """Return the name that the URL gives for a file.

    Raises:
        RemoteStoreError: it would lead elsewhere.
    """
    try:
        return plain_name(text, "file")
    except ConfigError as error:
        raise RemoteStoreError(f"the store's URL: {error}") from None


def _is_result(path: Path, key: str) -> bool:
    try:
        parse_result(path.read_bytes(), key, path)
    except (OSError, DamagedRecordError):
        return False
    return True


def _starts(spec: Spec) -> int:
    return len(spec.get("attempts") or [])


def _checkpoints(paths: TrialPaths) -> set[str]:
    entries = paths.checkpoints.iterdir() if paths.checkpoints.is_dir() else ()
    return {entry.name for entry in entries if _CHECKPOINT.fullmatch(entry.name)}

"""A store at a URL: each machine works on its own copy of a trial, and what is whole is kept at the URL.

Locks, renames and DeepSpeed's checkpoints need a real file system, which an object store is not. So a trial is worked
on in a local folder; after every epoch its files go to the URL (any that fsspec knows), and a machine that has never
seen the trial fetches them before it goes on. What makes a file whole is written last: a checkpoint counts with its
list of files, a trial with its ``result.json``.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from far.errors import ConfigError, FarError
from far.redaction import redacted
from far.store.atomic import read_json, storage_errors
from far.store.paths import TrialPaths
from far.store.records import DamagedRecordError, Spec, has_result, parse_result, read_spec
from orchestrator.store.store import Store, is_held, is_plain_name, plain_name

WHOLE = "files.json"
"""Written into a checkpoint's folder at the URL when all its files are there: their names and sizes."""
SMALL = (
    "trial.json", "classes.json", "metrics.jsonl", "progress.json", "log.txt", "predictions.parquet", "result.json",
)  # fmt: skip
"""Files of a trial in the order in which they go up: the result last."""
_CHECKPOINT = re.compile(r"epoch-\d+(?:-step-\d+)?")


class RemoteStoreError(FarError):
    """The URL cannot be read or written."""

    kind = "store"


class RemoteStore:
    """The store's copy at a URL.

    Args:
        url: e.g. ``s3://bucket/farlab``; options such as credentials come from fsspec's own configuration.

    Raises:
        ReplicaError: no installed package knows this kind of URL.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except Exception as error:
            raise RemoteStoreError(f"the store {url} cannot be opened: {error}") from None
        self._root = root.rstrip("/")

    # -- one trial, where it runs --

    def push_trial(self, paths: TrialPaths) -> None:
        """Bring the URL up to date with a trial's folder; remove checkpoints there that are gone here.

        Raises:
            ReplicaError: the URL cannot be written now.
        """
        with self._errors():
            remote = self._trial(paths.key)
            here = _checkpoints(paths)
            there = self._checkpoints(remote)
            for name in sorted(here - there):
                self._push_checkpoint(paths.checkpoints / name, f"{remote}/checkpoints/{name}")
            for name in SMALL:
                if (paths.directory / name).exists():
                    self._put(paths.directory / name, f"{remote}/{name}")
            for name in there - here if here else ():
                self._remove(f"{remote}/checkpoints/{name}")

    def pull_trial(self, paths: TrialPaths) -> None:
        """Fetch what the URL has of a trial and this machine lacks; whoever calls holds the trial's lock.

        Raises:
            ReplicaError: the URL cannot be read now.
        """
        with self._errors():
            remote = self._trial(paths.key)
            if self._pull_result(paths):
                return
            there = self._checkpoints(remote)
            if there and max(there) > max(_checkpoints(paths), default=""):
                newest = max(there)
                self._pull_checkpoint(f"{remote}/checkpoints/{newest}", paths.checkpoints / newest)
            self._pull_spec(paths)

    # -- the whole store, at the driver --

    def pull(self, store: Store) -> None:
        """Fetch the results and submissions that this machine lacks.

        Raises:
            ReplicaError: the URL cannot be read now.
        """
        with self._errors():
            for key in self._names(f"{self._root}/trials"):
                if not is_plain_name(key):
                    continue  # what another machine calls a file need not be a file's name
                paths = store.paths(key)
                if not self._pull_result(paths) and not is_held(paths.lock):
                    self._pull_spec(paths)
            for remote in self._find(f"{self._root}/studies"):
                parts = posixpath.relpath(remote, self._root).split("/")
                local = store.root.joinpath(*(_name(part) for part in parts))
                if not local.exists():
                    self._get(remote, local)

    def submit(self, paths: TrialPaths) -> None:
        """Put a trial's description there for whoever runs it; a result of an earlier try makes way.

        Raises:
            ReplicaError: the URL cannot be written now.
        """
        with self._errors():
            result = f"{self._trial(paths.key)}/result.json"
            if self._fs.exists(result):
                self._fs.rm_file(result)
            self._put(paths.trial, f"{self._trial(paths.key)}/trial.json")

    def set_aside(self, key: str, number: int) -> None:
        """Move what there is of a trial into a folder of its own within the trial's, as on this machine.

        Raises:
            ReplicaError: the URL cannot be written now.
        """
        own = self._trial(key)
        with self._errors():
            names = [name for name in self._names(own) if name != "earlier"]
            place = f"{own}/earlier/{max(number, 1)}"
            for name in sorted(names, key=("result.json", "trial.json").count):
                self._fs.makedirs(place, exist_ok=True)
                self._fs.mv(f"{own}/{name}", f"{place}/{name}", recursive=True)

    def push(self, store: Store, keys: Iterable[str]) -> None:
        """Bring the URL up to date with the studies, and with trials of which this machine knows more.

        Raises:
            ReplicaError: the URL cannot be written now.
        """
        with self._errors():
            for local in sorted(store.root.glob("studies/**/*")):
                if local.is_file() and local.suffix in (".yaml", ".journal"):
                    self._put(local, f"{self._root}/{local.relative_to(store.root).as_posix()}")
        for key in keys:
            paths = store.paths(key)
            if paths.directory.is_dir() and not is_held(paths.lock) and self._is_behind(paths):
                self.push_trial(paths)

    def follow(self, store: Store, keys: Iterable[str]) -> None:
        """Fetch what other machines have written about trials that are still open.

        Raises:
            ReplicaError: the URL cannot be read now.
        """
        with self._errors():
            for key in keys:
                paths = store.paths(key)
                if is_held(paths.lock) or self._pull_result(paths):
                    continue
                for name in ("metrics.jsonl", "progress.json"):
                    self._get(f"{self._trial(key)}/{name}", paths.directory / name)

    # -- pieces --

    def _trial(self, key: str) -> str:
        return f"{self._root}/trials/{key}"

    def _pull_result(self, paths: TrialPaths) -> bool:
        """Fetch a trial's files if it has ended there and not here; return whether this machine has a result now."""
        if has_result(paths):
            return True
        remote = self._trial(paths.key)
        partial = paths.directory / f".result.{uuid.uuid4().hex[:8]}.partial"
        try:
            if not self._get(f"{remote}/result.json", partial) or not _is_result(partial, paths.key):
                return False
            for name in SMALL[:-1]:
                self._get(f"{remote}/{name}", paths.directory / name)
            partial.replace(paths.result)
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _pull_spec(self, paths: TrialPaths) -> None:
        """Fetch a trial's description unless the one here tells of more starts."""
        partial = paths.directory / f".trial.{uuid.uuid4().hex[:8]}.partial"
        try:
            there = read_json(partial, Spec) if self._get(f"{self._trial(paths.key)}/trial.json", partial) else None
            here = read_spec(paths)
            if there is not None and (not here or _starts(there) >= _starts(here)):
                partial.replace(paths.trial)
        finally:
            partial.unlink(missing_ok=True)

    def _is_behind(self, paths: TrialPaths) -> bool:
        """Return whether this machine has a result, or a later checkpoint, that the URL lacks."""
        with self._errors():
            remote = self._trial(paths.key)
            if self._fs.exists(f"{remote}/result.json"):
                return False
            latest = max(self._checkpoints(remote), default="")
            return has_result(paths) or max(_checkpoints(paths), default="") > latest

    def _push_checkpoint(self, local: Path, remote: str) -> None:
        files = {path.name: path.stat().st_size for path in sorted(local.iterdir())}
        for name in files:
            self._put(local / name, f"{remote}/{name}")
        self._fs.pipe_file(f"{remote}/{WHOLE}", json.dumps(files).encode())

    def _pull_checkpoint(self, remote: str, local: Path) -> None:
        files: dict[str, int] = {
            _name(name): size for name, size in json.loads(self._fs.cat_file(f"{remote}/{WHOLE}")).items()
        }
        partial = local.with_name(f"{local.name}.fetched.partial")
        shutil.rmtree(partial, ignore_errors=True)
        for name in files:
            self._get(f"{remote}/{name}", partial / name)
        sizes = {path.name: path.stat().st_size for path in partial.iterdir()}
        if sizes != files:
            shutil.rmtree(partial)
            raise RemoteStoreError(f"{self.url}: {remote} is not what its {WHOLE} says")
        partial.rename(local)

    def _checkpoints(self, remote: str) -> set[str]:
        """Return the names of the whole checkpoints at the URL."""
        names = {name for name in self._names(f"{remote}/checkpoints") if _CHECKPOINT.fullmatch(name)}
        return {name for name in names if self._fs.exists(f"{remote}/checkpoints/{name}/{WHOLE}")}

    def _names(self, remote: str) -> list[str]:
        try:
            entries: list[str] = self._fs.ls(remote, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(entry.rstrip("/")) for entry in entries)

    def _find(self, remote: str) -> list[str]:
        try:
            return list(self._fs.find(remote))
        except FileNotFoundError:
            return []

    def _put(self, local: Path, remote: str) -> None:
        self._fs.makedirs(posixpath.dirname(remote), exist_ok=True)
        self._fs.put_file(str(local), remote)

    def _get(self, remote: str, local: Path) -> bool:
        """Fetch a file into its place in one step; return whether there is one."""
        local.parent.mkdir(parents=True, exist_ok=True)
        partial = local.with_name(f".{local.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            if not self._fs.exists(remote):
                return False
            with storage_errors(local):
                self._fs.get_file(remote, str(partial))
                partial.replace(local)
        except FileNotFoundError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _remove(self, remote: str) -> None:
        self._fs.rm_file(f"{remote}/{WHOLE}")  # first: it is no longer whole
        self._fs.rm(remote, recursive=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn whatever a file system raises into a ``RemoteStoreError``."""
        self._fs.invalidate_cache()
        try:
            yield
        except FarError:
            raise
        except Exception as error:
            raise RemoteStoreError(
                f"the store {self.url}: {type(error).__name__}: {redacted(str(error))[:300]}"
            ) from error


def _name(text: str) -> str:
    """Return a file's name as the URL tells it.

    Raises:
        ReplicaError: it would lead elsewhere.
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

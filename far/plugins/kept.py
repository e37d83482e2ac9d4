"""Plug-ins as they are kept with trials and studies: their files in a folder named by their digest, and a record."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypedDict

from far.errors import ConfigError
from far.plugins.code import PREFIX, PluginCode, shown_path
from far.plugins.load import Plugin, load_code, loaded_plugins
from far.store.atomic import write_atomic
from far.store.paths import TrialPaths
from far.store.records import read_spec

FETCHED = ".fetched"
"""Next to the files of a copy that came from a store at a URL: whoever writes there wrote it."""


class KeptPlugin(TypedDict):
    """What a record says of a plug-in."""

    name: str
    module: str
    digest: str
    files: list[str]
    """Paths in the folder that is named by the digest."""
    root: str
    """The folder that they were read from, on the machine that did."""


def keep(codes: Iterable[PluginCode], folder: Path) -> list[KeptPlugin]:
    """Write plug-ins into a folder of their own each; return what a record says of them.

    Raises:
        StorageError: they cannot be written.
    """
    codes = list(codes)
    for code in codes:
        for name, content in code.files.items():
            path = folder / code.digest / name
            if not (path.is_file() and path.read_bytes() == content):
                write_atomic(path, content)
    return [described(code) for code in codes]


def described(code: PluginCode) -> KeptPlugin:
    """Return what a record says of a plug-in."""
    return {
        "name": code.name,
        "module": code.module,
        "digest": code.digest,
        "files": sorted(code.files),
        "root": str(code.root),
    }


def kept_code(record: KeptPlugin, folder: Path) -> PluginCode:
    """Return a plug-in as it was kept; nothing of it is run.

    Args:
        record: what is said of it.
        folder: that it was kept in.

    Raises:
        ConfigError: a file is gone, or is not what it was, or the record is damaged.
    """
    try:
        name, module, digest = (str(record[key]) for key in ("name", "module", "digest"))
        names = [str(each) for each in record["files"]]
    except (KeyError, TypeError):
        raise ConfigError("the record of a plug-in is damaged", where=str(folder)) from None
    parts = [digest, *names]
    if any(PurePosixPath(each).is_absolute() or ".." in PurePosixPath(each).parts for each in parts) or not names:
        raise ConfigError(f"the record of the plug-in '{name}' names files elsewhere", where=str(folder))
    root = folder / digest
    try:
        files = {each: (root / each).read_bytes() for each in names}
    except OSError:
        raise ConfigError(f"the copy of the plug-in '{name}' is not whole", where=str(root)) from None
    code = PluginCode(name, module, files, root.absolute())
    if code.digest != digest or not (module.startswith(PREFIX) or name == module):
        raise ConfigError(f"the copy of the plug-in '{name}' has been changed", where=str(root))
    return code


def mark_fetched(file: Path) -> None:
    """Note of a file that it came from a store at a URL, if it is one of a plug-in's copy."""
    for folder in file.parents:
        if folder.parent.name == "plugins":
            folder.mkdir(parents=True, exist_ok=True)
            (folder / FETCHED).touch()


def load_plugins_of(directory: Path) -> list[Plugin]:
    """Load the plug-ins that a trial ran, as they were kept with it, and return them.

    It is for whoever knows where the trial comes from: its code is run. The command line asks first where others could
    have written it.

    Args:
        directory: the trial's folder.

    Raises:
        ConfigError: a copy is gone or changed, or cannot be loaded here.
    """
    paths = TrialPaths(Path(directory))
    records = read_spec(paths).get("plugins") or []
    return [load_code(kept_code(record, paths.plugins)) for record in records]


def not_loaded(records: Iterable[KeptPlugin] | None) -> list[str]:
    """Return the names of the plug-ins of a record that are not loaded."""
    loaded = {plugin.name for plugin in loaded_plugins()}
    return [record["name"] for record in records or () if record["name"] not in loaded]


def foreign(path: Path) -> str | None:
    """Return why others may have put something into a file, None if only its owner here, or root, could.

    Args:
        path: the file; every folder above it counts, with and without following links.
    """
    try:
        owner = path.stat().st_uid
        if owner not in (0, os.geteuid()):
            return f"belongs to {_user(owner)}"
        for place in dict.fromkeys((path, *path.absolute().parents, path.resolve(), *path.resolve().parents)):
            mode = place.stat().st_mode
            if mode & stat.S_IWOTH and not (place.is_dir() and mode & stat.S_ISVTX):
                inside = "" if place in (path, path.resolve()) else f"lies in {shown_path(place)}, which "
                return f"{inside}everybody can write"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    return None


def foreign_among(paths: Sequence[Path]) -> str | None:
    """Return why others may have put something into one of these files; see ``foreign``."""
    return next((why for path in paths if (why := foreign(path))), None)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"

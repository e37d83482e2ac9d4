"""Which plug-ins a command loads: those of farlab.toml, of installed packages, of a study, or of a trial.

Code runs if whoever calls has asked for it: a plug-in of their own farlab.toml or study, or the administrator's; a
package that they installed; a trial of the store that they work in, by the copy that was kept with it. What others
could have written there needs ``--trust``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from far.config.document import Document, load_document
from far.errors import ConfigError
from far.plugins import Plugin, load_code, load_entry_points, load_plugin, loaded_plugins
from far.plugins.code import PluginCode, shown_path
from far.plugins.kept import FETCHED, KeptPlugin, foreign, foreign_among, kept_code
from far.plugins.load import locate
from far.store.paths import TrialPaths
from far.store.records import read_spec
from orchestrator.workspace.settings import Settings, load_settings
from orchestrator.workspace.trust import is_trusting

_refusal: ContextVar[str] = ContextVar("refusal", default="")


@contextmanager
def refused(why: str) -> Iterator[None]:
    """Within, load no plug-in of a study, unless others are trusted; with no reason, as ever."""
    token = _refusal.set(why)
    try:
        yield
    finally:
        _refusal.reset(token)


def load_workspace_plugins(settings: Settings | None = None) -> list[Plugin]:
    """Load the plug-ins of installed packages and those of the workspace's ``farlab.toml``.

    Raises:
        ConfigError: one cannot be loaded, or others could have written it and nobody said that they are trusted.
    """
    settings = settings or load_settings()
    found = load_entry_points()
    if "plugins" in settings.untrusted:
        whose = f"belongs to {settings.owner}" if settings.owner else "is another user's"
        print(f"note: {settings.file} {whose}: its plug-ins are not loaded; --trust loads them", file=sys.stderr)
        return found
    if settings.plugins and settings.file is not None and not is_trusting() and (why := foreign(settings.file)):
        raise ConfigError(f"names plug-ins, and {why}: --trust loads them", key="plugins", where=str(settings.file))
    loaded = {each.name for each in loaded_plugins()}  # a trial's or a submission's own text of it
    names = [each for each in settings.plugins if each.strip("/").rpartition("/")[2] not in loaded]
    return found + _load(names, settings.workspace, [f"{settings.file}: plugins"] * len(names))


def load_study_plugins(document: Document) -> list[Plugin]:
    """Load the plug-ins that a study names, relative to its file.

    Raises:
        ConfigError: they are no list of names, one cannot be loaded, or others could have written it and nobody said
            that they are trusted.
    """
    names = document.data.get("plugins")
    if names is None:
        return []
    where = document.where(("plugins",))
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise ConfigError("is a list of files and modules, e.g. [my_ideas.py]", key="plugins", where=where)
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ConfigError(f"'{name}' is listed twice", key=f"plugins.{index}", where=where)
    if names and not is_trusting() and (reason := _refusal.get()):
        raise ConfigError(f"not loaded: {reason}; --trust loads them", key="plugins", where=where)
    if names and not is_trusting() and (why := foreign(document.path)):
        raise ConfigError(f"the study {why}: --trust loads its plug-ins", key="plugins", where=where)
    found = []
    for index, name in enumerate(names):
        place = document.where(("plugins", str(index)))
        try:
            found += _load([name], document.path.parent, [place])
        except ConfigError as error:
            copy = None if _is_there(name, document.path.parent) else _submitted_copy(document, name)
            if copy is None:
                raise
            print(f"note: {error.where}: {error.message}; it runs as the store has it", file=sys.stderr)
            found.append(copy)
    return found


def _is_there(name: str, base: Path) -> bool:
    try:
        return os.path.lexists(base / Path(name).expanduser())
    except (OSError, RuntimeError, ValueError):
        return False


def _submitted_copy(document: Document, name: str) -> Plugin | None:
    """Load a plug-in of a study that is gone as it was when the study was last submitted; None if it never was."""
    submitted = load_settings().store / "studies" / str(document.data.get("study"))
    locks = sorted(submitted.glob("*/study.lock.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
    for lock in locks:
        for record in records_in(load_document(lock).data):
            if record.get("name") == Path(name).name:
                loaded = load_kept([record], lock.parent / "plugins", f"study '{document.data['study']}'")
                return next(iter(loaded), None) or next(e for e in loaded_plugins() if e.name == record["name"])
    return None


def load_trial_plugins(directory: Path) -> list[Plugin]:
    """Load the plug-ins that a trial ran, as they were kept with it.

    One of which another text is loaded already, because a study or ``farlab.toml`` names it, stays as it is there.

    Args:
        directory: the trial's folder; what lies outside the workspace's store needs to be trusted.

    Raises:
        ConfigError: a copy is gone or changed, or nobody said that it is trusted.
    """
    paths = TrialPaths(directory)
    return load_kept(read_spec(paths).get("plugins") or [], paths.plugins, f"trial {paths.key}")


def load_kept(records: Sequence[KeptPlugin], folder: Path, whose: str) -> list[Plugin]:
    """Load plug-ins from what was kept of them; see ``load_trial_plugins``.

    Args:
        records: what is said of them.
        folder: that they were kept in.
        whose: what they belong to, for the error.
    """
    found = []
    for record in records:
        loaded = loaded_plugins()
        if any(each.name == record.get("name") or each.code.digest == record.get("digest") for each in loaded):
            continue
        code = kept_code(record, folder)
        if not is_trusting() and (why := _why_not(code)):
            raise ConfigError(
                f"{whose} needs the plug-in '{code.name}', whose copy {why}: --trust runs it",
                where=shown_path(code.root / code.main),
            )
        found.append(load_code(code))
    return found


def load_where_they_were(records: Sequence[KeptPlugin]) -> list[str]:
    """Load plug-ins as they are now where a record says that they were; return in words which could not be.

    For commands that only look: what others could have written is left out, and nothing is an error.
    """
    problems = []
    for record in records:
        if any(each.name == record.get("name") for each in loaded_plugins()):
            continue
        try:
            code = _now(record)
            if why := None if code.is_installed or is_trusting() else foreign_among(files_of(code)):
                raise ConfigError(f"{why}: --trust loads it", where=shown_path(code.root / code.main))
            load_code(code)
        except ConfigError as error:
            problems.append(f"the plug-in '{record.get('name')}' is not loaded, so its changes are not known: {error}")
    return problems


def _now(record: KeptPlugin) -> PluginCode:
    name, module = str(record.get("name")), str(record.get("module"))
    return locate(module if name == module else Path(str(record.get("root"))) / name)


def files_of(code: PluginCode) -> list[Path]:
    """Return the paths of a plug-in's files."""
    return [code.root / name for name in code.files]


def _why_not(code: PluginCode) -> str | None:
    """Return why a kept copy is not run without being asked for."""
    if not code.root.resolve().is_relative_to(load_settings().store.resolve()):
        return "does not lie in this workspace's store"
    if (code.root / FETCHED).exists():
        return "comes from the store's URL, where others may write"
    return foreign_among(files_of(code))


def _load(names: Sequence[str], base: Path, places: Sequence[str]) -> list[Plugin]:
    found = []
    for name, place in zip(names, places, strict=True):
        try:
            code = locate(name, base)
            if not code.is_installed and not is_trusting() and (why := foreign_among(files_of(code))):
                raise ConfigError(f"{why}: --trust runs it", where=shown_path(code.root / code.main))
            found.append(load_plugin(name, base=base))
        except ConfigError as error:
            raise _named_at(error, place) from None
    return found


def _named_at(error: ConfigError, place: str) -> ConfigError:
    return ConfigError(
        f"{error.message} (named in {place})", key=error.key, where=error.where or place, choices=error.choices,
        got=error.got,
    )  # fmt: skip


def records_in(submission: Mapping[str, Any]) -> list[KeptPlugin]:
    """Return what a submission's record says of its plug-ins."""
    found: list[KeptPlugin] = []
    with suppress(TypeError):
        found = [each for each in submission.get("plugins") or () if isinstance(each, dict)]  # type: ignore[misc]
    return found

"""Loading plug-ins: once each, whole or not at all, and with errors that name their file and line."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from far.errors import ConfigError
from far.plugins.code import FINDER, PluginCode, find_installed, modules_of, read_code, shown_path
from far.registry import REGISTRIES, Accepts, Origin, Registry
from far.text import with_article

GROUP = "farlab.plugins"
"""Entry points of installed packages that are plug-ins."""
MOST_OUTPUT = 64 * 2**10
"""Characters that a plug-in may print while it is imported."""
OURS = ("far", "orchestrator", "reports", "farlab")
REGISTERS = 'a plug-in calls REGISTRY.register("name")(…), e.g. @PATTERNS.register("name") above a function'
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class Plugin:
    """A plug-in that has been loaded.

    Attributes:
        code: what it is made of.
        entries: axis, name and place of each variant that it has registered.
    """

    code: PluginCode
    entries: tuple[tuple[str, str, Origin], ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.code.name

    def __str__(self) -> str:
        return f"{self.name} ({shown_path(self.code.root / self.code.main)})"


_loaded: dict[str, Plugin] = {}
"""By module."""
_lock = threading.RLock()
on_change: list[Callable[[], None]] = []
"""Called when plug-ins come or go, by whoever has remembered what their code said."""


def loaded_plugins() -> list[Plugin]:
    """Return the plug-ins that are loaded, in the order in which they were."""
    return list(_loaded.values())


def plugin_of(axis: str, name: str) -> Plugin | None:
    """Return the plug-in that has registered a variant, None if it is the package's own."""
    wanted = axis, name
    return next((each for each in _loaded.values() if any(entry[:2] == wanted for entry in each.entries)), None)


def load_plugin(what: str | Path, *, base: Path | None = None, reload: bool = False) -> Plugin:
    """Import a plug-in and return it; one that is loaded already is left as it is.

    Args:
        what: path of a file, or of a folder with an ``__init__.py``; or the dotted name of an installed module.
        base: the folder that a relative path starts from; default: the current one.
        reload: import it again, as it is now, e.g. in a notebook after an edit.

    Raises:
        ConfigError: there is none such, it cannot be imported, a name that it registers is taken, or what it registers
            is not what its axis needs; nothing of it stays then.
    """
    with _lock:
        code = locate(what, base)
        known = _known(code)
        if known is not None and not reload:
            return known
        if known is not None:
            unload_plugin(known)
        return _load(code)


def locate(what: str | Path, base: Path | None = None) -> PluginCode:
    """Return what a plug-in is made of; nothing of it is run.

    Raises:
        ConfigError: there is none such.
    """
    text = str(what)
    if not text or "\0" in text:
        raise ConfigError(f"{text!r} is no path and no module")
    is_path = isinstance(what, Path) or text.endswith(".py") or "/" in text or text.startswith((".", "~"))
    path = (base or Path()) / Path(text).expanduser()
    if is_path or path.is_dir():
        return read_code(path)
    found = find_installed(text) if _MODULE.fullmatch(text) else None
    if found is None:
        beside = path.with_name(f"{path.name}.py")
        raise ConfigError(
            f"'{text}' is no installed module" + ("" if beside.is_file() else ", and no file or folder"),
            choices=[beside.name] if beside.is_file() else [],
            got=text,
        )
    return found


def load_code(code: PluginCode, root: Path | None = None) -> Plugin:
    """Load a plug-in from what was kept of it or sent here; what is loaded with the same content is taken as it is.

    Args:
        code: what it is made of.
        root: the folder to write its files to where they are not at ``code.root`` as they were.

    Raises:
        ConfigError: see ``load_plugin``.
    """
    with _lock:
        known = next((each for each in _loaded.values() if each.code.digest == code.digest), None)
        if known is not None:
            return known
        for other in [each for each in _loaded.values() if each.name == code.name]:
            unload_plugin(other)  # another text of the same plug-in, of a trial before
        if not _is_here(code) and root is not None:
            code.write(root)
            code = replace(code, root=root)
        return _load(code)


def load_entry_points() -> list[Plugin]:
    """Load the plug-ins that installed packages name as entry points ``farlab.plugins``.

    Raises:
        ConfigError: one cannot be loaded; with its package.
    """
    found = []
    for point in importlib.metadata.entry_points(group=GROUP):
        package = point.dist.name if point.dist is not None else "an installed package"
        try:
            found.append(load_plugin(point.module))
        except ConfigError as error:
            raise ConfigError(
                f"the entry point {GROUP} '{point.name}' of {package}: {error.message}; mend or uninstall it",
                where=error.where,
            ) from None
    return found


def unload_plugin(plugin: Plugin) -> None:
    """Forget a plug-in and all that it has registered."""
    with _lock:
        modules = {origin.module for _, _, origin in plugin.entries} | {plugin.code.module}
        _forget(modules)
        _drop_modules(plugin.code, modules)
        _loaded.pop(plugin.code.module, None)
        _changed()


@contextlib.contextmanager
def only_within() -> Iterator[None]:
    """Unload, in the end, whatever has been loaded within."""
    before = set(_loaded)
    try:
        yield
    finally:
        for plugin in [each for each in loaded_plugins() if each.code.module not in before]:
            unload_plugin(plugin)


def blamed(error: BaseException) -> str | None:
    """Return the file and line of a plug-in that an error comes from: the innermost that it has passed through."""
    return _place_in(error, [plugin.code for plugin in _loaded.values()])


def _expectations() -> Mapping[str, Accepts]:
    from far.plugins.axes import expectations  # noqa: PLC0415  (numpy and the configuration: `--help` goes without)

    return expectations()


def is_ours(module: str) -> bool:
    """Return whether a module is the package's own."""
    return module.partition(".")[0] in OURS


# -- pieces --


def _known(code: PluginCode) -> Plugin | None:
    """Return the loaded plug-in of the same place or the same content."""
    same_place = (each for each in _loaded.values() if _place(each.code) == _place(code))
    same_content = (each for each in _loaded.values() if each.code.digest == code.digest)
    return next(same_place, None) or next(same_content, None)


def _place(code: PluginCode) -> tuple[Path, str]:
    return (code.root / code.main).resolve(), code.module if code.is_installed else ""


def _is_here(code: PluginCode) -> bool:
    try:
        return all((code.root / name).read_bytes() == content for name, content in code.files.items())
    except OSError:
        return False


def _load(code: PluginCode) -> Plugin:
    taken = any(plugin.code.top == code.top for plugin in _loaded.values())
    if taken and not code.is_installed:  # two files of one name in two folders
        code = replace(code, module=f"{code.module}_{code.digest[:8]}")
    before = {id(registry): set(registry) for registry in REGISTRIES}
    modules = set(sys.modules)
    try:
        _import(code)
        entries = _entries(code)
        plugin = Plugin(code, tuple((registry.axis, name, registry.origin(name)) for registry, name in entries))
        if not any(_belongs(registry.origin(name).module, code) for registry in REGISTRIES for name in registry):
            raise ConfigError(
                f"registers nothing: {REGISTERS}",
                where=shown_path(code.root / code.main),
            )
        for registry, name in entries:
            _check(registry, name, code)
    except BaseException:
        new = [(registry, name) for registry in REGISTRIES for name in set(registry) - before.get(id(registry), set())]
        for registry, name in new:
            if not is_ours(registry.origin(name).module):
                registry.unregister(name)
        _drop_modules(code, {each for each in set(sys.modules) - modules if each.partition(".")[0] == code.top})
        raise
    _loaded[code.module] = plugin
    _changed()
    return plugin


def _import(code: PluginCode) -> None:
    installed = find_installed(code.module) if code.is_installed else None
    if installed is None or installed.digest != code.digest:
        FINDER.add(code)
    said = _Said()
    try:
        with said.instead():
            importlib.import_module(code.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _as_ours(error, code) from None
    said.pass_on(code)


def _as_ours(error: BaseException, code: PluginCode) -> ConfigError:
    """Return what went wrong in an import as an error with the plug-in's file and line."""
    where = _place_in(error, [code]) or shown_path(code.root / code.main)
    if isinstance(error, ConfigError):
        return error if error.where else error.at(where=where)
    if isinstance(error, SyntaxError):
        if error.filename and code.holds(error.filename):
            where = f"{shown_path(Path(error.filename))}:{error.lineno or 1}"
        return ConfigError(f"is not valid Python: {error.msg}", where=where)
    if isinstance(error, ModuleNotFoundError):
        missing = str(error.name)
        beside = code.root / f"{missing.partition('.')[0]}.py"
        more = (
            f"; {beside.name} next to it is no part of it: make both a folder with an __init__.py, and write "
            f"`from . import {beside.stem}`"
            if beside.is_file() and not code.is_installed
            else ""
        )
        return ConfigError(f"needs the module '{missing}', which is not installed{more}", where=where)
    if isinstance(error, SystemExit):
        return ConfigError("ends the program while it is imported (sys.exit): a plug-in only registers", where=where)
    if isinstance(error, _TooMuchOutputError):
        return ConfigError("prints without end while it is imported: a plug-in only registers", where=where)
    said = " ".join(str(error).split())[:300]
    more = ""
    if isinstance(error, (AttributeError, TypeError)) and Registry.__name__ in said:
        more = f"; {REGISTERS}"
    elif isinstance(error, ImportError) and "relative import" in said:
        more = "; a single file has none beside it: make it and what it needs a folder with an __init__.py"
    return ConfigError(f"cannot be imported: {type(error).__name__}{f': {said}' if said else ''}{more}", where=where)


def _place_in(error: BaseException, codes: Sequence[PluginCode]) -> str | None:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if any(code.holds(frame.filename) for code in codes):
            return f"{shown_path(Path(frame.filename))}:{frame.lineno}"
    return None


def _entries(code: PluginCode) -> list[tuple[Registry[Any], str]]:
    """Return what a plug-in has registered, and no other one before it."""
    claimed = {entry[:2] for plugin in _loaded.values() for entry in plugin.entries}
    return [
        (registry, name)
        for registry in REGISTRIES
        for name in registry
        if _belongs(registry.origin(name).module, code) and (registry.axis, name) not in claimed
    ]


def _belongs(module: str, code: PluginCode) -> bool:
    return module.partition(".")[0] == code.top


def _check(registry: Registry[Any], name: str, code: PluginCode) -> None:
    """Check an entry by what its axis expects.

    Raises:
        ConfigError: it is something else; with file and line.
    """
    if not is_ours(registry.module):
        return  # an axis of the plug-in's own
    axis, origin = registry.axis, registry.origin(name)
    where = f"{shown_path(Path(origin.file))}:{origin.line}"
    expected = registry.accepts or _expectations().get(axis)
    if expected is None:
        raise ConfigError(
            f"'{name}': a plug-in cannot add {with_article(axis)}", where=where, choices=sorted(open_axes())
        )
    if not isinstance(name, str) or not name.strip() or name != name.strip():
        raise ConfigError(f"{name!r} cannot be the name of {with_article(axis)}", where=where)
    try:
        problem = expected(registry[name])
    except ConfigError as error:
        problem = error.message
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        place = _place_in(error, [code])
        where, problem = place or where, f"cannot be used: {type(error).__name__}: {said}"
    if problem:
        raise ConfigError(f"{axis} '{name}' {problem}", where=where)


def open_axes() -> list[str]:
    """Return the axes that a plug-in may add to."""
    return [*_expectations(), *(each.axis for each in REGISTRIES if each.accepts is not None)]


def _forget(modules: set[str]) -> None:
    for registry in REGISTRIES:
        for name in [name for name in registry if registry.origin(name).module in modules]:
            registry.unregister(name)


def _drop_modules(code: PluginCode, modules: set[str]) -> None:
    FINDER.remove(code)
    for name in modules if code.is_installed else set(modules_of(code)):
        module = sys.modules.pop(name, None)
        parent, _, last = name.rpartition(".")
        if isinstance(module, ModuleType) and parent in sys.modules:
            vars(sys.modules[parent]).pop(last, None)
    importlib.invalidate_caches()


def _changed() -> None:
    for forget in on_change:
        forget()


class _TooMuchOutputError(BaseException):
    """What a plug-in printed is more than anybody would read; no handler of ``Exception`` in it holds this up."""


class _Said(io.TextIOBase):
    """What a plug-in prints while it is imported: kept off standard output, which may be somebody's JSON."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._later: TextIO | None = None

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._later is not None:  # a log handler that was made meanwhile has kept this
            return self._later.write(text)
        self._size += len(text)
        if self._size > MOST_OUTPUT:
            raise _TooMuchOutputError
        self._parts.append(text)
        return len(text)

    @contextlib.contextmanager
    def instead(self) -> Iterator[None]:
        """Take the place of standard output and error; whoever reads from standard input finds nothing."""
        mine: Any = self
        before: Any = sys.stdin
        errors = sys.stderr
        sys.stdin = io.StringIO()
        try:
            with contextlib.redirect_stdout(mine), contextlib.redirect_stderr(mine):
                yield
        finally:
            sys.stdin, self._later = before, errors

    def pass_on(self, code: PluginCode, stream: TextIO | None = None) -> None:
        """Pass it on to standard error."""
        if text := "".join(self._parts).strip():
            print(f"{code.name}: {text}", file=stream or sys.stderr)

"""What a plug-in is made of: the text of its files, which is what is imported, hashed, kept and sent to workers.

Files are read once and imported from memory: what runs is what its fingerprint says, whatever happens to the file
meanwhile, and no compiled file of an earlier text can take its place.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from far.errors import ConfigError

PREFIX = "farlab_plugin_"
"""Of the module of a file or folder, so that no installed module is hidden by it."""
LARGEST = 16 * 2**20
"""Bytes of all files of a plug-in."""
MOST_FILES = 1000
INIT = "__init__.py"


@dataclass(frozen=True)
class PluginCode:
    """The files of a plug-in, and as which module they are imported.

    Attributes:
        name: what people call it: ``my_ideas.py``, ``my_ideas`` (a folder) or ``mylab.patterns`` (installed).
        module: the module that registers its variants.
        files: content by path relative to ``root``: of a file itself, of all files of a folder, or of all Python files
            of the installed package that the module belongs to.
        root: the folder that the paths are relative to, where they were read.
    """

    name: str
    module: str
    files: Mapping[str, bytes] = field(repr=False)
    root: Path = field(compare=False)

    @property
    def digest(self) -> str:
        """The whole content in 16 hexadecimal digits."""
        whole = hashlib.sha256(self.module.encode() if self.is_installed else b"")
        for path, content in sorted(self.files.items()):
            whole.update(f"{path}\0{len(content)}\0".encode())
            whole.update(content)
        return whole.hexdigest()[:16]

    @property
    def is_installed(self) -> bool:
        """Whether it is a module of an installed package rather than a file or folder named by its path."""
        return not self.module.startswith(PREFIX)

    @property
    def top(self) -> str:
        """The top-level module."""
        return self.module.partition(".")[0]

    @property
    def main(self) -> str:
        """The path, in ``files``, of the module that registers its variants."""
        return self.path_of(self.module) or next(iter(self.files))

    def path_of(self, module: str) -> str | None:
        """Return the path, in ``files``, of one of its modules; None if it has none of this name."""
        first = PurePosixPath(next(iter(sorted(self.files)))).parts[0]
        base = first.removesuffix(".py")
        parts = module.split(".")
        if parts[0] != self.top:
            return None
        place = "/".join([base, *parts[1:]])
        return next((path for path in (f"{place}.py", f"{place}/{INIT}") if path in self.files), None)

    def holds(self, file: str | Path) -> bool:
        """Return whether a file, by the path that a traceback has, is one of its own."""
        try:
            return Path(file).relative_to(self.root).as_posix() in self.files
        except ValueError:
            return False

    def write(self, root: Path) -> None:
        """Write its files into a folder, unless they are there as they are."""
        for name, content in self.files.items():
            path = root / name
            if not (path.is_file() and path.read_bytes() == content):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def read_code(path: Path) -> PluginCode:
    """Read the plug-in in a file, or in a folder with an ``__init__.py``.

    Raises:
        ConfigError: there is none, or it is too large.
    """
    place = Path(path).expanduser()
    place = place.parent.resolve() / place.name  # a link keeps its own name
    where = shown_path(place)
    if place.is_dir():
        if not (place / INIT).is_file():
            raise ConfigError(f"is a folder without {INIT}: name the file, or give the folder one", where=where)
        inside = [each for each in sorted(place.rglob("*")) if each.is_file() and not _is_left_out(each, place)]
        return PluginCode(place.name, _module_name(place.name), _contents(inside, place.parent, where), place.parent)
    if not place.exists():
        beside = sorted(each.name for each in place.parent.glob("*.py")) if place.parent.is_dir() else []
        raise ConfigError("no such file", where=where, choices=beside, got=place.name)
    if not place.is_file():
        raise ConfigError("is no regular file", where=where)
    if place.suffix != ".py":
        raise ConfigError("a plug-in is a Python file, and its name ends in .py", where=where)
    return PluginCode(place.name, _module_name(place.stem), _contents([place], place.parent, where), place.parent)


def find_installed(module: str) -> PluginCode | None:
    """Return what the package of an installed module is made of; None if no such module is installed.

    Raises:
        ConfigError: it is too large to be kept with each trial.
    """
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
        if spec is None or importlib.util.find_spec(module) is None:
            return None
    except (ImportError, ValueError):
        return None
    if spec.submodule_search_locations:
        folders = [Path(each) for each in spec.submodule_search_locations]
        root = folders[0].parent
        files = [each for folder in folders for each in sorted(folder.rglob("*.py")) if not _is_left_out(each, folder)]
        files = [each for each in files if each.is_relative_to(root)]
    elif spec.origin is not None and spec.origin.endswith(".py"):
        files, root = [Path(spec.origin)], Path(spec.origin).parent
    else:
        raise ConfigError(f"'{module}' has no Python source that could be kept with a trial")
    if not files:
        return None
    return PluginCode(module, module, _contents(files, root, f"the installed package '{top}'"), root)


def shown_path(path: Path) -> str:
    """Return a path as a person would type it: relative where it lies below the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _is_left_out(path: Path, root: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(root).parts)


def _contents(files: Sequence[Path], root: Path, where: str) -> dict[str, bytes]:
    try:
        size = sum(each.stat().st_size for each in files)
        if size > LARGEST or len(files) > MOST_FILES:
            raise ConfigError(
                f"holds {len(files)} files of {size / 2**20:.0f} MiB, and all are kept with each trial: at most "
                f"{MOST_FILES} of {LARGEST // 2**20} MiB; move data and weights elsewhere",
                where=where,
            )
        return {each.relative_to(root).as_posix(): each.read_bytes() for each in files}
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=where) from None


def _module_name(stem: str) -> str:
    return PREFIX + (re.sub(r"\W", "_", stem) or "_")


# -- importing from memory --


class _Loader(importlib.abc.InspectLoader):
    """Runs a module's text as it was read."""

    def __init__(self, code: PluginCode, path: str) -> None:
        self._code, self._path = code, path

    def is_package(self, fullname: str) -> bool:
        return self._path.endswith(f"/{INIT}")

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._code.files[self._path])

    def get_code(self, fullname: str) -> Any:
        return compile(self._code.files[self._path], str(self._code.root / self._path), "exec", dont_inherit=True)

    def get_filename(self, fullname: str) -> str:
        return str(self._code.root / self._path)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of the plug-ins that are imported from memory."""

    def __init__(self) -> None:
        self._codes: dict[str, PluginCode] = {}

    def add(self, code: PluginCode) -> None:
        """Let the modules of a plug-in be found."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        self._codes[code.top] = code

    def remove(self, code: PluginCode) -> None:
        """Let them be found no more."""
        self._codes.pop(code.top, None)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Return how a module of a plug-in is loaded, None for any other."""
        code = self._codes.get(fullname.partition(".")[0])
        place = code.path_of(fullname) if code is not None else None
        if code is None or place is None:
            return None
        loader: Any = _Loader(code, place)
        origin = str(code.root / place)
        spec = importlib.machinery.ModuleSpec(fullname, loader, origin=origin, is_package=place.endswith(f"/{INIT}"))
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(str(Path(origin).parent))
        return spec

    def source(self, module: str) -> bytes | None:
        """Return the text of a module of a plug-in that was imported from memory."""
        code = self._codes.get(module.partition(".")[0])
        place = code.path_of(module) if code is not None else None
        return code.files[place] if code is not None and place is not None else None


FINDER = Finder()


def modules_of(code: PluginCode) -> Iterator[str]:
    """Yield the imported modules of a plug-in that is a file or folder."""
    yield from [name for name in sys.modules if name.partition(".")[0] == code.top]

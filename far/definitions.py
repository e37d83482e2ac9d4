"""A module's source, taken apart: the definitions behind a variant in canonical form, and what they import."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from far.plugins import load as plugins
from far.plugins.code import FINDER

REACHED = (
    "far.model.attention", "far.model.batch_norm", "far.model.convolution", "far.model.drop_path", "far.model.init",
    "far.model.interaction", "far.model.interface", "far.model.permutation", "far.model.pooling", "far.model.precise",
    "far.model.transformers_network", "far.model.vit",
)  # fmt: skip
"""Modules that decide the numbers of trials whose variants import them."""

_POINTER = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")
"""How a variant names what builds it, where it must not import that."""
_OWN_POINTER = re.compile(r":([A-Za-z_]\w*)")
"""The same of what stands in its own module: the end of ``f"{__name__}:build"``."""


class Module:
    """A module's source, taken apart."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.package = name if _is_package(name) else name.rpartition(".")[0]
        self.tree = ast.parse(read(name) or b"")
        self.digest = short(_canonical(self.tree).encode())

    @staticmethod
    def of(name: str) -> Module:
        """Return a module, taken apart once."""
        known = _ours if _is_ours(name) else _others
        if name not in known:
            known[name] = Module(name)
        return known[name]

    def imported(self) -> list[str]:
        """Return the modules that it imports and that count whole."""
        return [module for module in _imports(self.tree, self.package) if self._counts(module)]

    def definition(self, variant: str) -> tuple[str, list[str]]:
        """Return the code that says what a variant is, in canonical form, and the modules that this imports.

        That is the statement that registers the name, and what that uses of its module; where no statement names it, as
        in a loop, it is the whole module.
        """
        roots = [node for node in self.tree.body if variant in _registered(node)]
        nodes = self._used_by(roots) if roots else list(self.tree.body)
        imported = [module for node in nodes for module in _imports(node, self.package) if self._counts(module)]
        return "\n".join(_canonical(node) for node in nodes), imported

    def _used_by(self, roots: list[ast.stmt]) -> list[ast.stmt]:
        """Return the statements at the module's top that these use, and these, in the order of the module.

        In a plug-in, whose author may write as they like, that includes statements that do something to what is used:
        ``TABLE["stripes"] = 3``; but not those that register other variants.
        """
        by_name: dict[str, list[ast.stmt]] = {}
        for node in self.tree.body:
            for name in _defined(node) if _is_ours(self.name) else _defined_within(node):
                by_name.setdefault(name, []).append(node)
        stars = [node for node in self.tree.body if isinstance(node, ast.ImportFrom) and _has_star(node)]
        own = {name for name, nodes in by_name.items() if any(self._is_own(node) for node in nodes)}
        effects = [] if _is_ours(self.name) else [node for node in self.tree.body if self._does_something(node, own)]
        used, left, known = set[int](), [*roots, *stars], set[str]()
        while left:
            node = left.pop()
            if id(node) not in used:
                used.add(id(node))
                names = _named(node)
                known |= names & own
                left += [each for name in names for each in by_name.get(name, ())]
                left += [each for each in effects if _named(each) & known]
        return [node for node in self.tree.body if id(node) in used]

    def _is_own(self, node: ast.stmt) -> bool:
        """Return whether a statement gives its names a meaning here, rather than imports them from elsewhere."""
        imports = [each for each in ast.walk(node) if isinstance(each, ast.Import | ast.ImportFrom)]
        return not imports or any(self._counts(module) for each in imports for module in _imports(each, self.package))

    def _does_something(self, node: ast.stmt, own: set[str]) -> bool:
        """Return whether a statement may change what others have defined, and registers no variant elsewhere."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
            return False
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and all(isinstance(each, ast.Name) for each in targets):
            return False
        return not _is_text(node) and not (_registered(node) and not _registries(node) & own)

    def _counts(self, module: str) -> bool:
        """Return whether an imported module counts: ours by the lists, others' if they share a folder."""
        if _is_ours(module):
            return module in REACHED
        return module.split(".")[0] == self.name.split(".")[0] and read(module) is not None


_ours: dict[str, Module] = {}
_others: dict[str, Module] = {}


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == "far"


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement at a module's top gives a meaning."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]


def _defined_within(node: ast.stmt) -> list[str]:
    """Return the same, with what stands inside ``if``, ``try`` and ``with``."""
    found = _defined(node)
    if isinstance(node, ast.If | ast.Try | ast.With):
        inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
        found += [name for each in ast.walk(node) if isinstance(each, inner) for name in _defined(each)]
    return found


def _named(node: ast.stmt) -> set[str]:
    """Return the names that a statement uses, and those that its strings point to."""
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    texts = (str(each.value) for each in ast.walk(node) if isinstance(each, ast.Constant))
    return names | {found[1] for text in texts if (found := _OWN_POINTER.fullmatch(text))}


def _has_star(node: ast.ImportFrom) -> bool:
    return any(alias.name == "*" for alias in node.names)


def _registries(node: ast.stmt) -> set[str]:
    """Return the names of the registries with which a statement registers something."""
    calls = [each.func for each in ast.walk(node) if isinstance(each, ast.Call)]
    return {each.value.id for each in calls if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)}


def _registered(node: ast.stmt) -> set[str]:
    """Return the names under which a statement registers something: ``REGISTRY.register("name")``."""
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    return {
        str(argument.value)
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "register"
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant)
    }


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield what may be the names of the modules that some code imports, or points to as ``"module:name"``."""
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        parts = package.split(".") if package else []
        above = parts[: len(parts) - tree.level + 1] if tree.level else []
        base = ".".join([*above, *([tree.module] if tree.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in tree.names)
    elif isinstance(tree, ast.Constant):
        if isinstance(tree.value, str) and (pointer := _POINTER.fullmatch(tree.value)):
            yield pointer[1]
    else:
        for child in ast.iter_child_nodes(tree):
            yield from _imports(child, package)


def _canonical(tree: ast.AST) -> str:
    """Write code in a form that says what it does: the same for every Python version, formatting and comment."""
    said: list[str] = []
    _write(tree, said)
    return " ".join(said)


def _write(node: ast.AST, said: list[str]) -> None:
    said.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            if name != "ctx":
                said.append(name)
                _write(value, said)
        elif isinstance(value, list):
            if not value:  # so that lists that a later Python brought make no difference
                continue
            said.append(f"{name}[")
            for each in value:
                if not isinstance(each, ast.AST):
                    said.append(repr(each))
                elif not _is_text(each):
                    _write(each, said)
            said.append("]")
        elif value is not None and name not in ("kind", "type_comment"):
            said.append(f"{name}={value!r}")


def _is_text(node: ast.AST) -> bool:
    """Return whether a statement only says something: a docstring, of whatever."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def read(module: str) -> bytes | None:
    """Return a module's source, None if there is none."""
    return _read_ours(module) if _is_ours(module) else _read_other(module)


@cache
def _read_ours(module: str) -> bytes | None:
    file = _file(module)
    return file.read_bytes() if file is not None else None


@cache
def _read_other(module: str) -> bytes | None:
    text = FINDER.source(module)
    return _read_ours.__wrapped__(module) if text is None else text


def _file(module: str) -> Path | None:
    """Return where a module's source lies."""
    own = Path(__file__).parent
    if _is_ours(module):
        place = own.joinpath(*module.split(".")[1:])
        files = [place.with_suffix(".py"), place / "__init__.py"]
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        files = [Path(spec.origin)] if spec is not None and spec.origin else []
    return next((file for file in files if file.suffix == ".py" and file.is_file()), None)


def _is_package(module: str) -> bool:
    if (spec := FINDER.find_spec(module)) is not None:
        return spec.submodule_search_locations is not None
    file = _file(module)
    return file is not None and file.name == "__init__.py"


def bytes_digest(module: str) -> str | None:
    """Return a digest of a module's very bytes, None if there is no source of it."""
    return _digest_ours(module) if _is_ours(module) else _digest_of(module)


def _digest_of(module: str) -> str | None:
    text = read(module)
    return None if text is None else short(text)


_digest_ours = cache(_digest_of)


def short(data: bytes) -> str:
    """Return a digest in 16 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()[:16]


def forget(everything: bool = False) -> None:
    """Forget what has been read of others' modules: plug-ins have come or gone; or everything, as a new process."""
    _others.clear()
    _read_other.cache_clear()
    if everything:
        _ours.clear()
        _read_ours.cache_clear()
        _digest_ours.cache_clear()


plugins.on_change.append(forget)

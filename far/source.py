"""The source that decides a trial's numbers: which modules and variants, and a digest of each.

Modules count whole, variants (an attention pattern, an interaction, …) by their own definitions, so that a new pattern
beside the others changes nothing for trials that do not name it. Comments, docstrings and formatting do not count. It
stands beside a trial's numbers and is no part of its key.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.architecture.classifiers import CLASSIFIERS
from far.architecture.interactions import INTERACTIONS, POSITIONS
from far.architecture.networks import NETWORKS
from far.architecture.patterns import PATTERNS
from far.architecture.position_embeddings import EMBEDDINGS
from far.architecture.sampling import SAMPLERS
from far.config.augmentation import AUGMENTATIONS
from far.config.optimization import OPTIMIZERS, SCHEDULES
from far.registry import Registry

if TYPE_CHECKING:
    from far.config.trial import TrialConfig

ALWAYS = (
    "far.architecture.head_split", "far.architecture.networks", "far.architecture.token_order",
    "far.data.batch", "far.data.loader",
    "far.data.decoding.bitstream", "far.data.decoding.containers", "far.data.decoding.decoder",
    "far.data.decoding.frame_index", "far.data.decoding.scan",
    "far.data.transforms.augment", "far.data.transforms.geometry",
    "far.evaluate.metrics", "far.evaluate.predict",
    "far.randomness",
    "far.store.correctness",
    "far.train.engine", "far.train.parameter_groups", "far.train.schedule", "far.train.tally", "far.train.trial",
    "far.train.validation",
)  # fmt: skip
"""Modules that decide the numbers of every trial."""

REACHED = (
    "far.model.attention", "far.model.batch_norm", "far.model.convolution", "far.model.drop_path", "far.model.init",
    "far.model.interaction", "far.model.interface", "far.model.permutation", "far.model.pooling", "far.model.precise",
    "far.model.transformers_network", "far.model.vit",
)  # fmt: skip
"""Modules that decide the numbers of trials whose variants import them."""

WITH_WEIGHTS = (
    "far.weights.build", "far.weights.facts", "far.weights.families", "far.weights.positions", "far.weights.source",
)  # fmt: skip
"""Modules that decide the numbers of trials that start from initial weights."""

WITH_RANDAUGMENT = ("far.data.transforms.randaugment",)
WITH_MIXING = ("far.data.transforms.mixup",)

BY_VARIANT = (
    "far.architecture.classifiers", "far.architecture.far", "far.architecture.interactions",
    "far.architecture.patterns", "far.architecture.position_embeddings", "far.architecture.sampling",
    "far.architecture.transformers_networks", "far.config.augmentation", "far.config.optimization",
)  # fmt: skip
"""Modules of which the definitions count that a trial's variants use."""

LEFT_OUT: Mapping[str, str] = {
    "far.architecture.backbones": "names for sizes, which stand in the configuration",
    "far.architecture.costs": "counts; nothing is trained by it",
    "far.architecture.counting": "counts; nothing is trained by it",
    "far.architecture.config": "names the variants' modules",
    "far.collectives": "sends between processes",
    "far.config": "what it resolves stands in the configuration, and so in the key",
    "far.cpus": "threads of a process",
    "far.data.decoding.cache": "keeps what was read",
    "far.data.decoding.earlier": "what earlier versions read",
    "far.data.decoding.indexes": "keeps frame indexes, which have a version of their own",
    "far.data.decoding.pool": "processes that decode",
    "far.data.decoding.worker": "processes that decode",
    "far.data.feed": "hands batches to the device, in the same order",
    "far.data.prefetch": "reads ahead, in the same order",
    "far.data.sources": "the data's content counts in the key",
    "far.distributed": "starts processes",
    "far.errors": "words",
    "far.evaluate.frame_order": "another measurement, of a trained network",
    "far.gpu": "settings of a device, which the result names",
    "far.interpreter": "starts processes",
    "far.pictures": "figures",
    "far.redaction": "words",
    "far.registry": "finds variants, which count themselves",
    "far.source": "this one",
    "far.store": "files and records",
    "far.strict": "checks the configuration",
    "far.text": "words",
    "far.testing": "checks",
    "far.train.checkpoint": "keeps and restores what was trained, bit for bit",
    "far.train.heartbeat": "records",
    "far.train.interruption": "ends processes",
    "far.library_errors": "words",
    "far.train.memory": "measures",
    "far.train.plan_checks": "checks",
    "far.train.probe": "measures",
    "far.train.record": "records",
    "far.train.timetable": "says when something is written",
    "far.train.unpickle": "reads checkpoints safely",
    "far.trained": "another measurement, of a trained network",
    "far.weights.convert": "writes files, whose content counts in the key",
    "far.weights.coverage": "an account of what was loaded",
    "far.weights.files": "reads files, whose content counts in the key",
    "far.weights.paths": "reads files, whose content counts in the key",
}
"""Modules, and packages with all in them, that decide no number, and why."""

WINGS = {
    "far.architecture": "the architecture's code",
    "far.data": "the data's code",
    "far.evaluate": "the evaluation's code",
    "far.model": "the network's code",
    "far.train": "the training code",
    "far.weights": "the code of initial weights",
}
"""What a person calls the code of a package."""

MOST_NAMED = 3
"""Changed parts that are named; the rest is counted."""

_POINTER = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")
"""How a variant names what builds it, where it must not import that."""


@dataclass(frozen=True)
class Source:
    """The source that decides a trial's numbers.

    Attributes:
        parts: a digest by part: a module's dotted name, or a variant as in ``attention pattern 'global'``.
        files: a digest of the very bytes by module; where these are the same, so are the parts.
    """

    parts: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The whole in 16 hexadecimal digits."""
        return _short(json.dumps(sorted(self.parts.items())).encode())

    def as_json(self) -> dict[str, dict[str, str]]:
        """Return plain values, for a trial's record."""
        return {"parts": dict(self.parts), "files": dict(self.files)}


def source_of(config: TrialConfig) -> Source:
    """Return the source that decides the numbers of a trial with this configuration, as it is here now.

    A module is read once per process: what a process has imported is what it goes on running.
    """
    return _source(tuple(variants(config)), tuple(_modules(config)))


AXES: Mapping[str, Registry[Any]] = {
    each.axis: each
    for each in (
        NETWORKS, SAMPLERS, INTERACTIONS, POSITIONS, CLASSIFIERS, EMBEDDINGS, PATTERNS,
        OPTIMIZERS, SCHEDULES, AUGMENTATIONS,
    )
}  # fmt: skip
"""Registries whose variants decide a trial's numbers."""


def variants(config: TrialConfig) -> list[tuple[str, str]]:
    """Return the variants that a configuration names, as axis and name."""
    model: Any = config.model
    patterns = {name for layout in getattr(model, "layouts", ()) for name in layout}
    if (classifier := getattr(model, "classifier", None)) is not None:
        patterns |= set(CLASSIFIERS[classifier].patterns)
    found = [(registry, name) for registry in AXES.values() if registry.key for name in _names(config, registry.key)]
    found += [(EMBEDDINGS, model.embedding), *((PATTERNS, name) for name in sorted(patterns))]
    return list(dict.fromkeys((registry.axis, name) for registry, name in found if name in registry))


def _names(config: TrialConfig, key: str) -> list[str]:
    """Return the names that a setting holds, by its dotted key; none where the configuration has none such."""
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, list) else [found]


def files_are_here(files: Mapping[str, str]) -> bool:
    """Return whether the modules are here as they were, byte for byte."""
    return bool(files) and all(_bytes_digest(module) == digest for module, digest in files.items())


def changed_parts(recorded: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Return the parts in which two sources differ."""
    return [part for part in dict.fromkeys((*here, *recorded)) if recorded.get(part) != here.get(part)]


def in_words(parts: Iterable[str]) -> str:
    """Return what a person calls changed parts: ``the code of 'three-stripe'``; variants come first."""
    parts = list(parts)
    names = [f"the code of {part[part.index(chr(39)) :]}" for part in parts if "'" in part]
    names += [_module_in_words(part) for part in parts if "'" not in part]
    more = len(names) - MOST_NAMED
    return " and ".join([*names[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])])


def _module_in_words(module: str) -> str:
    wing = next((words for name, words in WINGS.items() if module.startswith(f"{name}.")), "the code")
    return f"{wing} ({module.replace('.', '/')}.py)"


def _modules(config: TrialConfig) -> Iterator[str]:
    """Yield the modules that count whole, whatever the variants import."""
    augment = config.recipe.augment
    yield from ALWAYS
    if config.init.weights:
        yield from WITH_WEIGHTS
    if augment.randaug_ops:
        yield from WITH_RANDAUGMENT
    if augment.mixes:
        yield from WITH_MIXING


@cache
def _source(named: tuple[tuple[str, str], ...], modules: tuple[str, ...]) -> Source:
    parts: dict[str, str] = {}
    files: dict[str, str] = {}
    whole = list(modules)
    for axis, name in named:
        module = AXES[axis].origin(name).module
        code, imported = _Module.of(module).definition(name)
        parts[f"{axis} '{name}'"] = _short(code.encode())
        files[module] = _bytes_digest(module) or ""
        whole += imported
    counted: set[str] = set()
    while whole:
        module = whole.pop()
        if module not in counted and _read(module) is not None:
            counted.add(module)
            whole += _Module.of(module).imported()
    for module in sorted(counted):
        parts[module] = _Module.of(module).digest
        files[module] = _bytes_digest(module) or ""
    return Source(dict(sorted(parts.items())), dict(sorted(files.items())))


class _Module:
    """A module's source, taken apart."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tree = ast.parse(_read(name) or b"")
        self.digest = _short(_canonical(self.tree).encode())

    @staticmethod
    @cache
    def of(name: str) -> _Module:
        """Return a module, taken apart once."""
        return _Module(name)

    def imported(self) -> list[str]:
        """Return the modules that it imports and that count whole."""
        return [module for module in _imports(self.tree, self.name) if self._counts(module)]

    def definition(self, variant: str) -> tuple[str, list[str]]:
        """Return the code that says what a variant is, in canonical form, and the modules that this imports.

        That is the statement that registers the name, and what that uses of its module; where no statement names it, as
        in a loop, it is the whole module.
        """
        roots = [node for node in self.tree.body if variant in _registered(node)]
        nodes = self._used_by(roots) if roots else list(self.tree.body)
        imported = [module for node in nodes for module in _imports(node, self.name) if self._counts(module)]
        return "\n".join(_canonical(node) for node in nodes), imported

    def _used_by(self, roots: list[ast.stmt]) -> list[ast.stmt]:
        """Return the statements at the module's top that these use, and these, in the order of the module."""
        by_name: dict[str, list[ast.stmt]] = {}
        for node in self.tree.body:
            for name in _defined(node):
                by_name.setdefault(name, []).append(node)
        used, left = set[int](), list(roots)
        while left:
            node = left.pop()
            if id(node) not in used:
                used.add(id(node))
                names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                left += [each for name in names for each in by_name.get(name, ())]
        return [node for node in self.tree.body if id(node) in used]

    def _counts(self, module: str) -> bool:
        """Return whether an imported module counts: ours by the lists, those of others if they are beside this one."""
        if module.split(".")[0] == "far":
            return module in REACHED
        return module.split(".")[0] == self.name.split(".")[0] and _read(module) is not None


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement at a module's top gives a meaning."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]


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


def _imports(tree: ast.AST, own: str) -> Iterator[str]:
    """Yield what may be the names of the modules that some code imports, or points to as ``"module:name"``."""
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        above = own.split(".")[: -tree.level] if tree.level else []
        base = ".".join([*above, *([tree.module] if tree.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in tree.names)
    elif isinstance(tree, ast.Constant):
        if isinstance(tree.value, str) and (pointer := _POINTER.fullmatch(tree.value)):
            yield pointer[1]
    else:
        for child in ast.iter_child_nodes(tree):
            yield from _imports(child, own)


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


@cache
def _read(module: str) -> bytes | None:
    """Return a module's source, None if there is none."""
    own = Path(__file__).parent
    if module.split(".")[0] == "far":
        place = own.joinpath(*module.split(".")[1:])
        files = [place.with_suffix(".py"), place / "__init__.py"]
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        files = [Path(spec.origin)] if spec is not None and spec.origin else []
    for file in files:
        if file.suffix == ".py" and file.is_file():
            return file.read_bytes()
    return None


@cache
def _bytes_digest(module: str) -> str | None:
    text = _read(module)
    return None if text is None else _short(text)


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]

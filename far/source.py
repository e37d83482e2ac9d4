"""The source that decides a trial's numbers: which modules and variants, and a digest of each.

Modules count whole, variants (an attention pattern, an interaction, …) by their own definitions, so that a new pattern
changes nothing for trials that do not name it. Comments, docstrings and formatting do not count. It
is recorded with a trial's numbers and is not part of its key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from far.architecture.backbones import BACKBONES
from far.architecture.classifiers import CLASSIFIERS
from far.architecture.interactions import INTERACTIONS, POSITIONS
from far.architecture.networks import NETWORKS
from far.architecture.patterns import PATTERNS
from far.architecture.position_embeddings import EMBEDDINGS
from far.architecture.sampling import SAMPLERS
from far.config.augmentation import AUGMENTATIONS
from far.config.optimization import OPTIMIZERS, SCHEDULES
from far.definitions import Module, bytes_digest, read, short
from far.evaluate.metrics import METRICS
from far.plugins import load as plugins
from far.registry import REGISTRIES, Registry

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
    "far.compiler": "imports PyTorch's compiler later",
    "far.config": "what it resolves stands in the configuration, and so in the key",
    "far.cpus": "threads of a process",
    "far.definitions": "reads source",
    "far.data.decoding.cache": "keeps what was read",
    "far.data.decoding.disk_budget": "keeps what was read",
    "far.data.decoding.disk_cache": "keeps what was read",
    "far.data.decoding.frame_file": "keeps what was read",
    "far.data.decoding.earlier": "what earlier versions read",
    "far.data.decoding.indexes": "keeps frame indexes, which have a version of their own",
    "far.data.decoding.pool": "processes that decode",
    "far.data.decoding.worker": "processes that decode",
    "far.data.feed": "hands batches to the device, in the same order",
    "far.data.prefetch": "reads ahead, in the same order",
    "far.data.recycling": "memory that batches are made in",
    "far.data.sharing": "hands over what another process has read",
    "far.data.sources": "the data's content counts in the key",
    "far.distributed": "starts processes",
    "far.errors": "words",
    "far.evaluate.frame_order": "another measurement, of a trained network",
    "far.gpu": "settings of a device, which the result names",
    "far.interpreter": "starts processes",
    "far.models": "networks by name, for people; those of trials are described by their configuration",
    "far.parquet": "reads files, whose content counts in the key",
    "far.pictures": "figures",
    "far.plugins": "loads variants, which count themselves",
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
    "far.train.network_only": "makes a checkpoint smaller, with the network as it is",
    "far.train.plan_checks": "checks",
    "far.train.probe": "measures",
    "far.train.record": "records",
    "far.train.system_usage": "measures",
    "far.train.timetable": "says when something is written",
    "far.train.unpickle": "reads checkpoints safely",
    "far.trained": "another measurement, of a trained network",
    "far.weights.convert": "writes files, whose content counts in the key",
    "far.weights.load_report": "an account of what was loaded",
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
        return short(json.dumps(sorted(self.parts.items())).encode())

    def as_json(self) -> dict[str, dict[str, str]]:
        """Return plain values, for a trial's record."""
        return {"parts": dict(self.parts), "files": dict(self.files)}


def source_of(config: TrialConfig) -> Source:
    """Return the source that decides the numbers of a trial with this configuration, as it is here now.

    A module is read once per process: what a process has imported is what it goes on running.
    """
    metrics = [(METRICS.axis, name) for name in METRICS if plugins.plugin_of(METRICS.axis, name) is not None]
    data = tuple((name, content) for plugin in plugins_of(config) for name, content in _data_of(plugin))
    return _source((*variants(config), *metrics), tuple(_modules(config)), data)


AXES: Mapping[str, Registry[Any]] = {
    each.axis: each
    for each in (
        NETWORKS, SAMPLERS, INTERACTIONS, POSITIONS, CLASSIFIERS, EMBEDDINGS, PATTERNS,
        OPTIMIZERS, SCHEDULES, AUGMENTATIONS,
    )
}  # fmt: skip
"""Registries whose variants decide a trial's numbers."""


def _axes() -> Mapping[str, Registry[Any]]:
    """Return these, that of metrics, and those that plug-ins have made for settings of their own."""
    theirs = {each.axis: each for each in REGISTRIES if each.key and not plugins.is_ours(each.module)}
    return {**theirs, METRICS.axis: METRICS, **AXES}


def plugins_of(config: TrialConfig) -> list[plugins.Plugin]:
    """Return the plug-ins whose variants a configuration names, or whose metrics every trial is scored by."""
    backbone = (BACKBONES.axis, config.model.backbone)
    metrics = [(METRICS.axis, name) for name in METRICS]
    found = [plugins.plugin_of(axis, name) for axis, name in (*variants(config), backbone, *metrics)]
    return list({each.code.module: each for each in found if each is not None}.values())


def _data_of(plugin: plugins.Plugin) -> list[tuple[str, bytes]]:
    """Return the files of a folder that are no Python: what its variants may read."""
    return [(name, content) for name, content in plugin.code.files.items() if not name.endswith(".py")]


def variants(config: TrialConfig) -> list[tuple[str, str]]:
    """Return the variants that a configuration names, as axis and name."""
    model: Any = config.model
    patterns = {name for layout in getattr(model, "layouts", ()) for name in layout}
    if (classifier := getattr(model, "classifier", None)) is not None:
        patterns |= set(CLASSIFIERS[classifier].patterns)
    found = [(registry, name) for registry in _axes().values() if registry.key for name in _names(config, registry.key)]
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
    return bool(files) and all(bytes_digest(module) == digest for module, digest in files.items())


def changed_parts(recorded: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Return the parts in which two sources differ."""
    parts = [part for part in dict.fromkeys((*here, *recorded)) if recorded.get(part) != here.get(part)]
    # A trial without a metric that is here now, or with one that is not, has the numbers of the others all the same.
    return [part for part in parts if not part.startswith(f"{METRICS.axis} '") or {part} <= {*here} & {*recorded}]


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
def _source(
    named: tuple[tuple[str, str], ...], modules: tuple[str, ...], data: tuple[tuple[str, bytes], ...] = ()
) -> Source:
    parts = {f"file '{name}'": short(content) for name, content in data}
    files = dict(parts)
    whole, axes = list(modules), _axes()
    for axis, name in named:
        module = axes[axis].origin(name).module
        code, imported = Module.of(module).definition(name)
        parts[f"{axis} '{name}'"] = short(code.encode())
        files[module] = bytes_digest(module) or ""
        whole += imported
    counted: set[str] = set()
    while whole:
        module = whole.pop()
        if module not in counted and read(module) is not None:
            counted.add(module)
            whole += Module.of(module).imported()
    for module in sorted(counted):
        parts[module] = Module.of(module).digest
        files[module] = bytes_digest(module) or ""
    return Source(dict(sorted(parts.items())), dict(sorted(files.items())))


plugins.on_change.append(_source.cache_clear)

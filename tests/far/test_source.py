"""Which source decides a trial's numbers: what changes it, what does not, and that no module is forgotten."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import far
from far import definitions, source
from far.architecture.patterns import PATTERNS
from far.config import TrialConfig, parse_override, resolve
from far.registry import Registry
from far.source import BY_VARIANT, LEFT_OUT, changed_parts, files_are_here, in_words, source_of

LISTS = (
    source.ALWAYS,
    definitions.REACHED,
    source.WITH_WEIGHTS,
    source.WITH_RANDAUGMENT,
    source.WITH_MIXING,
    BY_VARIANT,
)
PLUGIN = '''
"""Patterns of one's own."""

import numpy as np

from far.architecture.patterns import PATTERNS

STRIPES = 3


def label(w):
    return np.arange(w) % STRIPES


@PATTERNS.register("stripes")
def stripes(grid):
    """Stripes."""
    t, h, w = grid
    return np.broadcast_to(label(w), (t, h, w)).astype(np.int64)


@PATTERNS.register("other")
def other(grid):
    return np.zeros(grid, dtype=np.int64)
'''


def made(*settings: str) -> TrialConfig:
    return resolve([parse_override(text) for text in settings])


def reread() -> None:
    """Forget what this process has read, as a new one would."""
    source._source.cache_clear()
    definitions.forget(everything=True)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module with two patterns beside the package."""
    file = tmp_path / "own_patterns.py"
    file.write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("own_patterns")
    yield file
    for name in ("stripes", "other"):
        PATTERNS.unregister(name)
    del sys.modules["own_patterns"]
    reread()


def modules() -> list[str]:
    root = Path(far.__file__).parent
    files = [path.relative_to(root).with_suffix("") for path in root.rglob("*.py") if path.name != "__init__.py"]
    return sorted(".".join(("far", *path.parts)) for path in files)


def test_every_module_is_known_to_decide_numbers_or_not() -> None:
    """A new module has to be listed in far/source.py: among those that decide numbers, or with why it does not."""
    for module in modules():
        packages = [module.rsplit(".", n)[0] for n in range(module.count(".") + 1)]
        places = sum(module in each for each in LISTS) or sum(name in LEFT_OUT for name in packages)
        assert places == 1, f"{module} stands in {places} lists of far/source.py"
    packages = ("config", "data.sharing", "data.sources", "plugins", "store", "testing", "trained")
    known = {*modules(), *(f"far.{name}" for name in packages)}
    listed = {name for each in (*LISTS, tuple(LEFT_OUT)) for name in each}
    assert listed <= known, f"no such module: {sorted(listed - known)}"


def test_every_registry_that_a_configuration_names_from_counts() -> None:
    axes = set(source.AXES)
    for module in [*sys.modules.values()]:
        if getattr(module, "__name__", "").startswith("far."):
            for value in vars(module).values():
                if isinstance(value, Registry) and value.key and module.__name__ not in source.WITH_WEIGHTS:
                    assert value.axis in axes, f"'{value.axis}' is chosen by {value.key} and counts nowhere"


def test_what_a_configuration_names_is_what_counts() -> None:
    plain, mixed = source_of(made("model.attention={global: 1}", "model.classifier=global-mean")), source_of(made())
    assert "attention pattern 'global'" in plain.parts and "attention pattern 'sparse-dense'" not in plain.parts
    assert "attention pattern 'sparse-dense'" in mixed.parts
    other = source_of(made("model.network=timesformer", "model.tubelet=[1, 16, 16]"))
    assert "far.model.vit" in mixed.parts and "far.model.vit" not in other.parts
    assert "far.model.transformers_network" in other.parts and "far.train.engine" in other.parts
    assert "far.data.transforms.mixup" not in plain.parts
    assert "far.data.transforms.mixup" in source_of(made("recipe.augment.mixup=0.8")).parts
    assert "far.weights.build" in source_of(made("init.weights=w.pth", "init.family=mvd")).parts
    assert plain.digest != mixed.digest
    assert files_are_here(plain.files) and not files_are_here({**plain.files, "far.model.vit": "0"})


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("% STRIPES", "* STRIPES // w", True),  # what it calls
        ("STRIPES = 3", "STRIPES = 4", True),  # what that uses
        ("# nothing", "", False),
        ('"""Stripes."""', '"""Other words."""', False),
        ("    t, h, w = grid\n", "    # three sizes\n    t, h,   w = (grid)\n", False),
        ("np.zeros(grid, dtype=np.int64)", "np.ones(grid)", False),  # another pattern of the module
        ("STRIPES = 3", 'UNUSED = 1\nSTRIPES = 3\n"""How many."""', False),
    ],
)
def test_a_variants_own_definitions_count(old: str, new: str, changed: bool, plugin: Path) -> None:
    config = made("model.attention={stripes: 1}")
    before = source_of(config)
    plugin.write_text(PLUGIN.replace(old, new))
    reread()
    after = source_of(config)
    assert changed_parts(before.parts, after.parts) == (["attention pattern 'stripes'"] if changed else [])
    assert files_are_here(before.files) == (plugin.read_text() == PLUGIN)


def test_a_helper_beside_a_plugin_counts_whole(plugin: Path) -> None:
    helper = plugin.with_name("own_patterns_helper.py")
    assert not any("helper" in part for part in source_of(made("model.attention={stripes: 1}")).parts)
    package = plugin.with_name("own")
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("STRIPES = 3\n")
    text = PLUGIN.replace('"stripes"', '"packed"').replace('"other"', '"packed other"')
    (package / "patterns.py").write_text(text.replace("STRIPES = 3", "from own.helper import STRIPES"))
    try:
        __import__("own.patterns")
        assert "own.helper" in source_of(made("model.attention={packed: 1}")).parts
    finally:
        for name in ("packed", "packed other"):
            PATTERNS.unregister(name)
        for name in [name for name in sys.modules if name.split(".")[0] == "own"]:
            del sys.modules[name]
    assert not helper.exists()


def test_changed_parts_in_words() -> None:
    parts = ["far.train.engine", "attention pattern 'three-stripe'"]
    assert in_words(parts) == "the code of 'three-stripe' and the training code (far/train/engine.py)"
    assert in_words(["far.a", "far.b", "far.c", "far.d", "far.e"]).endswith("and 2 more")

"""Plug-ins: loaded whole or not at all, once, with errors that name file and line; their source counts as ours does."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from far.architecture.interactions import INTERACTIONS
from far.architecture.patterns import PATTERNS
from far.config import TrialConfig, parse_override, resolve
from far.errors import ConfigError
from far.evaluate.metrics import METRICS
from far.plugins import PluginCode, load_code, load_plugin, loaded_plugins, only_within, plugin_of, unload_plugin
from far.plugins.load import load_entry_points
from far.registry import REGISTRIES
from far.source import changed_parts, plugins_of, source_of

STRIPES = """
import numpy as np
from far.architecture.patterns import PATTERNS

N = 3

@PATTERNS.register("stripes")
def stripes(grid):
    return np.broadcast_to(np.arange(grid[2]) * min(N, grid[2]) // grid[2], grid).astype(np.int64)
"""
INTERACTION = """
from far.architecture.counting import Count
from far.architecture.interactions import INTERACTIONS, Interaction

class Own(Interaction):
    def build(self, model, order): ...
    def count(self, model): return {count}

INTERACTIONS.register("own")({entry})
"""
METRIC = """
from far.evaluate.metrics import METRICS, Metric
METRICS.register("half")(Metric(lambda probabilities, labels, expected: {value}))
"""


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = [set(registry) for registry in REGISTRIES]
    with only_within():
        yield
    assert [set(registry) for registry in REGISTRIES[: len(before)]] == before
    assert not loaded_plugins() and not any(name.startswith("farlab_plugin") for name in sys.modules)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ideas.py").write_text(STRIPES)
    return tmp_path / "ideas.py"


def made(*settings: str) -> TrialConfig:
    return resolve([parse_override(text) for text in settings])


def striped() -> TrialConfig:
    return made("model.attention={stripes: 1}", "model.classifier=global-mean", "model.interaction=none")


def test_a_plugin_is_loaded_once_however_it_is_named(file: Path) -> None:
    plugin = load_plugin(file)
    (file.parent / "link.py").symlink_to(file)
    for same in ("ideas.py", "./ideas.py", "link.py", str(file)):
        assert load_plugin(same) is plugin
    assert load_plugin("ideas.py", base=file.parent) is plugin and load_code(plugin.code) is plugin
    assert [(axis, name) for axis, name, _ in plugin.entries] == [("attention pattern", "stripes")]
    assert plugin_of("attention pattern", "stripes") is plugin and plugin_of("attention pattern", "global") is None
    assert len(PATTERNS["stripes"]((1, 1, 6)).ravel()) == 6


def test_what_runs_is_what_was_read_until_it_is_loaded_anew(file: Path) -> None:
    before = load_plugin(file)
    first = source_of(striped())
    file.write_text(STRIPES.replace("N = 3", "N = 2"))  # of the same size, within the same second
    assert load_plugin(file) is before and source_of(striped()) == first
    load_plugin(file, reload=True)
    assert PATTERNS["stripes"]((1, 1, 6)).max() == 1
    assert changed_parts(first.parts, source_of(striped()).parts) == ["attention pattern 'stripes'"]
    assert not list(file.parent.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = (\n", 1, "is not valid Python"),
        ("import numpy\n\nimport nothing_like_it\n", 3, "needs the module 'nothing_like_it', which is not installed"),
        ("import helper\n", 1, "from . import helper"),
        ("\nraise ValueError('of my own')\n", 2, "ValueError: of my own"),
        ("def f():\n    1 / 0\nf()\n", 2, "ZeroDivisionError"),
        ("import sys\nsys.exit(0)\n", 2, "ends the program"),
        (
            "while True:\n    try:\n        print('x' * 99)\n    except Exception:\n        pass\n",
            3,
            "prints without end",
        ),
        ("input()\n", 1, "EOFError"),
        ("", None, "registers nothing"),
        (STRIPES.replace('"stripes"', '"global"'), 7, "'global' is registered twice"),
        (STRIPES.replace('("stripes")', ""), 7, "an attention pattern is registered under a name"),
        (STRIPES.replace('"stripes"', '" "'), 7, "cannot be the name"),
        (STRIPES.replace("(grid):", "(grid, more):"), 7, "a function of (grid) is needed"),
        (STRIPES.replace("np.int64", "float"), 7, "whole numbers"),
        (STRIPES.replace("np.arange(grid[2])", "(1 + np.arange(grid[2]))"), 7, "count from 0 without gaps"),
        (STRIPES.replace(", grid)", ", grid[1:])"), 7, "labels of shape (4, 6)"),
        (STRIPES.replace("grid[2])", "grid[5])", 1), 9, "IndexError"),
        (INTERACTION.format(entry="Own", count="Count()"), 9, "an object is needed: register Own()"),
        (INTERACTION.format(entry="7", count="Count()"), 9, "is an int"),
        (INTERACTION.format(entry="Own()", count="12"), 9, "counts an int"),
        (INTERACTION.format(entry="Own()", count="model.nothing"), 7, "AttributeError"),
        (INTERACTION.format(entry="Own()", count="0").replace("def count", "def other"), 9, "abstract method"),
        (INTERACTION.format(entry="dict", count="Count()"), 9, "is the class dict"),
        (
            STRIPES.replace('register("stripes")', "add"),
            7,
            "has no attribute 'add'; a plug-in calls REGISTRY.register(",
        ),
        (STRIPES.replace('@PATTERNS.register("stripes")', "@lambda f: PATTERNS.update(x=f)"), 7, "REGISTRY.register("),
        ("from . import helper\n", 1, "no known parent package; a single file has none beside it"),
        (METRIC.format(value="'high'"), 3, "computes a str"),
        ("from far.data.sources.demo import MOTIONS\nMOTIONS.register('x')(1)\n", 2, "cannot add"),
    ],
)
def test_whatever_is_wrong_names_file_and_line_and_leaves_nothing(
    text: str, line: int | None, said: str, file: Path
) -> None:
    (file.parent / "helper.py").touch()
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_plugin(file)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    where = refused.value.where or ""
    assert where.endswith("ideas.py" if line is None else f"ideas.py:{line}"), where
    assert not loaded_plugins()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("idea.py", "no such file. Did you mean 'ideas.py'"),
        ("ideas", "is no installed module. Did you mean 'ideas.py'"),
        ("no.such.module", "is no installed module"),
        ("ideas.txt/", "ideas.txt"),
        ("empty", "without __init__.py"),
        ("/dev/zero", "no regular file"),
        ("", "no path"),
        ("sys", "no Python source"),
    ],
)
def test_what_is_no_plugin_is_told(what: str, said: str, file: Path) -> None:
    (file.parent / "empty").mkdir()
    with pytest.raises(ConfigError) as refused:
        load_plugin(what)
    assert said in str(refused.value)


def test_what_a_plugin_prints_goes_to_standard_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(f"print('hello')\nimport logging, sys\nlate = logging.StreamHandler(sys.stderr)\n{STRIPES}")
    load_plugin(file)
    module = sys.modules["farlab_plugin_ideas"]
    module.late.stream.write("x" * 100_000)
    both = capsys.readouterr()
    assert both.out == "" and "ideas.py: hello" in both.err and "xxx" in both.err


def test_two_files_of_one_name_are_two_plugins(file: Path) -> None:
    other = file.parent / "elsewhere" / file.name
    other.parent.mkdir()
    other.write_text(STRIPES.replace('"stripes"', '"others"'))
    assert load_plugin(file) is not load_plugin(other) and {"stripes", "others"} <= set(PATTERNS)
    other.write_text(STRIPES + "MORE = 1\n")
    with pytest.raises(ConfigError, match="is registered twice"):
        load_plugin(other, reload=True)


PACKAGE = {
    "__init__.py": "from . import patterns",
    "helpers.py": "N = 3\n",
    "stripes.txt": "3",
    "patterns.py": STRIPES.replace(
        "N = 3", "from .helpers import *\nTABLE = {}\nTABLE['n'] = 1\n\ndef n():\n    return N"
    )
    .replace("min(N,", "min(n() * TABLE['n'],")
    .replace("@PATTERNS", "OTHER = 1\nTRIED = []\nTRIED.append(5)\n\n@PATTERNS"),
}


def folder(root: Path) -> Path:
    place = root / "many"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name, text in PACKAGE.items():
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("helpers.py", "N = 3", "N = 4", ["farlab_plugin_many.helpers"]),  # what a module of its own gives
        ("patterns.py", "TABLE['n'] = 1", "TABLE['n'] = 2", ["attention pattern 'stripes'"]),  # what is done to a name
        ("stripes.txt", "3", "4", ["file 'many/stripes.txt'"]),  # what it may read
        ("patterns.py", "TRIED.append(5)", "TRIED.append(6)", []),  # of nothing that it uses
        ("patterns.py", "OTHER = 1", "OTHER = 2  # two", []),
        ("__init__.py", "patterns", "patterns, helpers", []),
    ],
)
def test_of_a_folder_all_that_a_variant_uses_counts(
    name: str, old: str, new: str, changed: list[str], tmp_path: Path
) -> None:
    place = folder(tmp_path)
    load_plugin(place)
    before = source_of(striped())
    assert old in (place / name).read_text()
    (place / name).write_text((place / name).read_text().replace(old, new))
    load_plugin(place, reload=True)
    assert changed_parts(before.parts, source_of(striped()).parts) == changed


BUILDER = """
from far.architecture.patterns import PATTERNS
from far.architecture.classifiers import CLASSIFIERS, GroupMeans
import numpy as np

class Own(GroupMeans):
    builder = f"{__name__}:Module"

CLASSIFIERS.register("own")(Own("global"))

class Module:
    n = 3
"""


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (BUILDER.replace("n = 3", "n = 4"), True),  # pointed to by name
        (BUILDER.replace("class Module:\n    n = 3", "try:\n    n = 3\nexcept OSError:\n    class Module: ..."), True),
        (BUILDER + "\nOTHER = 5\n", False),
    ],
)
def test_what_a_variant_points_to_counts(text: str, changed: bool, file: Path) -> None:
    file.write_text(BUILDER)
    load_plugin(file)
    config = made("model.classifier=own")
    before = source_of(config)
    file.write_text(text)
    load_plugin(file, reload=True)
    assert changed_parts(before.parts, source_of(config).parts) == (["classifier 'own'"] if changed else [])


def test_a_metric_counts_where_both_have_it(file: Path) -> None:
    plain = source_of(made())
    file.write_text(METRIC.format(value="0.5"))
    metric = load_plugin(file)
    with_it = source_of(made())
    assert plugins_of(made()) == [metric] and not changed_parts(plain.parts, with_it.parts)
    file.write_text(METRIC.format(value="0.25"))
    load_plugin(file, reload=True)
    assert changed_parts(with_it.parts, source_of(made()).parts) == ["metric 'half'"]
    assert not changed_parts(plain.parts, source_of(made()).parts)


def test_a_plugin_belongs_to_the_trials_that_name_it(file: Path) -> None:
    plugin = load_plugin(file)
    assert plugins_of(striped()) == [plugin] and plugins_of(made()) == []
    file.with_name("own.py").write_text(BUILDER.replace('"global"', '"stripes"'))
    other = load_plugin("own.py")
    assert set(map(str, plugins_of(made("model.classifier=own")))) == {str(other), str(plugin)}


def test_a_plugin_can_be_loaded_from_what_was_kept_of_it(tmp_path: Path) -> None:
    place = folder(tmp_path)
    code = load_plugin(place).code
    first = source_of(striped())
    load_plugin(place, reload=True)
    place.rename(tmp_path / "moved")
    sent = PluginCode(code.name, code.module, dict(code.files), code.root)
    unload_plugin(loaded_plugins()[0])
    plugin = load_code(sent, tmp_path / "kept")
    assert source_of(striped()) == first and plugin.code.digest == code.digest
    assert Path(sys.modules[code.module].__file__ or "").read_text() == PACKAGE["__init__.py"]
    assert (tmp_path / "kept" / "many" / "stripes.txt").read_text() == "3"


def test_an_installed_module_and_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (site / "mylab").mkdir(parents=True)
    (site / "mylab" / "__init__.py").touch()
    (site / "mylab" / "core.py").write_text("N = 3\n")
    (site / "mylab" / "patterns.py").write_text(STRIPES.replace("N = 3", "from mylab.core import N"))
    (site / "mylab" / "more.py").write_text(INTERACTION.format(entry="Own()", count="Count()"))
    info = site / "mylab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[farlab.plugins]\nown = mylab.more\n")
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    plugin = load_plugin("mylab.patterns")
    assert load_plugin("mylab.patterns") is plugin and "mylab.core" in source_of(striped()).parts
    assert sorted(plugin.code.files) == ["mylab/__init__.py", "mylab/core.py", "mylab/more.py", "mylab/patterns.py"]
    assert [each.name for each in load_entry_points()] == ["mylab.more"] and "own" in INTERACTIONS
    sent = PluginCode(plugin.code.name, plugin.code.module, plugin.code.files, plugin.code.root)
    for each in loaded_plugins():
        unload_plugin(each)
    monkeypatch.undo()
    shutil.rmtree(site)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]
    load_code(sent, tmp_path / "kept")  # as on a node where it is not installed
    assert plugins_of(striped())[0].code == sent
    (tmp_path / "kept" / "mylab" / "core.py").unlink()
    assert "mylab.core" in source_of(striped()).parts


def test_an_entry_point_that_fails_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "badlab.py").write_text("import nothing_like_it\n")
    info = tmp_path / "badlab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: badlab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[farlab.plugins]\nown = badlab\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(ConfigError, match="'own' of badlab: needs the module"):
        load_entry_points()


def test_loading_needs_no_torch(file: Path) -> None:
    script = "import sys; from far.plugins import load_plugin; load_plugin('ideas.py'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=file.parent)
    assert done.stdout.strip() == "False", done.stderr


def test_a_registered_metric_is_computed(file: Path) -> None:
    file.write_text(METRIC.format(value="0.5"))
    load_plugin(file)
    assert METRICS["half"].larger_is_better

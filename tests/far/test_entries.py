"""The conformance suite for plug-ins: what is right passes, and a mistake of each kind fails with what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import farlab
from far.plugins import load_plugin, only_within
from far.testing.entries import CHECKS, Outcome, run_checks
from tests.far.test_plugins import STRIPES

RIGHT = """
import dataclasses

import numpy as np
import torch
from far.architecture.backbones import BACKBONES, Backbone
from far.architecture.sampling import SAMPLERS
from far.config.augmentation import AUGMENTATIONS
from far.config.optimization import OPTIMIZERS, SCHEDULES, Optimizer
from far.evaluate.metrics import METRICS, Metric

BACKBONES.register("mini")(Backbone(width=48, depth=1, heads=4))


@SAMPLERS.register("even")
@dataclasses.dataclass(frozen=True)
class Even:
    def train(self, n, size, rng):
        return np.sort(rng.integers(0, n, size))

    def view(self, n, size, view, views):
        return np.linspace(0, n - 1, size).astype(int)

    def span(self, size):
        return size


@AUGMENTATIONS.register("darker")
def darker(clip, rng):
    return clip * rng.uniform(0.5, 1)


SCHEDULES.register("line")(lambda progress: 1 - progress)


class Descent(Optimizer):
    def build(self, groups, recipe):
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9)


OPTIMIZERS.register("descent")(Descent())
METRICS.register("share")(Metric(lambda p, labels, expected: float((p.argmax(1) == labels).sum()) / expected))
"""
WRONG = {
    "Backbone(width=48, depth=1, heads=4)": ("Backbone(width=48, depth=1, heads=5)", "not possible at this size"),
    "np.linspace(0, n - 1, size)": ("np.linspace(n - 1, 0, size)", "run backwards"),
    "np.sort(rng.integers(0, n, size))": ("np.sort(np.random.randint(0, n, size))", "more than the generator"),
    "clip * rng": ("clip[:, :-1] * rng", "gives a clip of shape (3, 3, 16, 16)"),
    "1 - progress": ("1 / progress if progress else 1e9 * 10 ** 400", "OverflowError"),
    "lr=recipe.lr, momentum=0.9": ("lr=recipe.lr, maximize=True", "the loss goes from"),
    "/ expected": ("/ -expected", "where all is right"),
}


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    with only_within():
        yield


def outcomes(text: str, folder: Path) -> list[Outcome]:
    (folder / "ideas.py").write_text(text)
    return list(run_checks([load_plugin(folder / "ideas.py")]))


def test_what_is_right_passes(tmp_path: Path) -> None:
    found = outcomes(RIGHT, tmp_path)
    assert not [outcome for outcome in found if outcome.state != "passed"]
    assert len({outcome.axis for outcome in found}) == 6


@pytest.mark.parametrize(("old", "new", "why"), [(old, *new) for old, new in WRONG.items() if "progress" not in old])
def test_what_is_wrong_is_told(old: str, new: str, why: str, tmp_path: Path) -> None:
    bad = [outcome for outcome in outcomes(RIGHT.replace(old, new), tmp_path) if outcome.state != "passed"]
    assert bad and all(why in outcome.why for outcome in bad), bad
    assert len({outcome.axis for outcome in bad}) == 1


def test_a_patterns_labels_and_an_interactions_count_are_checked(tmp_path: Path) -> None:
    (tmp_path / "ideas.py").write_text(
        STRIPES.replace("N = 3", "import itertools\nCALLS = itertools.count()").replace(
            "min(N, grid[2])", "min(2 + next(CALLS) % 2, grid[2])"
        )
        + "from far.architecture import counting\nfrom far.architecture.interactions import INTERACTIONS, Interaction\n"
        "class Scale(Interaction):\n"
        "    def build(self, model, order):\n        import torch\n        return torch.nn.LayerNorm(model.sizes[0])\n"
        "    def count(self, model):\n        return counting.norm(7, model.sizes[0])\n"
        "INTERACTIONS.register('scale')(Scale())\n"
    )
    (plugin,) = [load_plugin(tmp_path / "ideas.py")]
    by_axis = {axis: dict(CHECKS[axis](name)) for axis, name, _ in plugin.entries}
    with pytest.raises(AssertionError, match="other labels the second time"):
        by_axis["attention pattern"]["labels"]()
    checks = by_axis["token-group interaction"]
    checks["logits and gradients are those of the dense form, 2x4x6 tokens"]()
    pytest.importorskip("fvcore")
    with pytest.raises(AssertionError, match="FLOPs by fvcore's count, and its own count says"):
        checks["FLOPs are fvcore's, 2x4x6 tokens"]()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ideas.py").write_text(RIGHT)
    assert farlab.run(["check-plugin", "ideas.py"]) == 0
    said = capsys.readouterr().out
    assert "metric 'share'\n  ok      right answers are better" in said and said.endswith("10 passed\n"), said
    Path("ideas.py").write_text(RIGHT.replace("/ expected", "/ -expected"))
    assert farlab.run(["check-plugin", "ideas.py", "--json"]) == 3
    assert {each["name"] for each in json.loads(capsys.readouterr().out) if each["state"] == "failed"} == {"share"}
    Path("ideas.py").write_text("1 / 0\n")
    assert farlab.run(["check-plugin", "ideas.py"]) == 2
    assert capsys.readouterr().err.startswith("error: ideas.py:1: cannot be imported: ZeroDivisionError")

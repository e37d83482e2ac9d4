"""A search's space and objectives are checked like any setting, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import farlab
from far.errors import ConfigError
from orchestrator.search.storage import _digest
from orchestrator.study import load_study

HEAD = "study: s\nseeds: 1\nsearch:\n  space:\n"
ENOUGH = HEAD + "    model.depth: {choices: [1, 2]}\n"


def study(directory: Path, text: str) -> Path:
    path = directory / "s.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        (HEAD + "    recipe.lrr: {low: 0.1, high: 1.0}", 5, "space.recipe.lrr", "unknown key 'lrr'. Did you mean 'lr'"),
        (HEAD + "    recip.lr: {low: 0.1, high: 1.0}", 5, "space.recip.lr", "Did you mean 'recipe'"),
        (HEAD + "    recipe.lr.x: {low: 0.1, high: 1.0}", 5, "space.recipe.lr.x", "not a section"),
        (HEAD + "    recipe.lr:\n      choices: [0.1, fast]", 6, "space.recipe.lr.choices.1", "number, not 'fast'"),
        (HEAD + "    recipe.lr:\n      choices:\n        - 0.1\n        - null", 8, "recipe.lr.choices.1", "not null"),
        (HEAD + "    recipe.lr: {choices: [.nan, 0.1]}", 5, "space.recipe.lr.choices", "no finite number"),
        (HEAD + "    recipe.lr: {choices: [2020-01-01, 0.1]}", 5, "space.recipe.lr.choices.0", "must be a number"),
        (HEAD + "    recipe.lr: {low: -1.0, high: 1.0}", 5, "space.recipe.lr.low", "more than 0"),
        (HEAD + "    recipe.lr: {low: 1.0, high: 1.0}", 5, "space.recipe.lr", "low < high"),
        (HEAD + "    recipe.lr: {low: 0.1, high: .inf}", 5, "space.recipe.lr.high", "finite"),
        (HEAD + "    recipe.lr: {low: .nan, high: 1.0}", 5, "space.recipe.lr.low", "finite"),
        (HEAD + "    recipe.lr: {low: 0.0, high: 1.0, log: true}", 5, "space.recipe.lr", "low > 0"),
        (HEAD + "    recipe.lr: {low: 0.1, high: 0.2, step: 0.5}", 5, "space.recipe.lr", "longer than the range"),
        (HEAD + "    recipe.epochs: {low: 1, high: 4}", 5, "space.recipe.epochs.low", "add 'integer: true'"),
        (HEAD + "    recipe.epochs: {low: 1.5, high: 4, integer: true}", 5, "space.recipe.epochs", "whole numbers"),
        (HEAD + "    recipe.epochs: {low: 1, high: 4, step: 1.5, integer: true}", 5, "space.recipe.epochs", "whole"),
        (HEAD + "    recipe.epochs: {low: 0, high: 4, integer: true}", 5, "space.recipe.epochs.low", "at least 1"),
        (HEAD + "    model.interaction: {choices: [none, bottlenek]}", 5, "interaction.choices.1", "'bottleneck'"),
        (HEAD + "    model.depth: {choices: [1, 2, 1]}", 5, "space.model.depth.choices", "1 is listed twice"),
        (HEAD + "    model.depth: {choices: [1, true]}", 5, "space.model.depth.choices", "listed twice"),
        (
            HEAD + "    model.attention: {choices: [{global: 1}, {global: 1}]}",
            5,
            "space.model.attention.choices",
            "listed twice",
        ),
        (
            HEAD + "    model.attention:\n      each_block: [{global: 1}, {globl: 1}]",
            6,
            "attention.each_block.1",
            "globl",
        ),
        (HEAD + "    recipe.lr: {each_block: [0.1, 0.2]}", 5, "space.recipe.lr.each_block.0", "must be a number"),
        (
            HEAD
            + "    model.attention: {each_block: [{global: 1}, {sparse-dense: 1}]}\n    model.depth: {choices: [1, 2]}",
            5,
            "space.model.attention",
            "model.depth varies the number of blocks",
        ),
        # What is possible with no values of the other parameters; with some it is (below).
        (HEAD + "    model.attention: {choices: [{global: 1}, {global: 5, sparse-dense: 2}]}", 5, "choices.1", "5:2"),
        (
            HEAD + "    model.heads: {choices: [6, 5]}\n    model.width: {choices: [96, 192]}",
            5,
            "space.model.heads.choices.1",
            "not a multiple of 5 heads",
        ),
        (HEAD + "    seed: {choices: [0, 1]}", 5, "space.seed", "axis of its own"),
        (HEAD + "    recipe: {choices: [{lr: 0.1}]}", 5, "space.recipe", "section"),
        (HEAD + "    recipe.augment: {choices: [{crop: true}]}", 5, "space.recipe.augment", "section"),
        (HEAD + "    run.cpus: {choices: [1, 2]}", 5, "space.run.cpus", "changes no number"),
        ("rows: {a: {model.depth: 1}}\n" + ENOUGH, 6, "space.model.depth", "row 'a' sets this too"),
        ("grid: {model: [{depth: 1}]}\n" + ENOUGH, 6, "space.model.depth", "sets this too"),
        (ENOUGH + "  objectives:\n    - {metric: acc}", 7, "objectives.0.metric", "valid: top1, top5, loss, flops"),
        (ENOUGH + "  objectives: [{metric: loss}, {metric: loss, direction: maximize}]", 6, "objectives", "twice"),
        (ENOUGH + "  pruner: asha\n  objectives:\n    - {metric: flops}", 7, "objectives", "valid: top1, top5, loss"),
        (ENOUGH + "  pruner: asha\n  objectives: [{metric: loss}, {metric: top1}]", 6, "pruner", "single objective"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_its_place(
    text: str, line: int, key: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study(tmp_path, text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    said = str(caught.value)
    assert said.startswith(f"{path}:{line}: search.")
    assert f"{key}: " in said
    assert message in said
    assert "\n" not in said
    monkeypatch.chdir(tmp_path)
    for command in (["validate", "s.yaml"], ["plan", "s.yaml"], ["sweep", "s.yaml", "--executor", "local"]):
        assert farlab.run(command) == 2
    assert not (tmp_path / "runs").exists()  # nothing was begun


def test_an_override_of_what_the_search_chooses_has_no_effect_and_is_refused(tmp_path: Path) -> None:
    path = study(tmp_path, ENOUGH)
    with pytest.raises(ConfigError, match=r"command line: model.depth: is chosen by the study's search"):
        load_study(path, overrides=["model.depth=3"])


@pytest.mark.parametrize(
    "space",
    [
        "model.heads: {choices: [6, 10]}\n    model.width: {choices: [96, 160]}",  # 10 heads with 160 channels
        "recipe.lr: {low: 1.0e-6, high: 1, log: true}",
        "recipe.epochs: {low: 1, high: 4, step: 1, integer: true}",
        "model.attention: {each_block: [{global: 1}, {sparse-dense: 1}, {global: 1, sparse-dense: 1}]}",
        "model.interaction: {choices: [bottleneck, none]}\n    recipe.lr: {low: 0.1, high: 0.2, step: 0.1}",
    ],
)
def test_what_can_be_searched(space: str, tmp_path: Path) -> None:
    assert load_study(study(tmp_path, f"rows: {{given: {{}}}}\n{HEAD}    {space}\n")).search is not None


def test_the_usual_direction_is_more_accuracy_and_less_of_anything_else(tmp_path: Path) -> None:
    objectives = (
        "  objectives: [{metric: top1}, {metric: loss}, {metric: flops}, {metric: top5, direction: minimize}]\n"
    )
    search = load_study(study(tmp_path, ENOUGH + objectives)).search
    assert search is not None
    assert [objective.direction for objective in search.objectives] == ["maximize", "minimize", "minimize", "minimize"]


def test_a_search_of_an_earlier_version_is_found_again(tmp_path: Path) -> None:
    """With what the demo profile said then."""
    text = """
study: g
seeds: 1
base:
  model: {depth: 2, clip: [16, 64, 64], tubelet: [2, 16, 16]}
  data: {classes: 10, demo: {motion: 24.0}}
  recipe: {epochs: 6}
search:
  space:
    recipe.lr: {low: 1.0e-6, high: 1.0e-1, log: true}
    model.interaction: {choices: [bottleneck, none]}
  trials: 8
  pruner: median
  objectives: [{metric: loss, direction: minimize}]
"""
    assert _digest(load_study(study(tmp_path, text))) == "eb3ebcb266c2"

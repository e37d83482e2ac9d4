"""``farlab train``: what a trial remembers of its starts and its initial weights, and a trial again from its record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

import farlab
from far.config import resolve
from far.config.layers import Layer
from far.errors import ConfigError
from far.model.vit import build
from far.store.atomic import read_json, write_json
from orchestrator.store.record import Record
from orchestrator.study.profiles import find_profile

PROFILE = """
profile: short
settings:
  model: {depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8], attention: {global: 1}, interaction: none}
  data: {classes: 10, demo: {train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}
  init: {weights: w.pth, family: mvd}
  recipe: {epochs: 4, batch_size: 8, warmup_epochs: 0, lr_reference_batch: 8, precision: fp32}
"""


def test_a_killed_trial_keeps_its_first_start(lab: Any, wait: Callable[..., Any]) -> None:
    """Both starts are on record, each with the commit that it ran."""
    (lab.directory / "short.yaml").write_text(PROFILE)
    (lab.directory / "weights").mkdir()
    profile = find_profile("short", [lab.directory])
    net = build(resolve(profile.layers).model, 10, seed=3)
    torch.save({"module": net.state_dict()}, lab.directory / "weights" / "w.pth")
    running = lab.start("short.yaml", command="train")
    (checkpoint,) = wait(lambda: list(lab.store.trials.glob("*/checkpoints/epoch-0001")))
    running.kill()
    lab.finish(running)
    paths = lab.store.paths(checkpoint.parent.parent.name)
    spec = read_json(paths.trial)
    assert [attempt["epoch"] for attempt in spec["attempts"]] == [0]
    spec["attempts"][0]["code"]["git"] = "0" * 40  # as if the code had been committed since
    write_json(paths.trial, spec)
    done = lab.call("short.yaml", command="train")
    assert done.returncode == 0, done.stderr
    assert "initial weights w.pth: mvd, fine-tuned, positions sincos-3d: " in done.stdout
    first, second = read_json(paths.trial)["attempts"]
    assert (first["code"]["git"], first["epoch"]) == ("0" * 40, 0)
    assert second["code"]["git"] != "0" * 40 and second["epoch"] >= 1
    assert read_json(paths.result)["earlier_code"] == [first["code"]]


def test_a_trial_is_repeated_from_its_record_alone(lab: Any, tmp_path: Path) -> None:
    """Elsewhere, without profile and study: the same key, metrics and answers, bit for bit."""
    (lab.directory / "short.yaml").write_text(PROFILE)
    settings = ("recipe.epochs=2", "init={weights: null, family: null}")
    done = lab.call("short.yaml", *settings, "--seed", "3", command="train")
    assert done.returncode == 0, done.stderr
    (key,) = lab.store.keys()
    again = type(lab)(tmp_path / "again", lab.directory)
    shutil.copy(lab.directory / "farlab.toml", again.directory)
    shutil.copy(lab.store.paths(key).trial, again.directory / "their.json")
    done = again.run("their.json", command="train")
    assert done.returncode == 0, done.stderr
    assert f"repeats trial {key} of their.json" in done.stdout and "numbers may differ" not in done.stdout
    first, second = lab.store.result(key), again.store.result(key)
    for part in ("metrics", "answers", "flops", "params"):
        assert first[part] == second[part], part
    first, second = lab.store.trial(key), again.store.trial(key)
    for part in ("identity", "config", "profile"):
        assert first[part] == second[part], part
    scores = [pq.read_table(store.paths(key).predictions) for store in (lab.store, again.store)]
    assert scores[0].equals(scores[1])
    done = again.call(str(lab.store.paths(key).directory), command="train")
    assert "is finished" in done.stdout


RECORD = {"key": "0" * 16, "config": {"seed": 0, "recipe": {"epochs": 1}}, "identity": {"recipe": {"epochs": 2}}}


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        ("t.json", None, [], "t.json: no such file"),
        ("t.json", "{", [], "cannot be read as JSON"),
        ("t.json", "[]", [], "is no record of a trial"),
        ("t.json", json.dumps({**RECORD, "config": {}}), [], "is no record of a trial"),
        ("t.json", json.dumps({**RECORD, "config": {"seed": 0, "x": 1}}), [], "x: unknown key 'x'"),
        ("t.json", json.dumps(RECORD), ["--seed", "1"], "the trial's record has its seed"),
        ("demo.yaml", None, [], "demo.yaml: no such file"),
        ("demo.yml", None, [], "demo.yml: no such file"),
        ("profiles/demo.yaml", None, [], "profiles/demo.yaml: no such file"),
        ("demo.yml", "profile: demo\nsettings: {recipe.epoch: 1}\n", ["-n"], "demo.yml:2: recipe.epoch"),
    ],
)
def test_what_is_no_configuration_is_named(
    name: str,
    content: str | None,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_text(content)
    assert farlab.run(["train", name, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_record_that_would_be_another_trial_here_is_refused() -> None:
    record = Record(Path("t.json"), "a" * 16, "demo", 0, Layer({}, str), {"data": {"content": "x"}, "seed": 0}, ())
    record.check("a" * 16, {})
    with pytest.raises(ConfigError, match=r'data\.content = "y" instead of "x"'):
        record.check("b" * 16, {"data": {"content": "y"}, "seed": 0})

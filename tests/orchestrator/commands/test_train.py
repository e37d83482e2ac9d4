"""``farlab train``: what a trial remembers of its starts, and says of its initial weights."""

from collections.abc import Callable
from typing import Any

import torch

from far.config import resolve
from far.files import read_json, write_json
from far.model.vit import build
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
    """Both starts stand in the result, each with the commit that it ran."""
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
    done = lab.run("short.yaml", command="train")
    assert done.returncode == 0, done.stderr
    assert "initial weights w.pth: mvd, fine-tuned, positions sincos-3d: " in done.stdout
    first, second = read_json(paths.result)["attempts"]
    assert (first["code"]["git"], first["epoch"]) == ("0" * 40, 0)
    assert second["code"]["git"] != "0" * 40 and second["epoch"] >= 1

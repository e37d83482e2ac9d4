"""``farlab train``: what a trial remembers of its starts."""

from collections.abc import Callable
from typing import Any

from far.files import read_json, write_json

PROFILE = """
profile: short
settings:
  model: {depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8], attention: {global: 1}, interaction: none}
  data: {classes: 10, demo: {train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}
  recipe: {epochs: 4, batch_size: 8, warmup_epochs: 0, lr_reference_batch: 8, precision: fp32}
"""


def test_a_killed_trial_keeps_its_first_start(lab: Any, wait: Callable[..., Any]) -> None:
    """Both starts stand in the result, each with the commit that it ran."""
    (lab.directory / "short.yaml").write_text(PROFILE)
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
    first, second = read_json(paths.result)["attempts"]
    assert (first["code"]["git"], first["epoch"]) == ("0" * 40, 0)
    assert second["code"]["git"] != "0" * 40 and second["epoch"] >= 1

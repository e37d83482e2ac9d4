"""A checkpoint without the optimiser's state: smaller, and all the same to whoever does not train on from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from far.config import TrialConfig
from far.distributed import join_world
from far.errors import DamagedError
from far.store.atomic import read_json, write_json
from far.store.paths import TrialPaths
from far.train import checkpoint, network_only
from far.train.trial import TrialRun, run_trial
from far.trained.network import load_trained
from far.weights.source import open_source

pytestmark = pytest.mark.slow  # importing DeepSpeed alone takes seconds


def start(config: TrialConfig, directory: Path, data: Path) -> TrialRun:
    paths = TrialPaths(directory)
    write_json(paths.trial, {"config": config.model_dump(mode="json"), "identity": {"seed": 0}})
    return TrialRun(config, {"seed": 0}, paths, join_world(), data_root=data)


def total(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize(("stage", "precision"), [(0, "fp32"), (0, "bf16"), (1, "bf16"), (3, "fp32")])
def test_the_network_stays_and_the_rest_goes(
    stage: int, precision: str, tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    values = {"zero_stage": stage, "precision": precision, "epochs": 1}
    config = tiny_config.model_copy(update={"recipe": tiny_config.recipe.model_copy(update=values)})
    paths = TrialPaths(tmp_path / "trial")
    run_trial(start(config, paths.directory, tiny_data))
    found = checkpoint.latest(paths.checkpoints)
    assert found is not None
    before, network, metrics = total(found), load_trained(paths.directory), read_json(paths.result)["metrics"]
    promised = network_only.removable(found)

    if stage:  # the optimiser's files are removed last: a kill before that leaves a network that loads
        monkeypatch.setattr(Path, "unlink", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            network_only.strip(found)
        monkeypatch.undo()
        load_trained(paths.directory)
        assert network_only.removable(found) > 0
    network_only.strip(found)
    assert [path.name for path in found.iterdir()] == [network_only.FILE]
    assert before - total(found) == pytest.approx(promised, rel=0.02)
    assert promised > 0.6 * before
    assert network_only.removable(found) == 0
    slim = load_trained(paths.directory)
    for name, value in network.model.state_dict().items():
        assert value.equal(slim.model.state_dict()[name]), name
    assert open_source(found).width == 96, "other trials may start from it"

    paths.result.unlink()
    again = start(config, paths.directory, tiny_data)
    assert again.is_trained
    run_trial(again)
    assert read_json(paths.result)["metrics"] == metrics, "a lost result is made again from it"
    assert [epoch["epoch"] for epoch in again.history] == [0]


def test_a_trial_that_would_train_on_from_it_says_what_is_missing(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    run = start(tiny_config, tmp_path, tiny_data)
    run.train_epoch()
    run.close()
    found = checkpoint.latest(TrialPaths(tmp_path).checkpoints)
    assert found is not None
    network_only.strip(found)
    with pytest.raises(DamagedError, match=r"without the optimiser's state.*and 1 are left"):
        start(tiny_config, tmp_path, tiny_data)
    assert start(tiny_config, tmp_path, tiny_data).epochs_done == 0, "it was set aside"

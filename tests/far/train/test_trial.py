"""One real trial with DeepSpeed in this process: it learns its data, resumes exactly, and fails with a type."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from far.config import InitConfig, TrialConfig
from far.config.identity import identity
from far.data import open_manifest
from far.distributed import join_world
from far.errors import ConfigError, DivergedError, WeightsError
from far.evaluate.frame_order import ORDERS
from far.store.atomic import read_json, read_json_lines, write_json
from far.store.paths import TrialPaths
from far.train import checkpoint
from far.train.trial import TrialRun, run_trial
from far.trained.network import evaluate_trained, load_trained
from far.weights import build_network

pytestmark = pytest.mark.slow  # importing DeepSpeed alone takes seconds


def start(config: TrialConfig, directory: Path, data: Path) -> TrialRun:
    paths = TrialPaths(directory)
    write_json(paths.trial, {"config": config.model_dump(mode="json"), "identity": {"seed": 0}})
    return TrialRun(config, {"seed": 0}, paths, join_world(), data_root=data)


def changed(config: TrialConfig, section: str, **values: Any) -> TrialConfig:
    part = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: part})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_config: TrialConfig, tiny_data: Path) -> TrialPaths:
    directory = tmp_path_factory.mktemp("finished")
    run_trial(start(tiny_config, directory, tiny_data))
    return TrialPaths(directory)


def test_the_result_says_what_was_run(finished: TrialPaths, tiny_config: TrialConfig) -> None:
    result = read_json(finished.result)
    assert result["state"] == "finished"
    assert (result["evaluated"], result["expected"], result["epochs"]) == (20, 20, 2)
    assert (result["skipped_steps"], result["execution"]["zero_stage"]) == (0, 0)
    trained = load_trained(finished.directory)
    assert trained.precision == "fp32"
    assert result["params"] == sum(p.numel() for p in trained.model.parameters())
    frame = pd.read_parquet(finished.predictions)
    assert len(frame) == 20
    top1 = 100 * sum(max(range(10), key=row.logits.__getitem__) == row.label for row in frame.itertuples()) / 20
    assert result["metrics"]["top1"] == pytest.approx(top1)
    assert [record["epoch"] for record in read_json_lines(finished.metrics)] == [0, 1]


def test_a_resumed_trial_ends_like_an_undisturbed_one(
    finished: TrialPaths, tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    first = start(tiny_config, tmp_path, tiny_data)
    first.train_epoch()
    first.close()
    again = start(tiny_config, tmp_path, tiny_data)
    assert again.epochs_done == 1
    run_trial(again)
    assert TrialPaths(tmp_path).predictions.read_bytes() == finished.predictions.read_bytes()
    assert read_json(TrialPaths(tmp_path).result)["metrics"] == read_json(finished.result)["metrics"]


def test_accumulation_changes_only_rounding(
    finished: TrialPaths, tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    run_trial(start(changed(tiny_config, "run", micro_batch=2), tmp_path, tiny_data))
    ours, theirs = (pd.read_parquet(TrialPaths(p).predictions) for p in (tmp_path, finished.directory))
    for mine, other in zip(ours["logits"], theirs["logits"], strict=True):
        torch.testing.assert_close(torch.tensor(mine), torch.tensor(other), rtol=1e-3, atol=1e-3)


def test_training_fits_a_handful_of_clips(tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path) -> None:
    config = changed(tiny_config, "recipe", epochs=12, lr=3e-3)
    run = start(config, tmp_path, tiny_data)
    losses = []
    while not run.is_trained:
        losses.append(run.train_epoch()["train_loss"])
    run.close()
    assert losses[-1] < 0.8 * losses[0]


def test_a_loss_that_is_not_finite_is_a_diverged_trial(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    run = start(changed(tiny_config, "recipe", lr=1e30), tmp_path, tiny_data)
    with pytest.raises(DivergedError, match=r"the loss is .* at step"):
        run_trial(run)


def test_bf16_trains_on_the_cpu(tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path) -> None:
    config = changed(tiny_config, "recipe", precision="bf16", epochs=1, zero_stage=1)
    result = run_trial(start(config, tmp_path, tiny_data))
    assert result["execution"]["precision"] == "bf16"
    videos = config.data.demo.train_clips + config.data.demo.val_clips
    assert list(result["decoders"].values()) == [videos]  # which decoder reads them is on record


def test_a_network_is_tested_again_in_the_precision_of_its_trial(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    config = changed(tiny_config, "recipe", precision="bf16", epochs=1)
    result = run_trial(start(config, tmp_path, tiny_data))
    predictions, scores, _ = evaluate_trained(load_trained(tmp_path), data_root=tiny_data)
    assert {"loss": scores.loss, "top1": scores.top1, "top5": scores.top5} == result["metrics"]
    predictions.write(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == TrialPaths(tmp_path).predictions.read_bytes()


def test_an_epoch_whose_every_step_is_skipped_is_a_diverged_trial(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss stays finite, no weight changes, and the epochs would go by."""
    run = start(tiny_config, tmp_path, tiny_data)
    step = run.engine.step

    def skipping() -> None:
        step()
        run.engine.skipped_steps += 1

    monkeypatch.setattr(run.engine, "step", skipping)
    with pytest.raises(DivergedError, match="not finite in any of the 5 steps of epoch 0"):
        run_trial(run)


def test_a_trial_computes_the_same_after_one_with_zero_3(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    plain = torch.nn.functional.linear
    run = start(changed(tiny_config, "recipe", epochs=1, zero_stage=3), tmp_path, tiny_data)
    assert torch.nn.functional.linear is not plain
    run.close()
    assert torch.nn.functional.linear is plain


def test_an_unfinished_checkpoint_is_not_seen(tmp_path: Path) -> None:
    for name in ("epoch-0001", "epoch-0003.partial", "epoch-0002", "latest"):
        (tmp_path / name).mkdir()
    assert checkpoint.latest(tmp_path) == tmp_path / "epoch-0002"
    assert checkpoint.latest(tmp_path / "missing") is None


def test_a_trained_network_answers_as_it_did(finished: TrialPaths, tiny_data: Path) -> None:
    predictions, scores, views = evaluate_trained(load_trained(finished.directory), data_root=tiny_data)
    assert views == (1, 1)
    assert scores.top1 == pytest.approx(read_json(finished.result)["metrics"]["top1"])
    more, _, views = evaluate_trained(load_trained(finished.directory), data_root=tiny_data, views=(2, 3))
    assert (len(more.ids), views) == (6 * len(predictions.ids), (2, 3))


def test_a_folder_without_a_trial_is_refused(finished: TrialPaths, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a trial's folder"):
        load_trained(tmp_path)
    shutil.copy(finished.trial, tmp_path)
    with pytest.raises(WeightsError, match="no complete checkpoint"):
        load_trained(tmp_path)


def test_orders_of_frames_keep_every_frame() -> None:
    clips = torch.arange(2 * 3 * 5).float().reshape(2, 3, 5, 1, 1)
    for name, arrange in ORDERS.items():
        out = arrange(clips, ["a", "b"])
        torch.testing.assert_close(out.sort(dim=2).values, clips, msg=name)
    torch.testing.assert_close(ORDERS["reversed"](clips, ["a", "b"])[0, 0].flatten(), torch.tensor([4.0, 3, 2, 1, 0]))
    torch.testing.assert_close(ORDERS["shuffled"](clips, ["a", "b"])[1:], ORDERS["shuffled"](clips[1:], ["b"]))


def test_our_checkpoints_are_initial_weights_as_they_are(
    tmp_path: Path, tiny_config: TrialConfig, tiny_data: Path
) -> None:
    """A trial's folder starts another one with the same function: its learned table, its grid, its head."""
    learned = changed(tiny_config, "model", position_embedding="learned", tubelet=[4, 8, 8])
    paths = TrialPaths(tmp_path / "first")
    run_trial(start(changed(learned, "recipe", epochs=1), paths.directory, tiny_data))
    trained = load_trained(paths.directory)
    clips = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    for place in (paths.directory, paths.checkpoints, paths.checkpoints / "epoch-0001"):
        net, coverage = build_network(
            changed(learned, "model", position_embedding="auto").model, InitConfig(weights=str(place)), 10, seed=5
        )
        assert coverage is not None and (coverage.family, coverage.positions) == ("farlab", "learned")
        assert not coverage.fresh and not coverage.ignored
        with torch.no_grad():
            assert torch.equal(net(clips), trained.model(clips))


def test_a_trial_goes_on_with_the_positions_that_it_began_with(
    tmp_path: Path, tiny_config: TrialConfig, tiny_data: Path
) -> None:
    """Whatever its weights are read as today: an earlier version may have read them otherwise."""
    weights = tmp_path / "w.pth"
    first = start(changed(tiny_config, "model", interaction="none"), tmp_path / "random", tiny_data)
    torch.save({"module": first.model.state_dict()}, weights)
    first.close()
    config = changed(changed(tiny_config, "model", interaction="none"), "init", weights=str(weights), family="mvd")
    run = start(config, tmp_path / "trial", tiny_data)
    run.train_epoch()
    run.close()
    guess = changed(config, "init", family=None)  # what needs an answer for a new trial does not for this one
    again = start(guess, tmp_path / "trial", tiny_data)
    assert (again.epochs_done, again.model.config.embedding) == (1, "sincos-3d")
    again.close()
    with pytest.raises(ConfigError, match=r"init\.family"):
        start(guess, tmp_path / "new", tiny_data)


def test_batch_statistics_are_trained_kept_and_used_in_evaluation(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    """They survive a resume, differ with the micro-batch, and a trial of another micro-batch is refused."""
    model = tiny_config.model.model_copy(update={"interaction": "bottleneck-batchnorm"})
    config = changed(tiny_config.model_copy(update={"model": model}), "run", micro_batch=4)
    whole = identity(config, data_hash=open_manifest(config.data, tiny_data).content_hash)
    assert whole["model"]["statistics_over"] == 4

    def begun(directory: Path, config: TrialConfig) -> TrialRun:
        paths = TrialPaths(directory)
        write_json(paths.trial, {"config": config.model_dump(mode="json"), "identity": whole})
        return TrialRun(config, whole, paths, join_world(), data_root=tiny_data)

    undisturbed = run_trial(begun(tmp_path / "a", config))
    first = begun(tmp_path / "b", config)
    first.train_epoch()
    first.close()
    assert run_trial(begun(tmp_path / "b", config))["metrics"] == undisturbed["metrics"]
    trained = load_trained(tmp_path / "a")
    assert all(buffer.abs().sum() > 0 for name, buffer in trained.model.named_buffers() if "running_mean" in name)
    _, scores, _ = evaluate_trained(trained, data_root=tiny_data)
    assert scores.loss == pytest.approx(undisturbed["metrics"]["loss"], rel=1e-4)
    with pytest.raises(ConfigError, match=r"run\.micro_batch: .* would be over 8 videos .* trial are over 4"):
        begun(tmp_path / "c", changed(config, "run", micro_batch=8))

"""Checkpoints in the middle of an epoch: a trial goes on from there to the same numbers, bit for bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from far.config import TrialConfig
from far.distributed import join_world
from far.errors import DamagedError, TrialInterruptedError
from far.store.atomic import read_json, read_json_lines, write_json
from far.store.paths import TrialPaths
from far.train import checkpoint
from far.train.trial import TrialRun, run_trial
from far.trained.network import load_trained

pytestmark = pytest.mark.slow  # importing DeepSpeed alone takes seconds

ALWAYS = 1e-9
"""Minutes after which every step is worth a checkpoint."""
CLOCKS = {"time", "seconds", "train_seconds", "checkpoint_seconds", "system"}


class Killed(BaseException):
    """Stands for kill -9: nothing of the process's memory is used again."""


def changed(config: TrialConfig, section: str, **values: Any) -> TrialConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


@pytest.fixture(scope="module")
def config(tiny_config: TrialConfig) -> TrialConfig:
    """Five steps an epoch of two micro-batches each, of two clips of each video, mixed."""
    augment = tiny_config.recipe.augment.model_copy(
        update={"crop": True, "erasing": 0.5, "mixup": 0.8, "cutmix": 1.0, "repeats": 2}
    )
    model = tiny_config.model.model_copy(update={"drop_path": 0.3, "interaction": "bottleneck-batchnorm"})
    whole = tiny_config.model_copy(update={"model": model})
    return changed(changed(whole, "recipe", augment=augment), "run", micro_batch=4)


def start(config: TrialConfig, directory: Path, data: Path) -> TrialRun:
    paths = TrialPaths(directory)
    write_json(paths.trial, {"config": config.model_dump(mode="json"), "identity": {"seed": 0}})
    run = TrialRun(config, {"seed": 0}, paths, join_world(), data_root=data)
    # As a module of a user's own with dropout does: it draws from PyTorch's own generator.
    run.model.register_forward_hook(lambda net, _, out: out * (1 + 0.1 * torch.rand_like(out)) if net.training else out)
    return run


def before_batch(run: TrialRun, epoch: int, number: int, do: Callable[[], None]) -> None:
    """Call a function before a micro-batch of an epoch is handed out, counted from where the epoch is begun."""
    whole = run.stream.epoch

    def watched(at: int, start_step: int = 0) -> Iterator[Any]:
        for index, batch in enumerate(whole(at, start_step)):
            if (at, index) == (epoch, number):
                do()
            yield batch

    run.stream.epoch = watched  # type: ignore[method-assign]


def die() -> None:
    raise Killed


def history(directory: Path) -> list[dict[str, Any]]:
    records = read_json_lines(TrialPaths(directory).metrics)
    return [{key: value for key, value in record.items() if key not in CLOCKS} for record in records]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_trained(directory).model.state_dict()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in TrialPaths(directory).checkpoints.iterdir())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, config: TrialConfig, tiny_data: Path) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed")
    run_trial(start(config, directory, tiny_data))
    return directory


def assert_same(directory: Path, undisturbed: Path) -> None:
    assert history(directory) == history(undisturbed)
    ours, theirs = weights(directory), weights(undisturbed)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    a, b = TrialPaths(directory), TrialPaths(undisturbed)
    assert a.predictions.read_bytes() == b.predictions.read_bytes()
    assert read_json(a.result)["metrics"] == read_json(b.result)["metrics"]


def test_a_trial_that_is_killed_in_an_epoch_goes_on_from_its_middle(
    config: TrialConfig, tiny_data: Path, tmp_path: Path, undisturbed: Path
) -> None:
    often = changed(config, "run", checkpoint_minutes=ALWAYS)
    first = start(often, tmp_path, tiny_data)
    before_batch(first, 1, 7, die)  # in the fourth step
    first.train_epoch()
    assert names(tmp_path) == ["epoch-0001"]
    with pytest.raises(Killed):
        first.train_epoch()
    first.close()
    assert names(tmp_path) == ["epoch-0001", "epoch-0001-step-000003"]
    assert load_trained(tmp_path).epochs == 1  # what is evaluated or shown is a whole epoch's
    again = start(often, tmp_path, tiny_data)
    assert again.account.attempts[-1]["step"] == 3
    run_trial(again)
    assert_same(tmp_path, undisturbed)
    assert names(tmp_path) == ["epoch-0002"]


def test_a_trained_epoch_is_not_lost_while_it_is_validated(
    config: TrialConfig, tiny_data: Path, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = changed(config, "run", checkpoint_minutes=ALWAYS)
    first = start(often, tmp_path, tiny_data)
    monkeypatch.setattr(first.validation, "on_one_view", lambda *_: die())
    with pytest.raises(Killed):
        first.train_epoch()
    first.close()
    assert names(tmp_path) == ["epoch-0000-step-000005"]
    again = start(often, tmp_path, tiny_data)
    before_batch(again, 0, 0, die)  # nothing of this epoch is left to train
    run_trial(again)
    assert_same(tmp_path, undisturbed)


def test_a_signal_is_answered_by_a_checkpoint(
    config: TrialConfig, tiny_data: Path, tmp_path: Path, undisturbed: Path
) -> None:
    """Whatever the configuration says of minutes, and twice in one trial; the handler of before is back afterwards."""
    handler = signal.getsignal(signal.SIGTERM)
    first = start(config, tmp_path, tiny_data)
    before_batch(first, 0, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(
        TrialInterruptedError, match=r"asked to stop \(SIGTERM\); it goes on from epoch-0000-step-000002"
    ):
        run_trial(first)
    assert signal.getsignal(signal.SIGTERM) is handler
    second = start(config, tmp_path, tiny_data)
    before_batch(second, 0, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))  # before the second half of a step
    with pytest.raises(TrialInterruptedError, match="epoch-0000-step-000004"):
        run_trial(second)
    assert names(tmp_path) == ["epoch-0000-step-000004"]
    run_trial(start(config, tmp_path, tiny_data))
    assert_same(tmp_path, undisturbed)


def test_another_micro_batch_goes_on_from_the_same_step(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    """As after running out of memory: the same videos are left, and the mean loss of the epoch is over all of them."""
    losses = []
    for directory, micro in ((tmp_path / "whole", 8), (tmp_path / "changed", 2)):
        first = start(changed(tiny_config, "run", micro_batch=8), directory, tiny_data)
        before_batch(first, 0, 2, lambda run=first: run.interruption.request("the test"))
        with pytest.raises(TrialInterruptedError):
            first.train_epoch()
        first.close()
        again = start(changed(tiny_config, "run", micro_batch=micro), directory, tiny_data)
        again._seed_modules = lambda epoch, index: torch.manual_seed(0)  # type: ignore[method-assign]
        losses.append(again.train_epoch()["train_loss"])
        again.close()
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_one_in_the_middle_that_is_damaged_makes_way_for_the_epoch_before_it(
    config: TrialConfig, tiny_data: Path, tmp_path: Path, undisturbed: Path
) -> None:
    first = start(config, tmp_path, tiny_data)
    first.train_epoch()
    before_batch(first, 1, 2, lambda: first.interruption.request("the test"))
    with pytest.raises(TrialInterruptedError):
        first.train_epoch()
    first.close()
    middle = TrialPaths(tmp_path).checkpoints / "epoch-0001-step-000002"
    for file in middle.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DamagedError, match="set aside"):
        start(config, tmp_path, tiny_data)
    assert checkpoint.latest(TrialPaths(tmp_path).checkpoints) == middle.with_name("epoch-0001")
    run_trial(start(config, tmp_path, tiny_data))
    assert_same(tmp_path, undisturbed)


def test_a_checkpoint_of_an_earlier_version_is_read(
    config: TrialConfig, tiny_data: Path, tmp_path: Path, undisturbed: Path
) -> None:
    """It says nothing of what is unreadable, nor of the middle of an epoch."""
    first = start(config, tmp_path, tiny_data)
    save = first.engine.save_checkpoint
    first.engine.save_checkpoint = lambda *args, client_state, **options: save(
        *args, client_state={key: client_state[key] for key in ("epochs", "history")}, **options
    )
    first.train_epoch()
    first.close()
    run_trial(start(config, tmp_path, tiny_data))
    assert_same(tmp_path, undisturbed)

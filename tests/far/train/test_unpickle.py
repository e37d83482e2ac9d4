"""Checkpoints whose pickles would run code, or that are none: refused on every way in, and nothing of them runs."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import farlab
from far.config import TrialConfig
from far.distributed import join_world
from far.errors import DamagedError, WeightsError
from far.store.atomic import write_json
from far.store.paths import TrialPaths
from far.train import checkpoint
from far.train.trial import TrialRun
from far.train.unpickle import DEEPSPEED, loading, weights_only
from far.trained.network import load_trained

pytestmark = pytest.mark.slow  # importing DeepSpeed alone takes seconds

KINDS = [(0, "fp32"), (1, "bf16"), (2, "fp32"), (3, "bf16")]
"""ZeRO stages, each with the files that it writes."""


class Evil:
    """An object whose pickle writes a file where it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return open, (str(self.marker), "w")


def start(config: TrialConfig, directory: Path, data: Path) -> TrialRun:
    return TrialRun(config, {"seed": 0}, TrialPaths(directory), join_world(), data_root=data)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"zero{kind[0]}-{kind[1]}")
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_config: TrialConfig, tiny_data: Path
) -> tuple[TrialConfig, Path]:
    """A trial's folder after its first epoch."""
    stage, precision = request.param
    recipe = tiny_config.recipe.model_copy(update={"zero_stage": stage, "precision": precision})
    config = tiny_config.model_copy(update={"recipe": recipe})
    directory = tmp_path_factory.mktemp("kept")
    write_json(TrialPaths(directory).trial, {"config": config.model_dump(mode="json"), "identity": {"seed": 0}})
    run = start(config, directory, tiny_data)
    run.train_epoch()
    run.close()
    return config, directory


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("checkpoints/epoch-0001/*.pt"))


def test_what_deepspeed_writes_is_read(kept: tuple[TrialConfig, Path], tiny_data: Path, tmp_path: Path) -> None:
    config, directory = kept
    assert load_trained(directory).epochs == 1
    copy = shutil.copytree(directory, tmp_path / "copy")
    again = start(config, copy, tiny_data)
    assert [record["epoch"] for record in again.history] == [0]
    again.train_epoch()
    again.close()


def test_no_file_of_a_checkpoint_runs_code(
    kept: tuple[TrialConfig, Path], tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, directory = kept
    marker = tmp_path / "marker"
    for number in range(len(files(directory))):
        copy = shutil.copytree(directory, tmp_path / f"copy{number}")
        bad = files(copy)[number]
        torch.save({**torch.load(bad, weights_only=False), "more": Evil(marker)}, bad)
        if "model_states" in bad.name or config.recipe.zero_stage == 3:
            with pytest.raises(WeightsError, match="would run code") as caught:
                load_trained(copy)
            assert "\n" not in str(caught.value)
            assert farlab.run(["evaluate", str(copy)]) == 2
            assert capsys.readouterr().err.count("\n") == 1
        with pytest.raises(WeightsError, match=r"asks for '(_?io|__builtin__|builtins)\.open'"):
            start(config, copy, tiny_data)
        assert bad.exists()  # evidence, and nothing is trained anew unasked
        assert not marker.exists()


SPOILED: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "text": lambda path: path.write_text("<html>404</html>"),
    "a list": lambda path: torch.save([1, 2], path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "other keys": lambda path: torch.save({"module": None, "history": "much"}, path),
    "a bare pickle": lambda path: path.write_bytes(pickle.dumps({"module": {}})),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_is_no_checkpoint_is_damaged(how: str, kept: tuple[TrialConfig, Path], tmp_path: Path) -> None:
    _, directory = kept
    copy = shutil.copytree(directory, tmp_path / "copy")
    SPOILED[how](files(copy)[0])
    if files(copy)[0].name.startswith("bf16_zero") and not list(copy.glob("checkpoints/*/zero_pp*")):
        return  # ZeRO 1 and 2: what the optimiser holds is not read
    with pytest.raises(DamagedError) as caught:
        load_trained(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("history", [None, "much", [1], [{"epoch": 0}, {"epoch": 1}], [{"epoch": 7}]])
def test_a_checkpoint_without_its_history_is_set_aside(history: object, tmp_path: Path) -> None:
    class Engine:
        world_size = 1

        def load_checkpoint(self, directory: str, tag: str) -> Any:
            return str(Path(directory) / tag), {"history": history}

    found = tmp_path / "epoch-0001"
    found.mkdir()
    with pytest.raises(DamagedError, match="history"):
        checkpoint.restore(Engine(), found)
    assert found.with_name("epoch-0001.damaged").exists()


def test_a_checkpoint_of_another_network_is_one_line(kept: tuple[TrialConfig, Path], tmp_path: Path) -> None:
    config, directory = kept
    copy = shutil.copytree(directory, tmp_path / "copy")
    other = config.model_dump(mode="json")
    other["model"]["depth"] = 2
    write_json(TrialPaths(copy).trial, {"config": other})
    with pytest.raises(DamagedError, match="does not hold the network"):
        load_trained(copy)


def test_dynamic_loss_scales_of_fp16_are_read(tmp_path: Path) -> None:
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler

    scaler = DynamicLossScaler(
        init_scale=2**7, scale_window=128, min_scale=1, delayed_shift=1, consecutive_hysteresis=False,
        raise_error_at_min_scale=True, dtype=torch.float16,
    )  # fmt: skip
    torch.save({"loss_scaler": scaler}, tmp_path / "x.pt")
    with loading(tmp_path, DEEPSPEED):
        found = torch.load(tmp_path / "x.pt", weights_only=False)["loss_scaler"]
    assert vars(found) == vars(scaler)


def test_the_switch_is_put_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.save({"x": Evil(tmp_path / "marker")}, tmp_path / "x.pt")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # what a user has set for another program
    with pytest.raises(pickle.UnpicklingError), weights_only():
        torch.load(tmp_path / "x.pt", weights_only=False)
    assert not (tmp_path / "marker").exists()
    torch.load(tmp_path / "x.pt", weights_only=False)["x"].close()
    assert (tmp_path / "marker").exists()

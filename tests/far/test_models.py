"""Networks by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import far
from far.architecture.backbones import BACKBONES
from far.architecture.costs import flops
from far.architecture.networks import NETWORKS
from far.config import ModelConfig
from far.errors import ConfigError, DataError, WeightsError

SMALL = {"frames": 8, "size": 32, "tubelet": [2, 8, 8], "depth": 1}


def test_every_network_has_a_name_with_every_backbone() -> None:
    assert {*far.list_models()} == {f"{kind}-{size}" for kind in (*NETWORKS, "vit") for size in BACKBONES}


@pytest.mark.parametrize("name", ["far-small", "far-base", "vit-base"])
def test_the_papers_networks_have_its_sizes(name: str) -> None:
    config = far.model_config(name)
    plain = {"attention": {"global": 1}, "interaction": "none", "classifier": "global-mean"}
    kind, backbone = name.split("-")
    assert config == ModelConfig.model_validate({"backbone": backbone, **(plain if kind == "vit" else {})})
    assert config.clip == [16, 224, 224]
    # FLOPs in G that Tables 5 and 7 of the paper print for its own, and Table 7 for VideoMAE's
    expected = {"far-small": 53.5, "far-base": 176, "vit-base": 180}[name]
    assert flops(config, 174) / 1e9 == pytest.approx(expected, abs=0.6)


def test_a_network_maps_clips_to_logits_and_is_the_trials_own() -> None:
    model = far.create_model("far-tiny", classes=7, heads={"global": 1, "temporal": 2}, interaction="none", **SMALL)
    assert model.config.layouts == [{"global": 2, "temporal": 4}]
    clips = torch.randn(2, 3, 8, 32, 32)
    assert model(clips).shape == (2, 7)
    same = NETWORKS["far"].build(model.config, 7, seed=0).eval()
    torch.testing.assert_close(same(clips), model(clips), rtol=0, atol=0)
    assert far.create_model("far-tiny", classes=7, heads=2, **SMALL).config.heads == 2
    assert far.create_model("vit-tiny", classes=7, **{**SMALL, "size": (32, 48)}).config.clip == [8, 32, 48]


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("far-smal", {}, "Did you mean 'far-small'?"),
        ("small", {}, "unknown model 'small'"),
        (None, {}, "unknown model 'None'"),
        ("far-tiny", {"weights": ""}, "weights: must be a file or a trial's folder, not ''"),
        ("far-tiny", {"weights": 3}, "weights: must be a file or a trial's folder, not 3"),
        ("far-tiny", {"seed": "x"}, "seed: must be a number from 0, not 'x'"),
        ("far-small", {"classes": 0}, "classes: must be a number from 1, not 0"),
        ("far-small", {"interacton": "none"}, "Did you mean 'interaction'?"),
        ("far-small", {"size": 100}, "height 100 is not a multiple of the token's 16"),
        ("far-small", {"size": (1, 2, 3)}, "size: is height and width"),
        ("far-small", {"heads": {"globl": 1}}, "Did you mean 'global'?"),
        ("far-small", {"heads": {"global": 1}, "attention": {"global": 1}}, "heads: says the same as attention"),
        ("far-small", {"frames": 8, "clip": [8, 32, 32]}, "clip: says the same as frames and size"),
        ("vivit-small", {"weights": "x.pth"}, "'vivit-small' cannot start from a checkpoint"),
        ("vivit-small", {"interaction": "none"}, "the network 'vivit' has no such setting"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        far.create_model(name, **{"classes": 5, **settings})  # type: ignore[arg-type]
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("clips", "said"),
    [
        (torch.zeros(1, 3, 4, 32, 32), "float32 of shape (1, 3, 4, 32, 32)"),
        (torch.zeros(3, 8, 32, 32), "shape (B, 3, 8, 32, 32)"),
        (torch.zeros(1, 8, 3, 32, 32), "shape (B, 3, 8, 32, 32)"),
        (torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8), "RGB in [0, 1], minus data.mean, over data.std; not uint8"),
        (np.zeros((1, 3, 8, 32, 32)), "a tensor"),
        ("clip.mp4", "not str"),
    ],
)
def test_clips_of_another_shape_are_refused(clips: object, said: str) -> None:
    model = far.create_model("far-tiny", classes=7, **SMALL)
    with pytest.raises(DataError) as error:
        model(clips)
    assert said in str(error.value)


def test_weights_are_loaded_or_refused(tmp_path: Path) -> None:
    first = far.create_model("far-tiny", classes=7, seed=1, **SMALL)
    torch.save({"model": first.state_dict()}, tmp_path / "own.pth")
    again = far.create_model(
        "far-tiny", classes=7, weights=tmp_path / "own.pth", position_embedding="sinusoid-1d", **SMALL
    )
    clips = torch.randn(1, 3, 8, 32, 32)
    torch.testing.assert_close(again(clips), first(clips))
    assert again.load_report.loaded and not again.load_report.fresh
    with pytest.raises(WeightsError, match="no such file"):
        far.create_model("far-tiny", classes=7, weights=tmp_path / "none.pth", **SMALL)


def test_importing_loads_neither_torch_nor_what_far_does_not_need() -> None:
    code = (
        "import sys, far, farlab; far.list_models(); far.model_config('far-small');"
        "print([name for name in ('torch', 'ray', 'mlflow', 'optuna', 'typer', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

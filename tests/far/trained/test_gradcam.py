"""Grad-CAM: the tap leaves the network alone, and the heat lies where the evidence is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from far.config import TrialConfig
from far.config.trial import ModelConfig
from far.model import vit
from far.trained.gradcam import Clip, explain, tapped
from far.trained.network import Trained

MODEL = {"backbone": "tiny", "clip": [4, 64, 64], "init_scale": 1.0, "depth": 2}


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A network that has learnt to tell a red tubelet from a blue one."""
    config = TrialConfig.model_validate({"model": MODEL})
    torch.manual_seed(0)
    model = vit.build(ModelConfig.model_validate(MODEL), 2, seed=0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(40):
        labels = torch.arange(8) % 2
        clips = torch.stack([square(int(label)) for label in labels])
        loss = torch.nn.functional.cross_entropy(model(clips), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Trained(config, {}, model.eval(), 1, 2)


def square(label: int) -> torch.Tensor:
    """A clip (3, T, H, W) of noise with one tubelet that is red (class 0) or blue (class 1), anywhere."""
    clip = 0.1 * torch.randn(3, 4, 64, 64)
    row, column = (int(torch.randint(0, 4, ())) * 16 for _ in range(2))
    clip[2 * label, :, row : row + 16, column : column + 16] += 3.0
    return clip


def test_the_tap_changes_nothing(trained: Trained) -> None:
    clips = torch.stack([square(0), square(1)])
    expected = trained.model(clips)
    with tapped(trained.model) as (network, _):
        torch.testing.assert_close(network(clips), expected)
    torch.testing.assert_close(trained.model(clips), expected)
    assert not trained.model.blocks[-1]._forward_pre_hooks


def test_heat_lies_on_the_evidence(trained: Trained) -> None:
    torch.manual_seed(1)
    hits = 0
    for label in (0, 1) * 5:
        clip = square(label)
        found = explain(trained, Clip(np.zeros((4, 64, 64, 3), np.uint8), clip[None]))
        assert found.heat.shape == (4, 64, 64)
        assert found.heat.min() >= 0 and found.heat.max() == pytest.approx(1.0)
        assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
        assert found.target == label
        bright = clip.amax(dim=0).numpy() > 1.5
        hits += found.heat[bright].mean() > found.heat[~bright].mean()
    assert hits >= 8


def test_any_class_can_be_asked_for(trained: Trained) -> None:
    clip = Clip(np.zeros((4, 64, 64, 3), np.uint8), square(0)[None])
    assert explain(trained, clip, target=1).target == 1

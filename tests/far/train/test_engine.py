"""How a batch is split over devices and accumulation, and what DeepSpeed is told."""

from __future__ import annotations

import pytest

from far.config.trial import RecipeConfig, RunConfig
from far.errors import ConfigError
from far.train.engine import deepspeed_config, micro_batch, resolve_precision


@pytest.mark.parametrize(
    ("batch", "world", "asked", "device", "expected"),
    [
        (384, 4, 12, "cuda", 12),  # VideoMAE, SSv2, ViT-S on four devices: 8 accumulation steps
        (384, 4, None, "cuda", 48),
        (16, 1, None, "cpu", 16),
        (34, 2, None, "cpu", 1),  # 17 is prime and over the limit of 16
        (34, 1, None, "cpu", 2),
    ],
)
def test_micro_batch(batch: int, world: int, asked: int | None, device: str, expected: int) -> None:
    recipe, run = RecipeConfig(batch_size=batch), RunConfig(micro_batch=asked)
    micro = micro_batch(recipe, run, world, device)
    assert micro == expected
    settings = deepspeed_config(recipe, micro, world, "fp32")
    assert micro * world * settings["gradient_accumulation_steps"] == settings["train_batch_size"] == batch


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"recipe.batch_size: a batch of 10 .* 4 devices"):
        micro_batch(RecipeConfig(batch_size=10), RunConfig(), 4, "cpu")
    with pytest.raises(ConfigError, match=r"run.micro_batch: 12 videos .* of 5.*Did you mean|valid: 1, 2, 3, 4, 6, 12"):
        micro_batch(RecipeConfig(batch_size=12), RunConfig(micro_batch=5), 1, "cpu")


def test_precision_by_device() -> None:
    assert resolve_precision("auto", "cpu") == "fp32"
    assert resolve_precision("bf16", "cpu") == "bf16"
    with pytest.raises(ConfigError, match="fp16 cannot be trained on a CPU"):
        resolve_precision("fp16", "cpu")


def test_the_loss_is_divided_by_nobody_but_deepspeed() -> None:
    settings = deepspeed_config(RecipeConfig(batch_size=8), 2, 1, "fp32")
    assert settings["gradient_accumulation_steps"] == 4
    assert "prescale_gradients" not in settings

"""Every precision x ZeRO stage x accumulation that can be configured computes what plain torch computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from far.config.trial import RecipeConfig
from far.distributed import World, join_world
from far.train.engine import dtype_of, make_engine, release, zero_stage

pytestmark = pytest.mark.slow  # importing DeepSpeed alone takes seconds

STEPS = 4
BATCH = 12
ROUNDING = {"fp32": 1e-5, "bf16": 0.03, "fp16": 0.01}
"""Relative error of gradients and of weights' changes that the precision's rounding explains."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """This process alone; DeepSpeed refuses fp16 on a CPU, though all that it does there works."""
    made = join_world()
    from deepspeed.accelerator import get_accelerator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(get_accelerator(), "is_fp16_supported", lambda: True)
        yield made


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 7))


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(BATCH, 24, generator=generator), torch.randint(0, 7, (BATCH,), generator=generator))
        for _ in range(STEPS)
    ]


def groups(model: nn.Module) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return [
        {"params": matrices, "lr_scale": 1.0, "weight_decay": 0.05, "name": "matrices"},
        {"params": vectors, "lr_scale": 0.5, "weight_decay": 0.0, "name": "vectors"},
    ]


def plainly(recipe: RecipeConfig) -> tuple[list[float], list[Tensor]]:
    """Return the norm of each step's clipped gradients, and the weights in the end, of torch alone in fp32."""
    model = network()
    optimizer = torch.optim.AdamW(groups(model), lr=recipe.lr, betas=(0.9, 0.999))
    norms = []
    for clips, labels in batches():
        optimizer.zero_grad()
        F.cross_entropy(model(clips), labels).backward()
        if recipe.gradient_clipping:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clipping)
        norms.append(float(torch.stack([p.grad.norm() for p in model.parameters()]).norm()))
        optimizer.step()
    return norms, [p.detach() for p in model.parameters()]


def by_deepspeed(
    recipe: RecipeConfig, micro: int, world: World, scale_up: float = 1.0
) -> tuple[list[float], list[Tensor], int]:
    """The same as the engine of a trial does it, and the steps that it skipped."""
    from deepspeed.utils import safe_get_full_fp32_param

    model = network()
    precision = recipe.precision
    engine = make_engine(model, groups(model), recipe, micro, precision, world)
    inner = engine.optimizer
    while isinstance(getattr(inner, "optimizer", None), torch.optim.Optimizer):
        inner = inner.optimizer
    squares: list[float] = []
    plain_step = inner.step

    def step(*args: Any, **kwargs: Any) -> Any:  # ZeRO 3 makes one call for each part of the parameters
        grads = [p.grad for group in inner.param_groups for p in group["params"] if p.grad is not None]
        squares.extend(float(grad.double().square().sum()) for grad in grads)
        return plain_step(*args, **kwargs)

    inner.step = step
    norms = []
    for clips, labels in batches():
        squares.clear()
        for start in range(0, BATCH, micro):
            part = slice(start, start + micro)
            loss = F.cross_entropy(engine(clips[part].to(dtype_of(precision))).float(), labels[part])
            engine.backward(loss * scale_up)
            engine.step()
        norms.append(sum(squares) ** 0.5)
    if precision == "fp32" and not recipe.zero_stage:
        weights = [p.detach().clone() for p in model.parameters()]
    elif recipe.zero_stage or precision == "fp16":
        weights = [safe_get_full_fp32_param(p).clone() for p in model.parameters()]
    else:
        pairs = zip(engine.optimizer.fp16_groups, engine.optimizer.fp32_groups, strict=True)
        wholes = {p: whole.detach().clone() for group in pairs for p, whole in zip(*group, strict=True)}
        weights = [wholes[p] for p in model.parameters()]
    skipped = engine.skipped_steps
    release(engine)
    return norms, weights, skipped


@pytest.mark.parametrize(("micro", "clipping"), [(12, 0.0), (4, 0.3)])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_gradients_and_weights_are_those_of_plain_torch(
    world: World, precision: str, stage: int, micro: int, clipping: float
) -> None:
    recipe = RecipeConfig(batch_size=BATCH, lr=1e-3, precision=precision, zero_stage=stage, gradient_clipping=clipping)
    expected_norms, expected = plainly(recipe)
    norms, weights, skipped = by_deepspeed(recipe, micro, world)
    assert skipped == 0
    assert norms == pytest.approx(expected_norms, rel=ROUNDING[precision])
    start = list(copy.deepcopy(network()).parameters())
    moved, should = (
        torch.cat([(w - s).detach().flatten() for w, s in zip(end, start, strict=True)]) for end in (weights, expected)
    )
    assert float((moved - should).norm() / should.norm()) < 3 * ROUNDING[precision]


def test_fp16_runs_at_stage_1_at_least() -> None:
    assert [zero_stage(RecipeConfig(zero_stage=stage), "fp16") for stage in (0, 1, 2, 3)] == [1, 1, 2, 3]
    assert [zero_stage(RecipeConfig(zero_stage=stage), "bf16") for stage in (0, 1, 2, 3)] == [0, 1, 2, 3]


def test_a_step_that_overflows_is_skipped_and_counted(world: World) -> None:
    recipe = RecipeConfig(batch_size=BATCH, lr=1e-3, precision="fp16")
    _, weights, skipped = by_deepspeed(recipe, BATCH, world, scale_up=1e7)
    assert skipped == STEPS
    for ours, start in zip(weights, network().parameters(), strict=True):
        torch.testing.assert_close(ours, start.detach(), rtol=1e-3, atol=1e-3)

"""Exact forms beside the usual ones: convolutions without Conv3d, attention written out, logits in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from far.architecture.interactions import INTERACTIONS
from far.errors import ConfigError
from far.model import attention, convolution
from far.model.interaction import check
from far.model.vit import build
from far.testing.conformance import EVEN, ODD, built, clips_of, section


def with_gradients(y: Tensor, *inputs: Tensor) -> list[Tensor]:
    upstream = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    return [y, *torch.autograd.grad((y * upstream).sum(), inputs)]


def assert_equal_to_rounding(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= 1e-12 * b.norm()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (5, 1, 3), (1, 3, 1)])
def test_the_convolution_without_conv3d_is_the_same_sum(kernel: tuple[int, ...], groups: int, bias: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 4, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(18, 12 // groups, *kernel, dtype=torch.float64, requires_grad=True)
    given = [torch.randn(18, dtype=torch.float64, requires_grad=True)] if bias else [None]
    inputs = [each for each in (x, weight, *given) if each is not None]
    one, other = (form(x, weight, *given, groups=groups) for form in (convolution.conv3d, convolution.stacked_conv2d))
    assert_equal_to_rounding(with_gradients(other, *inputs), with_gradients(one, *inputs))


@pytest.mark.parametrize("clip", [EVEN, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("interaction", [name for name in INTERACTIONS if name != "none"])
def test_every_interaction_is_the_same_without_conv3d(
    interaction: str, clip: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = section(clip, interaction=interaction)
    net, clips = built(model).double().train(), clips_of(model).double()
    usual = with_gradients(net(clips), *net.parameters())
    monkeypatch.setattr(convolution, "conv3d", convolution.stacked_conv2d)
    assert_equal_to_rounding(with_gradients(net(clips), *net.parameters()), usual)


@pytest.mark.parametrize(
    ("dtype", "cudnn", "wrong"),
    [
        (torch.bfloat16, 90701, False), (torch.bfloat16, 91002, True), (torch.float16, 91400, True),
        (torch.bfloat16, 91500, False), (torch.float32, 91500, True), (torch.float32, 91600, False),
        (torch.float64, 91002, False), (torch.bfloat16, None, False),
    ],
)  # fmt: skip
def test_releases_of_cudnn_whose_conv3d_is_wrong_are_known(dtype: torch.dtype, cudnn: int | None, wrong: bool) -> None:
    assert convolution.conv3d_is_wrong(dtype, cudnn) is wrong


@pytest.mark.parametrize("interaction", [name for name in INTERACTIONS if name != "none"])
@pytest.mark.parametrize("wrong", ["forward", "backward", None])
def test_a_device_whose_convolutions_are_wrong_is_refused(
    wrong: str | None, interaction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(x: Tensor, *args: Any) -> Tensor:
        y = convolution.convolve(x, *args)
        if x.dtype == torch.float64 or wrong is None:
            return y
        return y + (y[:, :1] if wrong == "forward" else (y - y.detach()))

    monkeypatch.setattr("far.model.interaction.convolve", broken)
    branch = build(section(EVEN, interaction=interaction), 5, seed=0).blocks[0].interaction
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        if wrong is None:
            check(branch.conv, branch.grid, torch.device("cpu"), dtype)
            continue
        with pytest.raises(ConfigError, match=r"3-D convolutions in .* wrong on this device .*cuDNN"):
            check(branch.conv, branch.grid, torch.device("cpu"), dtype)


def test_attention_written_out_is_the_same_attention() -> None:
    qkv = [torch.randn(6, 2, 8, 16, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    ours, theirs = attention.attend_written_out(*qkv), attention.attend(*qkv)
    assert_equal_to_rounding(with_gradients(ours, *qkv), with_gradients(theirs, *qkv))


def test_logits_of_half_precision_do_not_tie() -> None:
    """Logits near each other, which are equal once they are rounded to bf16, are told apart."""
    net = build(section(EVEN, init_scale=0.01), 400, seed=0).bfloat16()
    torch.nn.init.ones_(net.head.bias)
    logits = net(clips_of(net.config, 4).bfloat16())
    assert all(len(row.unique()) > 390 for row in logits)
    assert all(len(row.unique()) < 300 for row in logits.bfloat16())

"""Every attention kernel and both ways of a linear layer give the same numbers and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from far.model import blocked, kernels, linear
from far.model.kernels import KERNELS


@pytest.fixture(params=[False, True], ids=["mkl", "onednn"])
def by_onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch does not carry oneDNN")
    monkeypatch.setattr(linear, "onednn_is_faster", lambda: request.param)
    return bool(request.param)


def inputs(tokens: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    made = [torch.randn(2, tokens, 3, 16, generator=rng).transpose(1, 2).to(dtype) for _ in range(3)]
    return [x.requires_grad_() for x in made]


@pytest.mark.parametrize("tokens", [1, 7, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_agree(name: str, tokens: int, by_onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked, "SCORES", 1)
    monkeypatch.setattr(kernels, "PIECE", 40_000)
    q, k, v = inputs(tokens)
    upstream = torch.randn(2, 3, tokens, 16, generator=torch.Generator().manual_seed(1))
    dense = torch.softmax(q.double() @ k.double().transpose(2, 3) / 4, dim=-1) @ v.double()
    ours = KERNELS[name](q, k, v)
    torch.testing.assert_close(ours.double(), dense, rtol=1e-4, atol=1e-5)
    expected = torch.autograd.grad((dense * upstream).sum(), (q, k, v))
    for a, b in zip(torch.autograd.grad((ours * upstream).sum(), (q, k, v)), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_in_bf16_are_as_good_as_bf16_is(name: str) -> None:
    q, k, v = inputs(50, torch.bfloat16)
    dense = torch.softmax(q.float() @ k.float().transpose(2, 3) / 4, dim=-1) @ v.float()
    torch.testing.assert_close(KERNELS[name](q, k, v).float(), dense, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("shape", [(5, 24), (2, 3, 24), (2, 1, 4, 24)])
def test_linear_layers_agree(shape: tuple[int, ...], by_onednn: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=rng).requires_grad_()
    layer = linear.LinearGelu(24, 40)
    expected = F.gelu(F.linear(x, layer.weight, layer.bias))
    wanted = [x, layer.weight, layer.bias]
    ours = layer(x)
    torch.testing.assert_close(ours, expected)
    upstream = torch.randn(expected.shape, generator=rng)
    for a, b in zip(
        torch.autograd.grad((ours * upstream).sum(), wanted),
        torch.autograd.grad((expected * upstream).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(layer(x.transpose(0, -2).transpose(0, -2)), expected)


def test_product_and_gelu_at_once_in_bf16_are_as_good_as_one_after_the_other() -> None:
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(0)).bfloat16()
    layer = linear.LinearGelu(24, 40).bfloat16()
    exact = F.gelu(F.linear(x.double(), layer.weight.double(), layer.bias.double()))
    with torch.no_grad():
        torch.testing.assert_close(layer(x).double(), exact, rtol=0.02, atol=0.01)
    assert layer(x).requires_grad


def test_the_choice_depends_on_device_type_and_shape() -> None:
    def named(*shape: int, dtype: torch.dtype) -> str:
        chosen = kernels.choose(torch.empty(shape, dtype=dtype, device="cpu"))
        return next(name for name, kernel in KERNELS.items() if kernel is chosen)

    assert named(1, 6, 1568, 64, dtype=torch.bfloat16) == "explicit"
    assert named(64, 6, 1568, 64, dtype=torch.bfloat16) == "blocked"
    assert named(1, 6, 64, 16, dtype=torch.float32) == "fused"
    assert kernels.choose(torch.empty(1, 6, 1568, 64, device="meta", dtype=torch.bfloat16)) is kernels.fused

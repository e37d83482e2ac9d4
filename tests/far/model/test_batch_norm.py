"""BatchNorm beside PyTorch's own, in one process and in two."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from far.model.batch_norm import BatchNorm

CHANNELS = 6


def random_norm() -> tuple[BatchNorm, nn.BatchNorm1d]:
    rng = torch.Generator().manual_seed(0)
    ours, theirs = BatchNorm(CHANNELS), nn.BatchNorm1d(CHANNELS)
    for name, parameter in theirs.named_parameters():
        parameter.data = torch.randn(CHANNELS, generator=rng)
        ours.get_parameter(name).data = parameter.data.clone()
    return ours, theirs


def tokens(rows: int = 4, offset: float = 3.0) -> Tensor:
    return offset + 2 * torch.randn(rows, 5, CHANNELS, generator=torch.Generator().manual_seed(1))


def test_training_and_evaluation_are_pytorchs() -> None:
    ours, theirs = random_norm()
    for step in range(3):
        x = tokens() * (step + 1)
        mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        a, b = ours(mine), theirs(other.flatten(0, 1)).view_as(x)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        for out in (a, b):
            (out.sin() * torch.arange(CHANNELS)).sum().backward()
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-3, atol=1e-4)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
    x = tokens(offset=-1.0)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x.flatten(0, 1)).view_as(x))
    assert torch.equal(ours(x[:1]), ours(x)[:1])  # in evaluation nobody depends on the others


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_running_statistics_keep_their_bits(dtype: torch.dtype) -> None:
    ours, _ = random_norm()
    ours(tokens())
    before = {name: buffer.clone() for name, buffer in ours.named_buffers()}
    low = copy.deepcopy(ours).to(dtype)
    assert low.weight.dtype == dtype
    assert all(torch.equal(buffer, before[name]) for name, buffer in low.named_buffers())
    assert low(tokens().to(dtype)).dtype == dtype
    assert low.eval()(tokens().to(dtype)).dtype == dtype
    assert ours.double().running_mean.dtype == torch.float64


RANK = """
import sys, torch
from torch import distributed
from far.model.batch_norm import BatchNorm
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", store=distributed.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
given = torch.load(f"{folder}/given.pt")
norm = BatchNorm(given["x"].shape[-1])
norm.load_state_dict(given["norm"])
x = given["x"][[slice(0, 1), slice(1, None)][rank]].requires_grad_()
y = norm(x)
(y.sin() * given["factors"]).sum().backward()
made = {"y": y.detach(), "grad": x.grad, "weight": norm.weight.grad, "norm": norm.state_dict()}
torch.save(made, f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_have_the_statistics_of_all_their_clips(tmp_path: Path) -> None:
    """One clip here and three there are normalised, and have gradients, as four in one process."""
    ours, _ = random_norm()
    factors, x = torch.arange(CHANNELS), tokens(offset=30.0)
    torch.save({"x": x, "norm": ours.state_dict(), "factors": factors}, tmp_path / "given.pt")
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in ranks] == [0, 0]
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    x.requires_grad_()
    y = ours(x)
    (y.sin() * factors).sum().backward()
    torch.testing.assert_close(torch.cat([part["y"] for part in parts]), y.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.cat([part["grad"] for part in parts]), x.grad, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(sum(part["weight"] for part in parts), ours.weight.grad, rtol=1e-3, atol=1e-3)
    for part in parts:
        for name, value in ours.state_dict().items():
            torch.testing.assert_close(part["norm"][name], value)

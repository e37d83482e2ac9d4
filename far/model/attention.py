"""Head-split attention: each slice of heads attends within the groups of its own pattern (paper, Eq. 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from far.model.layout import Run


class QKV(nn.Linear):
    """One linear layer D -> 3D whose keys have no bias, as in VideoMAE."""

    def forward(self, x: Tensor, q_bias: Tensor, v_bias: Tensor) -> Tensor:  # type: ignore[override]
        """Map (..., D) to (..., 3D)."""
        return F.linear(x, self.weight, torch.cat([q_bias, torch.zeros_like(v_bias), v_bias]))


class HeadSplitAttention(nn.Module):
    """Multi-head attention with one pattern per slice of heads.

    Args:
        width: channels D.
        slices: number of heads and the pattern's runs of groups, in head order.
    """

    def __init__(self, width: int, slices: list[tuple[int, tuple[Run, ...]]]) -> None:
        super().__init__()
        self.slices = slices
        self.heads = sum(heads for heads, _ in slices)
        self.q_bias = nn.Parameter(torch.empty(width))
        self.v_bias = nn.Parameter(torch.empty(width))
        self.qkv = QKV(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map stored tokens (B, N, D) to (B, N, D)."""
        qkv = self.qkv(x, self.q_bias, self.v_bias).unflatten(-1, (3, self.heads, -1))  # B, N, 3, heads, d
        out, first = [], 0
        for heads, runs in self.slices:
            part = qkv[:, :, :, first : first + heads]
            out.append(
                torch.cat([_within(part, run) for run in runs], dim=1) if runs[1:] else _within(part, runs[0])
            )
            first += heads
        return self.proj(torch.cat(out, dim=2).flatten(2) if out[1:] else out[0].flatten(2))


def _within(qkv: Tensor, run: Run) -> Tensor:
    """Attend within each group of a run: (B, N, 3, heads, d) to (B, groups * size, heads, d)."""
    groups = qkv[:, run.start : run.stop].unflatten(1, (run.groups, run.size))  # B, G, S, 3, heads, d
    q, k, v = groups.permute(3, 0, 1, 4, 2, 5).flatten(1, 2).unbind(0)  # B * G, heads, S, d
    y = F.scaled_dot_product_attention(q, k, v)
    return y.unflatten(0, (-1, run.groups)).transpose(2, 3).flatten(1, 2)

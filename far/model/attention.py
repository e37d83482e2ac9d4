"""Head-split attention: each slice of heads attends within the groups of its own pattern (paper, Eq. 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from far.architecture.token_order import Grouping, Segment
from far.model.permutation import Permutation


class QKV(nn.Linear):
    """One linear layer D -> 3D whose keys have no bias, as in VideoMAE."""

    def forward(self, x: Tensor, q_bias: Tensor, v_bias: Tensor) -> Tensor:  # type: ignore[override]
        """Map (..., D) to (..., 3D)."""
        return F.linear(x, self.weight, torch.cat([q_bias, torch.zeros_like(v_bias), v_bias]))


class GroupedAttention(nn.Module):
    """Attention of some heads, each token within its group."""

    def __init__(self, heads: int, grouping: Grouping) -> None:
        super().__init__()
        self.heads = heads
        self.segments = grouping.segments
        self.gather = None if grouping.gather is None else Permutation(grouping.gather)

    def forward(self, qkv: Tensor) -> Tensor:
        """Map (B, N, 3, heads, d) to (B, N, heads, d)."""
        if self.gather is not None:
            qkv = self.gather(qkv)
        parts = [attend_within(qkv, segment) for segment in self.segments]
        y = torch.cat(parts, dim=1) if parts[1:] else parts[0]
        return y if self.gather is None else self.gather.undo(y)


class HeadSplitAttention(nn.Module):
    """Multi-head attention with one pattern per slice of heads.

    Args:
        width: channels D.
        slices: number of heads and the pattern's grouping, in head order.
    """

    def __init__(self, width: int, slices: list[tuple[int, Grouping]]) -> None:
        super().__init__()
        self.heads = [heads for heads, _ in slices]
        self.q_bias = nn.Parameter(torch.empty(width))
        self.v_bias = nn.Parameter(torch.empty(width))
        self.qkv = QKV(width, 3 * width, bias=False)
        self.slices = nn.ModuleList(GroupedAttention(heads, grouping) for heads, grouping in slices)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map stored tokens (B, N, D) to (B, N, D)."""
        qkv = self.qkv(x, self.q_bias, self.v_bias).unflatten(-1, (3, sum(self.heads), -1))
        parts = [attention(part) for attention, part in zip(self.slices, qkv.split(self.heads, dim=3), strict=True)]
        return self.proj((torch.cat(parts, dim=2) if parts[1:] else parts[0]).flatten(2))


FEW_TOKENS = 32
"""Up to this many tokens per group, attention on a GPU is written out. Flash attention computes tiles of 64 or 128
tokens: for groups of 8, on an H200, the written-out products take two thirds of the time
(``docs/performance.md``). Nor do they have its limit of 65,535 groups per call, which some releases
keep (pytorch#142228)."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of queries, keys and values, each (B, heads, S, d), to (B, heads, S, d)."""
    if q.is_cuda and q.shape[-2] <= FEW_TOKENS:
        return attend_written_out(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def attend_written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """See :func:`attend`; all scores (B, heads, S, S) in memory."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return scores.softmax(dim=-1) @ v


def attend_within(qkv: Tensor, segment: Segment) -> Tensor:
    """Attend within each group of a run: (B, N, 3, heads, d) to (B, groups * size, heads, d)."""
    groups = qkv[:, segment.start : segment.stop].unflatten(1, (segment.groups, segment.size))  # B, G, S, 3, heads, d
    q, k, v = groups.permute(3, 0, 1, 4, 2, 5).flatten(1, 2).unbind(0)  # B * G, heads, S, d
    y = attend(q, k, v)
    return y.unflatten(0, (-1, segment.groups)).transpose(2, 3).flatten(1, 2)

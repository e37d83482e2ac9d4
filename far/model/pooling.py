"""Means over groups of tokens, which the classifier sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from far.architecture.token_order import Grouping
from far.model.permutation import Permutation


class GroupMean(nn.Module):
    """The mean over each group of tokens (paper, Figure 4)."""

    def __init__(self, grouping: Grouping) -> None:
        super().__init__()
        self.segments = grouping.segments
        self.gather = None if grouping.gather is None else Permutation(grouping.gather)

    def forward(self, x: Tensor) -> Tensor:
        """Map stored tokens (B, N, D) to (B, groups, D)."""
        if self.gather is not None:
            x = self.gather(x)
        means = [
            x[:, segment.start : segment.stop].unflatten(1, (segment.groups, segment.size)).mean(2)
            for segment in self.segments
        ]
        return torch.cat(means, dim=1) if means[1:] else means[0]

"""Classifiers: over which groups of tokens the final features are averaged (paper, Figure 4, Table 4).

The means of the groups share one LayerNorm, are concatenated, and feed one linear layer; the global mean is
the same thing over a single group.
"""

from __future__ import annotations

from far.registry import Registry

CLASSIFIERS: Registry[str] = Registry("classifier")
"""The attention pattern whose groups are averaged."""
CLASSIFIERS.register("global-mean")("global")
CLASSIFIERS.register("group-mean")("sparse-dense")

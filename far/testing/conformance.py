"""What every attention pattern, interaction, classifier and position embedding must do in a network.

Each check raises ``AssertionError`` with what differs. :func:`variants` follows the registries: what is registered is
checked, by the tests here and by whoever has added it.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from far.architecture import costs
from far.architecture.classifiers import CLASSIFIERS
from far.architecture.far import FarConfig
from far.architecture.interactions import INTERACTIONS, POSITIONS
from far.architecture.networks import NETWORKS, ModelConfig
from far.architecture.patterns import PATTERNS
from far.architecture.position_embeddings import EMBEDDINGS
from far.model import attention
from far.model.drop_path import BRANCHES
from far.model.vit import VideoTransformer, build

EVEN, ODD = [4, 32, 48], [6, 56, 56]
"""Clips whose grids are 2x4x6 and 3x7x7."""
CLASSES = 5
Variant = dict[str, Any]
"""Settings of the model section."""


def variants() -> list[Variant]:
    """Return what is checked: every variant of every axis, every two patterns together, and some layouts."""
    layouts: list[Any] = [
        *({name: 1} for name in PATTERNS),
        *({a: 1, b: 2} for a, b in itertools.combinations(PATTERNS, 2)),
        {"global": 2, "sparse-dense": 2, "temporal": 2},
        [{"global": 1}, {"sparse-dense": 1}],
    ]
    return [
        *({"attention": layout} for layout in layouts),
        *({"interaction": name, "interaction_position": at} for name in INTERACTIONS for at in POSITIONS),
        *({"classifier": name} for name in CLASSIFIERS),
        *({"position_embedding": name} for name in EMBEDDINGS),
    ]


def compiled_variants() -> list[Variant]:
    """Return few variants that hold every entry of every registry that a forward pass depends on."""
    return [
        *({"interaction": name, "attention": {"global": 1}} for name in INTERACTIONS),
        *({"classifier": name, "attention": {"global": 1}, "interaction": "none"} for name in CLASSIFIERS),
        {"attention": dict.fromkeys(PATTERNS, 1), "heads": len(PATTERNS), "width": 16 * len(PATTERNS)},
    ]


def section(clip: list[int], **changes: Any) -> FarConfig:
    """Return the section of a small network."""
    base = {"backbone": "tiny", "depth": 2, "tubelet": [2, 8, 8], "init_scale": 1.0}
    return FarConfig.model_validate({**base, "clip": clip, **changes})


def clips_of(model: FarConfig, batch: int = 2) -> Tensor:
    """Return clips of noise, always the same."""
    return torch.randn(batch, 3, *model.clip, generator=torch.Generator().manual_seed(0))


def built(model: FarConfig) -> VideoTransformer:
    """Return a network to be tested: where a norm has running statistics, with such as it has after a step."""
    net = build(model, CLASSES, seed=0)
    if model.needs_the_batch:
        with torch.no_grad():
            net(clips_of(model))
    return net.eval()


def dense_logits(net: VideoTransformer, clips: Tensor) -> Tensor:
    """Compute a network's logits plainly: raster order, explicit masks, a loop over heads."""
    model, weights, buffers = net.config, dict(net.named_parameters()), dict(net.named_buffers())
    width, _, heads = model.sizes

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    def own(prefix: str) -> dict[str, Tensor]:
        both = {**weights, **buffers}
        return {name.removeprefix(f"{prefix}."): each for name, each in both.items() if name.startswith(f"{prefix}.")}

    def attention(x: Tensor, block: str, layout: dict[str, int]) -> Tensor:
        x = norm(x, f"{block}.norm1")
        q, k, v = (x @ weights[f"{block}.attn.qkv.weight"].T).chunk(3, dim=-1)
        q, v = q + weights[f"{block}.attn.q_bias"], v + weights[f"{block}.attn.v_bias"]
        names = [name for name, n in layout.items() for _ in range(n)]
        out = []
        for name, qh, kh, vh in zip(names, *(t.chunk(heads, dim=-1) for t in (q, k, v)), strict=True):
            labels = torch.tensor(PATTERNS[name](model.grid).ravel())
            scores = qh @ kh.transpose(1, 2) / qh.shape[-1] ** 0.5
            scores = scores.masked_fill(labels[:, None] != labels[None], float("-inf"))
            out.append(scores.softmax(-1) @ vh)
        return linear(torch.cat(out, dim=-1), f"{block}.attn.proj")

    def mlp(x: Tensor, block: str, layout: dict[str, int]) -> Tensor:
        return linear(F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")), f"{block}.mlp.fc2")

    def interaction(x: Tensor, block: str, layout: dict[str, int]) -> Tensor:
        branch: Tensor = INTERACTIONS[model.interaction].reference(x, own(f"{block}.interaction"), model)
        return branch

    branches: list[Callable[[Tensor, str, dict[str, int]], Tensor]] = [attention, mlp]
    if hasattr(net.blocks[0], "interaction"):
        branches.insert(POSITIONS[model.interaction_position], interaction)
    embed = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
    x = F.conv3d(clips, *embed, stride=tuple(model.tubelet)).flatten(2).transpose(1, 2)
    x = x + (net.pos_embed if EMBEDDINGS[model.embedding].is_learned else net.positions)
    for index, layout in enumerate(model.layouts):
        for branch in branches:
            x = x + branch(x, f"blocks.{index}", layout)
    features = CLASSIFIERS[model.classifier].reference(x, own("pool"), model)
    return linear(norm(features, "fc_norm").flatten(1), "head")


def check_dense_form(model: FarConfig) -> None:
    """Check that logits and gradients are those of the dense form, in double precision."""
    net = built(model).double()
    clips = clips_of(model).double().requires_grad_()
    upstream = torch.randn(2, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inputs = [clips, *net.parameters()]
    ours, theirs = net(clips), dense_logits(net, clips)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for a, b in zip(
        torch.autograd.grad((ours * upstream).sum(), inputs),
        torch.autograd.grad((theirs * upstream).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def check_parameters_and_types(model: FarConfig) -> None:
    """Check the count of parameters, a batch of one, half precisions, and a round trip of the state dict."""
    net = built(model)
    found, counted = sum(p.numel() for p in net.parameters()), costs.parameters(model, CLASSES)
    assert found == counted, f"has {found} parameters, and its count says {counted}"
    clips = clips_of(model)
    both = net(clips)
    assert both.dtype == torch.float32 and both.shape == (2, CLASSES)
    torch.testing.assert_close(net(clips[:1]), both[:1], rtol=1e-4, atol=1e-5)
    for dtype, tolerance in ((torch.bfloat16, 0.05), (torch.float16, 0.01)):
        low = copy.deepcopy(net).to(dtype)(clips.to(dtype))
        assert low.dtype == torch.float32
        assert (low - both).abs().max() < tolerance * both.abs().max() + tolerance, dtype
    other = build(model, CLASSES, seed=1).eval()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(clips), both), "another network with its state dict has other logits"


def check_flops(model: ModelConfig) -> None:
    """Check the count of FLOPs against fvcore's, which counts what runs (its convention: docs/model.md).

    Raises:
        ImportError: fvcore is not installed.
    """
    from fvcore.nn import FlopCountAnalysis  # noqa: PLC0415  (a development's dependency)

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    net = NETWORKS[model.network].build(model, CLASSES, seed=0).eval()
    for module in net.modules():
        if hasattr(module, "set_attn_implementation"):
            module.set_attn_implementation("eager")  # fvcore does not see into fused attention
    plain = mock.patch.object(attention, "attend", _written_out), mock.patch.object(F, "linear", torch._C._nn.linear)
    with torch.no_grad(), plain[0], plain[1]:  # ZeRO 3 leaves a linear layer that is not counted
        analysis = FlopCountAnalysis(net, torch.zeros(1, 3, *model.clip))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        found = int(analysis.total())
    counted = costs.flops(model, CLASSES)
    assert found == counted, f"runs {found} FLOPs by fvcore's count, and its own count says {counted}"


def _written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute attention as two products that a counter of FLOPs sees."""
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1) @ v


def gradients(net: nn.Module, model: FarConfig) -> dict[str, Tensor]:
    """Return the gradients of a step with drop path."""
    keep = torch.tensor([1.0, 0.0, 2.0][: len(BRANCHES)]).expand(2, model.sizes[1], len(BRANCHES))
    net(clips_of(model), keep).square().sum().backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Check that two networks have the same gradients, up to rounding."""
    assert set(ours) == set(theirs)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def check_recomputation(model: FarConfig) -> None:
    """Check that activation checkpointing gives the same gradients."""
    plain, again = (build(model, CLASSES, seed=0, activation_checkpointing=each) for each in (False, True))
    same_gradients(gradients(again, model), gradients(plain, model))


def check_compilation(model: FarConfig) -> None:
    """Check that the whole network is one compiled graph with the same gradients and names."""
    plain, compiled = build(model, CLASSES, seed=0), build(model, CLASSES, seed=0)
    compiled.compile(backend="aot_eager", fullgraph=True)
    same_gradients(gradients(compiled, model), gradients(plain, model))
    assert list(compiled.state_dict()) == list(plain.state_dict())
    torch._dynamo.reset()

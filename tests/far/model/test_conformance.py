"""What every variant of every registry must do; a new entry is picked up here by itself."""

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from far.architecture import costs
from far.architecture.classifiers import CLASSIFIERS
from far.architecture.interactions import INTERACTIONS, POSITIONS
from far.architecture.patterns import PATTERNS
from far.architecture.position_embeddings import EMBEDDINGS
from far.config.trial import ModelConfig
from far.model.vit import VideoTransformer, build

EVEN, ODD = [4, 32, 48], [6, 56, 56]  # grids 2x4x6 and 3x7x7
LAYOUTS: list[Any] = [
    *({name: 1} for name in PATTERNS),
    *({a: 1, b: 2} for a, b in itertools.combinations(PATTERNS, 2)),
    {"global": 2, "sparse-dense": 2, "temporal": 2},
    [{"global": 1}, {"sparse-dense": 1}],
]
VARIANTS: list[dict[str, Any]] = [
    *({"attention": layout} for layout in LAYOUTS),
    *({"interaction": name, "interaction_position": at} for name in INTERACTIONS for at in POSITIONS),
    *({"classifier": name} for name in CLASSIFIERS),
    *({"position_embedding": name} for name in EMBEDDINGS),
]


def ids(values: list[Any]) -> list[str]:
    return [str(value).replace("'", "").replace(" ", "") for value in values]


def config(clip: list[int], **changes: Any) -> ModelConfig:
    base = {"backbone": "tiny", "depth": 2, "tubelet": [2, 8, 8], "init_scale": 1.0}
    return ModelConfig.model_validate({**base, "clip": clip, **changes})


def built(model: ModelConfig, **options: Any) -> VideoTransformer:
    """A network as it is tested: where a norm has running statistics, with such as it has after a step of training."""
    net = build(model, 5, **{"seed": 0, **options})
    if model.needs_the_batch:
        with torch.no_grad():
            net(clips_of(model))
    return net.eval()


def clips_of(model: ModelConfig, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *model.clip, generator=torch.Generator().manual_seed(0))


def dense_logits(net: VideoTransformer, clips: Tensor) -> Tensor:
    """The same network written out plainly: raster order, explicit masks, a loop over heads."""
    model, weights, buffers = net.config, dict(net.named_parameters()), dict(net.named_buffers())
    width, _, heads = model.sizes

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

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

    def own(prefix: str) -> dict[str, Tensor]:
        both = {**weights, **buffers}
        return {name.removeprefix(f"{prefix}."): each for name, each in both.items() if name.startswith(f"{prefix}.")}

    def interaction(x: Tensor, block: str, layout: dict[str, int]) -> Tensor:
        return INTERACTIONS[model.interaction].reference(x, own(f"{block}.interaction"), model)

    branches = [attention, mlp]
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


@pytest.mark.parametrize("clip", [EVEN, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("variant", VARIANTS, ids=ids(VARIANTS))
def test_grouped_equals_masked_dense_forward_and_backward(variant: dict[str, Any], clip: list[int]) -> None:
    model = config(clip, **variant)
    net = built(model).double()
    clips = clips_of(model).double().requires_grad_()
    upstream = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inputs = [clips, *net.parameters()]
    ours, theirs = net(clips), dense_logits(net, clips)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for a, b in zip(
        torch.autograd.grad((ours * upstream).sum(), inputs),
        torch.autograd.grad((theirs * upstream).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS, ids=ids(VARIANTS))
def test_counts_dtype_batch_of_one_and_round_trip(variant: dict[str, Any]) -> None:
    model = config(ODD, **variant)
    net = built(model)
    assert sum(p.numel() for p in net.parameters()) == costs.parameters(model, 5)
    clips = clips_of(model)
    both = net(clips)
    assert both.dtype == torch.float32 and both.shape == (2, 5)
    torch.testing.assert_close(net(clips[:1]), both[:1], rtol=1e-4, atol=1e-5)
    for dtype, tolerance in ((torch.bfloat16, 0.05), (torch.float16, 0.01)):
        low = copy.deepcopy(net).to(dtype)(clips.to(dtype))
        assert low.dtype == dtype
        assert (low.float() - both).abs().max() < tolerance * both.abs().max() + tolerance
    other = build(model, 5, seed=1).eval()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(clips), both)
    learned = {"pos_embed"} if EMBEDDINGS[model.embedding].is_learned else set()
    assert {name.split(".")[0] for name in net.state_dict()} == {
        "patch_embed", "blocks", "fc_norm", "head", *learned,
    }  # fmt: skip


def gradients(net: torch.nn.Module, model: ModelConfig) -> dict[str, Tensor]:
    keep = torch.tensor([1.0, 0.0, 2.0]).expand(2, model.sizes[1], 3)
    net(clips_of(model), keep).square().sum().backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert set(ours) == set(theirs)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("variant", VARIANTS, ids=ids(VARIANTS))
def test_activation_checkpointing_gives_the_same_gradients(variant: dict[str, Any]) -> None:
    model = config(ODD, **variant)
    plain, checkpointed = (build(model, 5, seed=0, activation_checkpointing=each) for each in (False, True))
    assert_same(gradients(checkpointed, model), gradients(plain, model))


TRACED: list[dict[str, Any]] = [  # together they hold every entry of every registry that forward depends on
    *({"interaction": name, "attention": {"global": 1}} for name in INTERACTIONS),
    {"attention": dict.fromkeys(PATTERNS, 1), "heads": len(PATTERNS), "classifier": "global-mean"},
]


@pytest.mark.parametrize("variant", TRACED, ids=ids(TRACED))
def test_the_whole_network_is_one_compiled_graph(variant: dict[str, Any]) -> None:
    model = config(EVEN, **{"depth": 1, **variant})
    plain, compiled = build(model, 5, seed=0), build(model, 5, seed=0)
    compiled.compile(backend="aot_eager", fullgraph=True)
    assert_same(gradients(compiled, model), gradients(plain, model))
    assert list(compiled.state_dict()) == list(plain.state_dict())
    torch._dynamo.reset()


@pytest.mark.slow
def test_compiled_code_gives_the_same_logits() -> None:
    model = config(ODD, depth=1)
    net, clips = build(model, 5, seed=0), clips_of(model)
    with torch.no_grad():
        expected = net(clips)
        net.compile()
        torch.testing.assert_close(net(clips), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", PATTERNS)
def test_groups_do_not_see_each_other_and_their_names_do_not_matter(name: str) -> None:
    """A change in one token reaches its own group only, in the attention of one block."""
    model = config(EVEN, attention={name: 1}, interaction="none")
    net = build(model, 5, seed=0)
    labels = torch.tensor(PATTERNS[name](model.grid).ravel())[net.order.index]
    x = torch.randn(1, len(labels), model.sizes[0])
    changed = x.clone()
    changed[:, 0] += 1.0
    moved = (net.blocks[0].attn(x) - net.blocks[0].attn(changed)).abs().amax(-1)[0] > 1e-9
    assert torch.equal(moved, labels == labels[0])


@pytest.mark.parametrize("name", PATTERNS)
def test_which_group_comes_first_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups renumbered backwards are stored in another order and give the same logits."""
    axes = {"attention": {"global": 1, name: 2} if name != "global" else {name: 1}, "classifier": "global-mean"}
    model = config(EVEN, **axes)
    before = build(model, 5, seed=0)
    original = PATTERNS[name]
    monkeypatch.setitem(PATTERNS._entries, name, lambda grid: original(grid).max() - original(grid))
    after = build(model, 5, seed=0)
    assert name == "global" or not torch.equal(before.order.index, after.order.index)
    torch.testing.assert_close(after(clips_of(model)), before(clips_of(model)), rtol=1e-4, atol=1e-5)

"""What every variant of every registry must do; a new entry is picked up here by itself."""

from typing import Any

import pytest
import torch

from far.architecture.patterns import PATTERNS
from far.architecture.position_embeddings import EMBEDDINGS
from far.model.vit import build
from far.testing import conformance
from far.testing.conformance import CLASSES, EVEN, ODD, built, clips_of, section

VARIANTS = conformance.variants()


def ids(values: list[Any]) -> list[str]:
    return [str(value).replace("'", "").replace(" ", "") for value in values]


@pytest.mark.parametrize("clip", [EVEN, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("variant", VARIANTS, ids=ids(VARIANTS))
def test_grouped_equals_masked_dense_forward_and_backward(variant: dict[str, Any], clip: list[int]) -> None:
    conformance.check_dense_form(section(clip, **variant))


@pytest.mark.parametrize("variant", VARIANTS, ids=ids(VARIANTS))
def test_counts_dtype_batch_of_one_and_round_trip(variant: dict[str, Any]) -> None:
    model = section(ODD, **variant)
    conformance.check_parameters_and_types(model)
    learned = {"pos_embed"} if EMBEDDINGS[model.embedding].is_learned else set()
    assert {name.split(".")[0] for name in built(model).state_dict()} == {
        "patch_embed", "blocks", "fc_norm", "head", *learned,
    }  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=ids(VARIANTS))
def test_activation_checkpointing_gives_the_same_gradients(variant: dict[str, Any]) -> None:
    conformance.check_recomputation(section(ODD, **variant))


TRACED = conformance.compiled_variants()


@pytest.mark.parametrize("variant", TRACED, ids=ids(TRACED))
def test_the_whole_network_is_one_compiled_graph(variant: dict[str, Any]) -> None:
    conformance.check_compilation(section(EVEN, **{"depth": 1, **variant}))


@pytest.mark.slow
def test_compiled_code_gives_the_same_logits() -> None:
    model = section(ODD, depth=1)
    net, clips = build(model, CLASSES, seed=0), clips_of(model)
    with torch.no_grad():
        expected = net(clips)
        net.compile()
        torch.testing.assert_close(net(clips), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", PATTERNS)
def test_groups_do_not_see_each_other_and_their_names_do_not_matter(name: str) -> None:
    """A change in one token reaches its own group only, in the attention of one block."""
    model = section(EVEN, attention={name: 1}, interaction="none")
    net = build(model, CLASSES, seed=0)
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
    model = section(EVEN, **axes)
    before = build(model, CLASSES, seed=0)
    original = PATTERNS[name]
    monkeypatch.setitem(PATTERNS._entries, name, lambda grid: original(grid).max() - original(grid))
    after = build(model, CLASSES, seed=0)
    assert name == "global" or not torch.equal(before.order.index, after.order.index)
    torch.testing.assert_close(after(clips_of(model)), before(clips_of(model)), rtol=1e-4, atol=1e-5)

"""Costs: the paper's cost columns, and the exact totals that were measured on the ancestors' code."""

import pytest

from far.architecture.costs import activations, flops, parameters
from far.config.trial import ModelConfig

PLAIN = {"interaction": "none", "classifier": "global-mean"}


@pytest.mark.parametrize(
    ("attention", "total"),
    [
        ({"global": 1}, 56_950_230_144),
        ({"sparse-dense": 1}, 45_620_890_752),
        ({"temporal": 1}, 34_407_156_864),
        ({"global": 1, "temporal": 1}, 45_678_693_504),
        ({"global": 1, "sparse-dense": 1}, 51_285_560_448),
    ],
)
def test_attention_patterns_cost_what_was_measured(attention: dict[str, int], total: int) -> None:
    assert flops(ModelConfig.model_validate({"attention": attention, **PLAIN}), 174) == total


def test_far_costs_the_papers_digits() -> None:
    far = {"classifier": "group-mean"}
    assert f"{flops(ModelConfig.model_validate(far), 174) / 1e9:.4f}" == "53.4894"
    assert f"{parameters(ModelConfig.model_validate(far), 174) / 1e6:.4f}" == "23.4123"
    assert f"{flops(ModelConfig.model_validate({**far, 'backbone': 'base'}), 174) / 1e9:.4f}" == "176.3420"
    assert parameters(ModelConfig.model_validate({**PLAIN, "backbone": "base"}), 400) == 86_534_800
    assert parameters(ModelConfig.model_validate(PLAIN), 174) == 21_946_926


@pytest.mark.parametrize(
    ("changes", "digits"),
    [
        ({}, "53.5"),
        ({"attention": {"global": 2, "sparse-dense": 1}}, "55.4"),
        ({"attention": {"global": 1, "sparse-dense": 2}}, "51.6"),
        ({"backbone": "base"}, "176.3"),
    ],
)
def test_a_batch_norm_after_each_convolution_prints_the_same_digits(changes: dict[str, object], digits: str) -> None:
    """The paper's cost columns do not tell which normalisation its bottleneck has."""
    for interaction in ("bottleneck", "bottleneck-batchnorm"):
        model = ModelConfig.model_validate({**changes, "interaction": interaction})
        assert f"{flops(model, 174) / 1e9:.1f}" == digits


@pytest.mark.parametrize(
    ("changes", "classes"),
    [
        ({"clip": [16, 224, 224]}, 174),
        ({"clip": [8, 112, 112], "interaction": "bottleneck-ungrouped"}, 10),
        ({"clip": [8, 112, 112], "interaction": "bottleneck-batchnorm"}, 10),
        ({"clip": [8, 112, 112], "attention": {"global": 1, "temporal": 1, "spatial": 1}, **PLAIN}, 10),
    ],
    ids=["far", "odd-grid", "batch-norm", "not-nested"],
)
def test_an_independent_counter_agrees(
    changes: dict[str, object], classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fvcore counts what actually runs, on the path where attention's products are visible to it."""
    import logging

    import torch
    from fvcore.nn import FlopCountAnalysis

    from far.model import attention
    from far.model.vit import build

    def written_out(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1) @ v

    monkeypatch.setattr(attention, "attend", written_out)
    monkeypatch.setattr(torch.nn.functional, "linear", torch._C._nn.linear)  # ZeRO 3 leaves one that is not counted
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    model = ModelConfig.model_validate(changes)
    net = build(model, classes, seed=0).eval()
    with torch.no_grad():
        analysis = FlopCountAnalysis(net, torch.zeros(1, 3, *model.clip))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        assert int(analysis.total()) == flops(model, classes)


SMALL = {"backbone": "small", "clip": [8, 112, 112]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"interaction": "bottleneck-batchnorm", "interaction_position": "after-mlp"},
        {"attention": {"sparse-dense": 1}, **PLAIN},
        {"attention": {"global": 1, "temporal": 1, "spatial": 1}, **PLAIN},
        {"network": "videomae"},
        {"network": "vivit"},
        {"network": "timesformer", "tubelet": [1, 16, 16]},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "far",
)
def test_activations_are_what_autograd_keeps(changes: dict[str, object]) -> None:
    """Within 15 %: the storage of every tensor that is saved in a forward pass, each once, but for the parameters."""
    import torch

    from far.architecture.networks import NETWORKS
    from far.model.drop_path import BRANCHES

    model = ModelConfig.model_validate({**SMALL, **changes})
    if model.network != "far":
        pytest.importorskip("transformers")
    net = NETWORKS[model.network].build(model, 10, seed=0).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*net.parameters(), *net.buffers())}
    saved: dict[int, torch.Tensor] = {}  # the tensors themselves, so that no storage is freed and its place used again

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    factors = {"keep": torch.ones(1, model.sizes[1], len(BRANCHES))} if model.network == "far" else {}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(torch.randn(1, 3, *model.clip), **factors)
    counted = sum(tensor.untyped_storage().nbytes() for place, tensor in saved.items() if place not in own) / 4
    assert activations(model, 10) == pytest.approx(counted, rel=0.15)


@pytest.mark.parametrize(
    ("changes", "mebibytes"),
    [({}, 281), ({**PLAIN, "attention": {"global": 1}}, 226), ({"backbone": "base"}, 557)],
    ids=["far-s", "vit-s", "far-b"],
)
def test_activations_of_a_clip_of_the_papers(changes: dict[str, object], mebibytes: int) -> None:
    """In 16 bits, as counted on CUDA's layout with flash attention."""
    kept = 2 * activations(ModelConfig.model_validate({"backbone": "small", **changes}), 174) / 2**20
    assert kept == pytest.approx(mebibytes, rel=0.05)

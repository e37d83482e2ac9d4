"""The network: shapes, initial values, drop path and groups of parameters."""

import pytest
import torch

from far.architecture import costs
from far.config.trial import ModelConfig, RecipeConfig
from far.model.drop_path import keep_factors
from far.model.init import initialise
from far.model.vit import VideoTransformer, build
from far.train.parameter_groups import parameter_groups

TINY = {"backbone": "tiny", "clip": [4, 64, 64]}


def tiny(**changes: object) -> ModelConfig:
    return ModelConfig.model_validate({**TINY, **changes})


def test_rows_that_share_a_seed_share_the_initial_values_of_what_they_share() -> None:
    far = build(tiny(), 10, seed=3).state_dict()
    plain = build(tiny(attention={"global": 1}, interaction="none"), 10, seed=3).state_dict()
    assert set(plain) < set(far)
    assert all(torch.equal(plain[name], far[name]) for name in plain)
    other = build(tiny(), 10, seed=4).state_dict()
    assert not torch.equal(other["blocks.0.attn.qkv.weight"], far["blocks.0.attn.qkv.weight"])


def test_initial_values_follow_videomae() -> None:
    values = build(tiny(init_scale=0.001), 10, seed=0).state_dict()
    assert values["blocks.1.mlp.fc1.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    assert values["head.weight"].std().item() == pytest.approx(2e-5, rel=0.1)
    assert values["blocks.0.attn.q_bias"].abs().max() == 0
    assert values["patch_embed.proj.weight"].abs().max().item() == pytest.approx(1536**-0.5, rel=0.01)


def test_a_build_on_meta_then_emptied_is_the_same_network() -> None:
    config = tiny()
    with torch.device("meta"):
        net = VideoTransformer(config, 10)
    net.to_empty(device="cpu")
    initialise(net, 0, config.init_scale)
    clips = torch.randn(1, 3, 4, 64, 64)
    assert torch.equal(net(clips), build(config, 10, seed=0)(clips))


def test_drop_path_is_keyed_by_sample_not_by_batch() -> None:
    config = tiny(drop_path=0.5)
    samples = [(video, copy) for video in range(16) for copy in range(2)]
    whole = keep_factors(config, seed=0, epoch=2, samples=samples)
    parts = [keep_factors(config, seed=0, epoch=2, samples=samples[i : i + 8]) for i in range(0, 32, 8)]
    assert whole is not None
    assert torch.equal(whole, torch.cat([part for part in parts if part is not None]))
    assert (whole[:, 0] == 1).all()  # the first block's rate is 0
    assert set(whole[:, -1].unique().tolist()) == {0.0, 2.0}
    assert keep_factors(tiny(), seed=0, epoch=0, samples=samples) is None


def test_a_dropped_branch_adds_nothing() -> None:
    config = tiny(depth=1)
    net = build(config, 10, seed=0)
    clips = torch.randn(2, 3, 4, 64, 64)
    keep = torch.ones(2, 1, 3)
    assert torch.allclose(net(clips, keep), net(clips), atol=1e-7)
    keep[1] = 0
    x = net.order(net.patch_embed(clips) + net.positions)
    assert torch.equal(net.blocks[0](x, keep[:, 0])[1], x[1])


def test_groups_of_parameters_hold_each_once_with_the_layers_rate() -> None:
    net = build(tiny(), 10, seed=0)
    groups = parameter_groups(net, tiny(), RecipeConfig(layer_decay=0.7, new_module_lr=0.5))
    listed = [id(p) for group in groups for p in group["params"]]
    assert len(listed) == len(set(listed)) == len(list(net.parameters()))
    scales = {group["name"]: group["lr_scale"] for group in groups}
    assert scales["layer_0_decay"] == pytest.approx(0.7**5)
    assert scales["layer_4_decay"] == pytest.approx(0.7)
    assert scales["layer_5_decay"] == 1
    assert scales["new_decay"] == scales["new_no_decay"] == 0.5
    for group in groups:
        assert (group["weight_decay"] == 0) == all(p.ndim <= 1 for p in group["params"])
    torch.optim.AdamW(groups, lr=1e-3)


@pytest.mark.parametrize("interaction", ["none", "bottleneck", "bottleneck-ungrouped"])
@pytest.mark.parametrize("classifier", ["global-mean", "group-mean"])
def test_parameters_are_counted_exactly(interaction: str, classifier: str) -> None:
    config = tiny(interaction=interaction, classifier=classifier, position_embedding="learned")
    with torch.device("meta"):
        net = VideoTransformer(config, 7)
    assert sum(p.numel() for p in net.parameters()) == costs.parameters(config, 7)

"""Other authors' networks: the interface of ours, counted by the same counter, and what they do not have."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch
from torch import nn

from far.architecture.costs import flops, parameters
from far.architecture.networks import NETWORKS
from far.config import parse_override, resolve
from far.config.identity import identity, trial_key
from far.config.trial import ModelConfig, RecipeConfig
from far.errors import ConfigError
from far.model.interface import VideoNetwork
from far.train.parameter_groups import parameter_groups

SMALL = {"backbone": "tiny", "depth": 2, "clip": [4, 32, 32], "tubelet": [2, 8, 8], "init_scale": 1.0}
OURS_ALONE = ("attention", "interaction", "interaction_position", "classifier", "position_embedding", "drop_path")
OWN: dict[str, dict[str, Any]] = {"timesformer": {"tubelet": [1, 8, 8]}}


def config_of(name: str, **changes: Any) -> ModelConfig:
    return ModelConfig.model_validate({**SMALL, "network": name, **OWN.get(name, {}), **changes})


def written_out(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention as two products that a counter of FLOPs sees."""
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1) @ v


def built(name: str, seed: int = 0, classes: int = 7, **changes: Any) -> VideoNetwork:
    if name != "far":
        pytest.importorskip("transformers")
    return NETWORKS[name].build(config_of(name, **changes), classes, seed=seed)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_independent_counter_agrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    from fvcore.nn import FlopCountAnalysis

    from far.model import attention

    monkeypatch.setattr(attention, "attend", written_out)
    monkeypatch.setattr(torch.nn.functional, "linear", torch._C._nn.linear)  # ZeRO 3 leaves one that is not counted
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    net = built(name).eval()
    for module in net.modules():
        if hasattr(module, "set_attn_implementation"):
            module.set_attn_implementation("eager")  # fvcore does not see into fused attention
    with torch.no_grad():
        analysis = FlopCountAnalysis(net, torch.zeros(1, 3, *net.config.clip))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        assert int(analysis.total()) == flops(net.config, 7)
    assert sum(p.numel() for p in net.parameters()) == parameters(net.config, 7)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_trains_and_depends_on_the_seed_alone(name: str) -> None:
    net, clips = built(name), torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = net(clips, keep=None)
    assert logits.shape == (2, 7)
    logits.logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    torch.manual_seed(99)
    assert torch.equal(built(name)(clips), logits)
    assert not torch.equal(built(name, seed=1)(clips), logits)
    assert torch.allclose(built(name, init_scale=0.0)(clips), torch.zeros(2, 7))


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_of_parameters_hold_each_once_with_the_layers_rate(name: str) -> None:
    skeleton = NETWORKS[name].build(config_of(name), 7, seed=None)
    assert {p.device.type for p in skeleton.parameters()} == {"meta"}
    names = dict(skeleton.named_parameters())
    assert {n: p.shape for n, p in names.items()} == {n: p.shape for n, p in built(name).named_parameters()}
    assert {skeleton.layer_of(n) for n in names} == {0, 1, 2, 3}
    for given in names:
        if any(word in given for word in ("patch_embed", "cls_token", "position", "time_embed")):
            assert skeleton.layer_of(given) == 0
    groups = parameter_groups(skeleton, skeleton.config, RecipeConfig(layer_decay=0.5))
    assert sum(len(group["params"]) for group in groups) == len(names)
    scales = {group["name"]: group["lr_scale"] for group in groups}
    assert (scales["layer_0_decay"], scales["layer_2_decay"], scales["layer_3_decay"]) == (0.125, 0.5, 1.0)
    plain = {id(p) for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    tables = {n for n in names if n.endswith(("cls_token", "position_embeddings", "time_embeddings", "pos_embed"))}
    assert all(id(names[n]) in plain for n in tables)


@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_of_the_last_block_have_their_places(name: str) -> None:
    """One pixel of the clip moves the token of its own place, and none elsewhere, before any block has mixed them."""
    net, seen = built(name, depth=1).eval(), []
    net.last_block.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    clips = torch.zeros(1, 3, 4, 32, 32)
    with torch.no_grad():
        net(clips)
        clips[..., 3, 9, 17] = 1.0
        net(clips)
    before, after = (net.to_grid(tokens) for tokens in seen)
    assert before.shape == (1, net.config.sizes[0], *net.config.grid)
    moved = (before != after).any(dim=1).nonzero().tolist()
    frames, height, width = net.config.tubelet
    assert moved == [[0, 3 // frames, 9 // height, 17 // width]]
    assert torch.equal(net.from_grid(after, seen[1]), seen[1])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("attention", {"global": 1}),
        ("interaction", "none"),
        ("interaction_position", "after-mlp"),
        ("classifier", "global-mean"),
        ("position_embedding", "sincos-3d"),
        ("drop_path", 0.1),
    ],
)
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "far"])
def test_what_a_network_does_not_have_is_refused(name: str, setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' has no such setting") as refused:
        config_of(name, **{setting: value})
    assert refused.value.key == f"model.{setting}"


def test_what_every_profile_says_is_not_refused_and_not_recorded() -> None:
    config = config_of("videomae", position_embedding="auto", drop_path=0.0)
    dumped = config.model_dump(mode="json")
    assert not set(dumped) & set(OURS_ALONE)
    assert ModelConfig.model_validate(json.loads(json.dumps(dumped))) == config


@pytest.mark.parametrize("changes", [{"tubelet": [2, 8, 8]}, {"tubelet": [1, 8, 16]}, {"clip": [4, 32, 64]}])
def test_timesformer_takes_square_frames(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="TimeSformer"):
        config_of("timesformer", **changes)


def test_checkpoints_are_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="only the network 'far'") as refused:
        resolve([parse_override("model.network=vivit"), parse_override("init.weights=a.pth")])
    assert refused.value.key == "init.weights"


def test_the_network_is_part_of_the_identity_and_nothing_else_of_it_is_made_up() -> None:
    keys = set()
    for name in NETWORKS:
        tubelet = parse_override("model.tubelet=[1, 16, 16]")
        whole = identity(resolve([parse_override(f"model.network={name}"), tubelet]), data_hash="d")
        assert name == "far" or not set(whole["model"]) & set(OURS_ALONE)
        keys.add(trial_key(whole))
    assert len(keys) == len(NETWORKS)


def test_transformers_is_needed_only_when_a_baseline_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert flops(config_of("vivit"), 7) > 0
    with pytest.raises(ConfigError, match=r"farlab\[compare\]"):
        NETWORKS["vivit"].build(config_of("vivit"), 7, seed=0)


def test_activations_can_be_recomputed() -> None:
    clips = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    for name in NETWORKS:
        gradients = []
        for again in (False, True):
            pytest.importorskip("transformers")
            net = NETWORKS[name].build(config_of(name), 7, seed=0, activation_checkpointing=again).train()
            nn.functional.cross_entropy(net(clips), torch.tensor([1, 2])).backward()
            gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
        assert torch.allclose(*gradients, atol=1e-6)

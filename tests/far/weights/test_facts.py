"""Metadata of the ancestors' files decide how these are read: positions, grid, pooling, family."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from far.architecture.position_embeddings import EMBEDDINGS
from far.config.trial import InitConfig
from far.errors import ConfigError, FarError, WeightsError
from far.model.vit import VideoTransformer
from far.weights import build_network, open_source
from far.weights.build import kinetics_710
from far.weights.facts import gather
from tests.far.weights.nets import CLASSES, WIDTH, args, difference, model, random_net, read

# -- files of the ancestors, whose scripts save their arguments --

FRAMES = [4, 8, 16, 32, 64]


@pytest.mark.parametrize("frames", FRAMES)
def test_a_student_of_any_number_of_frames_is_read(frames: int, tmp_path: Path) -> None:
    """MVD stores the table that it computes."""
    clip = [frames, 32, 32]
    net = random_net(model(clip, embedding="sincos-3d"))
    compute = EMBEDDINGS["sincos-3d"].table
    assert compute is not None
    table = torch.from_numpy(compute(net.config.grid, WIDTH)).float()[None]
    state = {**net.state_dict(), "pos_embed": table, "mask_token_vid": torch.zeros(1, 1, 48)}
    torch.save({"model": state}, tmp_path / "student.pth")
    source = open_source(tmp_path / "student.pth")
    assert (source.family, source.position_embedding, source.grid) == ("mvd", "sincos-3d", net.config.grid)
    assert difference(read(tmp_path / "student.pth", model(clip)), net, clip) < 1e-6
    learned = read(tmp_path / "student.pth", model([2 * frames, 48, 32], embedding="learned"))
    assert learned.pos_embed.shape == (1, frames * 3 * 2, WIDTH)


@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("said", [False, True])
def test_a_joint_table_of_st_mae_is_read(frames: int, class_token: bool, said: bool, tmp_path: Path) -> None:
    """With its arguments on any grid, without them where it is the network's own."""
    clip = [frames, 48, 32] if said else [frames, 32, 32]
    net = random_net(model(clip, embedding="learned"))
    state = st_mae(net, class_token)
    path = tmp_path / "joint.pth"
    torch.save(
        {"model": state, **({"args": args(num_frames=frames, t_patch_size=2, input_size=[48, 32])} if said else {})},
        path,
    )
    again, load_report = build_network(model(clip), InitConfig(weights=str(path)), CLASSES, seed=0)
    assert load_report is not None and torch.equal(again.pos_embed, net.pos_embed)
    assert difference(again, net, clip) < 1e-6
    assert any("class token" in note for note in load_report.notes) == class_token
    assert (open_source(path).grid == net.config.grid) == said


def st_mae(net: VideoTransformer, class_token: bool) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, value in net.state_dict().items():
        block, _, leaf = name.partition(".attn.")
        if leaf == "qkv.weight":
            out |= {f"{block}.attn.{part}.weight": each for part, each in zip("qkv", value.chunk(3), strict=True)}
        elif leaf in ("q_bias", "v_bias"):
            out[f"{block}.attn.{leaf[0]}.bias"] = value
        else:
            out[name.replace("fc_norm", "norm")] = value
    if class_token:
        out["cls_token"] = torch.ones(1, 1, WIDTH)
        out["pos_embed"] = torch.cat([torch.full((1, 1, WIDTH), 9.0), out["pos_embed"]], dim=1)
    return out


@pytest.mark.parametrize("family", ["videomae", "videomae-v2"])
@pytest.mark.parametrize("prefix", ["", "encoder."])
@pytest.mark.parametrize("configured", ["auto", "learned"])
def test_a_learned_table_never_becomes_a_computed_one(
    configured: str, prefix: str, family: str, tmp_path: Path
) -> None:
    """VideoMAE's and V2's ``use_learnable_pos_emb``, fine-tuned and pre-trained."""
    clip = [8, 32, 32]
    net = random_net(model(clip, embedding="learned"))
    path = tmp_path / "learned.pth"
    torch.save({"model": {f"{prefix}{name}": value for name, value in net.state_dict().items()
                          if not prefix or not name.startswith(("fc_norm", "head"))}}, path)  # fmt: skip
    again, load_report = build_network(
        model(clip, embedding=configured), InitConfig(weights=str(path), family=family), CLASSES, seed=0
    )
    assert load_report is not None and "pos_embed" in load_report.loaded
    assert again.config.embedding == "learned" and torch.equal(again.pos_embed, net.pos_embed)
    if not prefix:
        assert difference(again, net, clip) < 1e-6


def test_a_learned_table_whose_grid_is_open_is_asked_for(tmp_path: Path) -> None:
    """Of 256 tokens: 4 x 8 x 8 or 16 x 4 x 4, and others; its arguments, or init.grid, say it."""
    net = random_net(model([8, 128, 128], embedding="learned"))
    path = tmp_path / "open.pth"
    torch.save({"model": net.state_dict()}, path)
    smaller = model([12, 96, 96])
    with pytest.raises(ConfigError, match=r"init\.grid.*open\.pth.*256 tokens"):
        read(path, smaller)
    given = read(path, smaller, grid=[4, 8, 8])
    torch.save({"model": net.state_dict(), "args": args(num_frames=8, input_size=128)}, path)
    assert torch.equal(read(path, smaller).pos_embed, given.pos_embed)
    with pytest.raises(FarError, match=r"open\.pth: init\.grid says 8 x 8 x 8 tokens, its position table has 256"):
        read(path, smaller, grid=[8, 8, 8])


@pytest.mark.parametrize(("tokens", "frames"), [(392, 4), (784, 8), (1568, 16), (3136, 32), (6272, 64)])
def test_a_table_of_frames_of_224_pixels_needs_no_word(tokens: int, frames: int, tmp_path: Path) -> None:
    """Joint tables of the sizes that the ancestors train at, brought to another size of frames."""
    net = random_net(model([2, 32, 32], embedding="learned"))
    state = {
        **net.state_dict(),
        "pos_embed": torch.arange(frames // 2.0)[:, None].expand(-1, 196).reshape(1, -1, 1).expand(1, tokens, WIDTH),
    }
    torch.save({"model": {name: value.clone() for name, value in state.items()}}, tmp_path / "w.pth")
    table = read(tmp_path / "w.pth", model([frames, 32, 32])).pos_embed.detach().reshape(frames // 2, 4, WIDTH)
    assert torch.allclose(table, torch.arange(frames // 2.0)[:, None, None].expand_as(table), atol=1e-3)


@pytest.mark.parametrize(
    ("said", "family"),
    [
        ({"remove_pos_emb": False, "fc_drop_rate": 0.0}, "mvd"),
        ({"fc_drop_rate": 0.0}, "videomae"),
        ({"with_checkpoint": False, "head_drop_rate": 0.0}, "videomae-v2"),
    ],
)
def test_the_arguments_tell_whose_script_wrote_a_fine_tuned_file(
    said: dict[str, Any], family: str, tmp_path: Path
) -> None:
    clip = [8, 32, 32]
    net = random_net(model(clip, embedding="sincos-3d" if family == "mvd" else "sinusoid-1d"))
    path = tmp_path / "finetuned.pth"
    torch.save({"model": net.state_dict(), "args": args(num_frames=8, input_size=32, **said)}, path)
    assert (open_source(path).family, open_source(path).undecided) == (family, ())
    assert difference(read(path, model(clip)), net, clip) < 1e-6


@pytest.mark.parametrize("said", [{"args": args(use_mean_pooling=False, fc_drop_rate=0.0)}, {}])
def test_a_classifier_that_reads_the_first_token_is_refused(said: dict[str, Any], tmp_path: Path) -> None:
    """VideoMAE's ``--use_cls``: norm over the tokens, no fc_norm; the encoder alone can be had."""
    clip = [8, 32, 32]
    state = {name.replace("fc_norm", "norm"): value for name, value in random_net(model(clip)).state_dict().items()}
    path = tmp_path / "first.pth"
    torch.save({"model": state, **said}, path)
    with pytest.raises(WeightsError, match=r"first\.pth.*reads the first token.*init\.head: random"):
        read(path, model(clip), family="videomae")
    _, load_report = build_network(
        model(clip), InitConfig(weights=str(path), family="videomae", head="random"), CLASSES, seed=0
    )
    assert load_report is not None and set(load_report.fresh) == {
        "fc_norm.weight",
        "fc_norm.bias",
        "head.weight",
        "head.bias",
    }


def test_a_table_that_is_said_and_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": random_net(model([8, 32, 32])).state_dict(), "args": args(use_learnable_pos_emb=True)}, path)
    with pytest.raises(WeightsError, match=r"w\.pth: its args says its positions are learned, but it holds no table"):
        open_source(path)


def test_blocks_that_no_network_here_has_are_refused(tmp_path: Path) -> None:
    state = {**random_net(model([8, 32, 32])).state_dict(), "blocks.0.gamma_1": torch.ones(WIDTH)}
    torch.save({"model": state}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: its blocks have parameters that no network here has: blocks\.0"):
        open_source(tmp_path / "w.pth")


def test_attention_without_biases_has_biases_of_0(tmp_path: Path) -> None:
    clip = [8, 32, 32]
    net = random_net(model(clip, embedding="learned"))
    with torch.no_grad():
        for block in net.blocks:
            block.attn.q_bias.zero_()
            block.attn.v_bias.zero_()
    state = {
        name: value for name, value in st_mae(net, class_token=False).items() if not name.endswith(("q.bias", "v.bias"))
    }
    torch.save({"model": state}, tmp_path / "w.pth")
    assert difference(read(tmp_path / "w.pth", model(clip)), net, clip) < 1e-6


# -- DeepSpeed's folders --


def test_the_newest_of_a_deepspeed_folder_is_followed(tmp_path: Path) -> None:
    clip = [8, 32, 32]
    for number in (1, 2):
        net = random_net(model(clip))
        with torch.no_grad():
            net.head.bias.add_(number)
        (tmp_path / f"checkpoint-{number}").mkdir()
        torch.save({"module": net.state_dict()}, tmp_path / f"checkpoint-{number}" / "mp_rank_00_model_states.pt")
    (tmp_path / "latest").write_text("checkpoint-2")
    assert difference(read(tmp_path, model(clip), family="videomae"), net, clip) < 1e-6
    (tmp_path / "latest").write_text("checkpoint-7")
    with pytest.raises(WeightsError, match=r"latest: names 'checkpoint-7'.*there: checkpoint-1, checkpoint-2"):
        read(tmp_path, model(clip), family="videomae")


@pytest.mark.parametrize("by", ["folder", "shard", "renamed"])
def test_a_shard_of_zero_3_says_what_it_is(by: str, tmp_path: Path) -> None:
    shard = tmp_path / "zero_pp_rank_0_mp_rank_00_model_states.pt"
    torch.save(
        {"module": {name: value.new_empty(0) for name, value in random_net(model([8, 32, 32])).state_dict().items()}},
        shard,
    )
    path = {
        "folder": tmp_path,
        "shard": shard,
        "renamed": shard.rename(tmp_path / "w.pt") if by == "renamed" else shard,
    }[by]
    with pytest.raises(WeightsError, match=r"split among processes \(DeepSpeed, ZeRO 3\); zero_to_fp32\.py"):
        open_source(path)


# -- VideoMAE V2's heads --


@pytest.mark.parametrize("classes", [400, 600, 700])
def test_a_head_of_kinetics_710_is_cut_to_kinetics(classes: int, tmp_path: Path) -> None:
    """In the order of VideoMAE V2's ``misc/label_710to400.json`` and its siblings."""
    net = random_net(model([8, 32, 32]), classes=710)
    torch.save({"module": net.state_dict()}, tmp_path / "v2.pth")
    again, load_report = build_network(
        model([8, 32, 32]), InitConfig(weights=str(tmp_path / "v2.pth")), classes, seed=0
    )
    assert load_report is not None and load_report.family == "videomae-v2" and not load_report.fresh
    assert any(f"cut to the {classes} classes" in note for note in load_report.notes)
    rows = kinetics_710()[str(classes)]
    assert len(set(rows)) == classes and max(rows) < 710
    assert torch.equal(again.head.weight, net.head.weight[rows]) and torch.equal(again.head.bias, net.head.bias[rows])
    if classes == 400:
        assert rows[:5] == [341, 158, 189, 16, 398]
    _, other = build_network(model([8, 32, 32]), InitConfig(weights=str(tmp_path / "v2.pth")), 174, seed=0)
    assert other is not None and other.fresh["head.weight"] == "the file's head is (710, 96)"


KEYS = ["num_frames", "num_segments", "input_size", "image_size", "window_size", "tubelet_size", "use_mean_pooling",
        "use_learnable_pos_emb", "model_config", "hidden_act", "num_attention_heads", "qkv_bias", "clip", "tubelet",
        "position_embedding", "t_patch_size", "remove_pos_emb", "model", "config"]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats(allow_nan=False) | st.sampled_from(["", "16", "gelu"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
TREES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)


@given(
    said=TREES, beside=TREES, described=VALUES, metadata=st.dictionaries(st.sampled_from(["farlab", "grid"]), st.text())
)
def test_whatever_is_said_is_understood_or_refused_by_the_file(
    said: dict[str, Any], beside: dict[str, Any], described: Any, metadata: dict[str, str], tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("trial") / "checkpoints" / "epoch-0001"
    folder.mkdir(parents=True)
    (folder.parents[1] / "trial.json").write_text(json.dumps(described))
    (folder / "config.json").write_text(json.dumps({"model_type": "videomae", **beside}))
    found = {"args": argparse.Namespace(**said), "position_embedding": "sincos-3d", "model_config": said.get("model")}
    try:
        facts = gather(found, metadata, folder / "w.pt", (2, 16, 16))
    except WeightsError as error:
        assert "w.pt" in str(error)
    else:
        assert facts.grid is None or (len(facts.grid) == 3 and all(size > 0 for size in facts.grid))
        assert facts.heads is None or facts.heads > 0

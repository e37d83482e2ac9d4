"""Folders and files as Hugging Face has them give the same logits, or are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from far.config.trial import InitConfig
from far.errors import WeightsError
from far.weights import build_network, open_source
from tests.far.weights.nets import CLASSES, WIDTH, difference, model, random_net, read


def hugging_face(folder: Path, kind: str = "VideoMAEForVideoClassification", **changes: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 384}
    values = {"image_size": 32, "num_frames": 8, "num_labels": CLASSES, "decoder_num_hidden_layers": 1,
              "decoder_hidden_size": 48, "decoder_num_attention_heads": 4, "decoder_intermediate_size": 96}  # fmt: skip
    torch.manual_seed(0)
    theirs = getattr(transformers, kind)(transformers.VideoMAEConfig(**{**sizes, **values, **changes})).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    theirs.save_pretrained(folder)
    return theirs


@pytest.mark.parametrize(
    ("clip", "tubelet", "changes"),
    [
        ([4, 32, 32], (2, 16, 16), {}),
        ([8, 32, 48], (4, 8, 16), {"patch_size": (8, 16), "tubelet_size": 4, "image_size": (32, 48)}),
        ([16, 48, 48], (1, 16, 16), {"tubelet_size": 1, "image_size": 48}),
        ([32, 32, 32], (2, 16, 16), {"qv_bias": False}),
    ],
)
def test_transformers_classifiers_give_the_same_logits(
    clip: list[int], tubelet: tuple[int, int, int], changes: dict[str, Any], tmp_path: Path
) -> None:
    theirs = hugging_face(tmp_path, num_frames=clip[0], **changes)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        again = read(path, model(clip, tubelet))
        assert difference(again, lambda clips: theirs(pixel_values=clips.transpose(1, 2)).logits, clip) < 1e-4
        assert open_source(path).grid == again.config.grid


def test_transformers_classifier_of_the_first_token_is_refused(tmp_path: Path) -> None:
    hugging_face(tmp_path, use_mean_pooling=False)
    with pytest.raises(WeightsError, match=r"reads the first token.*init\.head: random takes its encoder alone"):
        read(tmp_path, model([8, 32, 32]))
    (tmp_path / "config.json").unlink()
    with pytest.raises(WeightsError, match="reads the first token"):  # its tensors say it as well
        read(tmp_path, model([8, 32, 32]))
    _, load_report = build_network(
        model([8, 32, 32]), InitConfig(weights=str(tmp_path), head="random"), CLASSES, seed=0
    )
    assert load_report is not None and any("first token" in note for note in load_report.notes)


@pytest.mark.parametrize("kind", ["VideoMAEForPreTraining", "VideoMAEModel"])
def test_transformers_encoders_are_read(kind: str, tmp_path: Path) -> None:
    """Pre-trained files have ``use_mean_pooling: false`` and no classifier; the encoder is the same."""
    theirs = hugging_face(tmp_path, kind, use_mean_pooling=False)
    _, load_report = build_network(model([8, 32, 32]), InitConfig(weights=str(tmp_path)), CLASSES, seed=0)
    net = read(tmp_path, model([8, 32, 32]))
    assert load_report is not None and {name.split(".")[0] for name in load_report.fresh} == {"fc_norm", "head"}
    assert not any("not known" in reason for reason in load_report.ignored.values())
    encoder = getattr(theirs, "videomae", theirs)
    clips = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    norm = torch.nn.LayerNorm(WIDTH, eps=1e-12)
    norm.load_state_dict(encoder.layernorm.state_dict())
    tokens: list[Tensor] = []
    net.pool.register_forward_hook(lambda module, inputs, output: tokens.append(inputs[0]))
    with torch.no_grad():
        net(clips)
        expected = encoder(clips.transpose(1, 2)).last_hidden_state
        assert (norm(tokens[0]) - expected).abs().max() < 1e-3 * expected.abs().max()


def test_a_configuration_that_contradicts_the_tensors_is_refused(tmp_path: Path) -> None:
    hugging_face(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"hidden_act": "relu"}, "its MLPs use 'relu'"),
        ({"use_learnable_pos_emb": True}, "positions are learned, but it holds no table"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**about, **change}))
        with pytest.raises(WeightsError, match=f"config.json says.*{message}"):
            open_source(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json: not a readable configuration"):
        open_source(tmp_path)


def test_videomae_v2_as_hugging_face_has_it(tmp_path: Path) -> None:
    """Names under ``model.``, the network's part of the configuration one level deeper."""
    net = random_net(model([8, 32, 32]))
    save_file({f"model.{name}": value for name, value in net.state_dict().items()}, tmp_path / "model.safetensors")
    inner = {
        "img_size": 32,
        "num_frames": 8,
        "tubelet_size": 2,
        "use_mean_pooling": True,
        "use_learnable_pos_emb": False,
    }
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "VideoMAEv2_Base", "model_config": inner}))
    source = open_source(tmp_path)
    assert (source.family, source.undecided, source.grid) == ("videomae-v2", (), (4, 2, 2))
    assert difference(read(tmp_path, model([8, 32, 32])), net, [8, 32, 32]) < 1e-6

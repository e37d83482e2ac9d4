"""Weights of every family: recognised, loaded completely, accounted for, and the same function."""

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from far.config.trial import InitConfig, ModelConfig
from far.errors import ConfigError, FarError, WeightsError
from far.model.vit import VideoTransformer
from far.weights import account, build_network, open_source
from far.weights.convert import convert
from far.weights.files import open_file
from far.weights.positions import resize

CLASSES = 5


def clips() -> Tensor:
    return torch.randn(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    return bool((ours - theirs).abs().max() <= tolerance * theirs.abs().max())


def test_every_layout_gives_the_network_it_holds(
    layout: str, expected: tuple[str, str, bool], written: tuple[Path, VideoTransformer], plain: ModelConfig
) -> None:
    family, embedding, has_head = expected
    path, reference = written
    init = InitConfig(weights=str(path), family=family if layout == "videomae-finetuned" else None)
    net, load_report = build_network(plain, init, CLASSES, seed=0)
    assert load_report is not None
    assert (load_report.family, net.config.embedding) == (family, embedding)
    names = {name for name, _ in net.named_parameters()}
    assert names == set(load_report.loaded) | set(load_report.fresh)
    fresh = {name for name in names if name.startswith(("head.", "fc_norm."))} if not has_head else set()
    assert set(load_report.fresh) <= fresh
    assert not any("not known" in reason for reason in load_report.ignored.values())
    if not has_head:
        for name in ("fc_norm", "head"):
            getattr(reference, name).load_state_dict(getattr(net, name).state_dict())
    with torch.no_grad():
        tolerance = 2e-3 if layout == "videomae-finetuned" else 1e-5  # that release is fp16
        assert close(net(clips()), reference(clips()), tolerance)


def test_converting_keeps_everything_a_network_uses(
    written: tuple[Path, VideoTransformer], expected: tuple[str, str, bool], plain: ModelConfig, tmp_path: Path
) -> None:
    path, _ = written
    out = tmp_path / "out.safetensors"
    convert(open_source(path, expected[0]), out)
    direct, _ = build_network(plain, InitConfig(weights=str(path), family=expected[0]), CLASSES, seed=0)
    again, load_report = build_network(plain, InitConfig(weights=str(out)), CLASSES, seed=0)
    assert load_report is not None and load_report.family == "farlab"
    assert again.config.embedding == expected[1]
    with torch.no_grad():
        assert torch.equal(direct(clips()), again(clips()))
    assert not any("init.family" in note or "alike" in note for note in load_report.notes)
    with pytest.raises(WeightsError, match="exists already"):
        convert(open_source(path), out)


@pytest.mark.parametrize("saved_by", ["file", "memory"])
def test_hugging_face_gives_the_same_logits(saved_by: str, plain: ModelConfig, tmp_path: Path) -> None:
    """The file has q_bias and v_bias (the layout of v4); the module in memory ordinary biases (that of v5)."""
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import save_file

    sizes = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 384}
    config = transformers.VideoMAEConfig(image_size=32, num_frames=16, num_labels=CLASSES, **sizes)
    torch.manual_seed(0)
    theirs = transformers.VideoMAEForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    if saved_by == "file":
        theirs.save_pretrained(tmp_path)
        about = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**about, "num_attention_heads": 16}))  # as published
    else:
        save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    net, load_report = build_network(plain, InitConfig(weights=str(tmp_path)), CLASSES, seed=0)
    assert load_report is not None and load_report.family == "huggingface" and not load_report.fresh
    with torch.no_grad():
        expected = theirs(pixel_values=clips().transpose(1, 2)).logits
        assert close(net(clips()), expected, 1e-4)


def test_far_takes_the_encoder_and_says_what_stays_random(
    reference: Callable[[str], VideoTransformer], plain: ModelConfig, tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": reference("sinusoid-1d").state_dict()}, path)
    far = ModelConfig.model_validate({**plain.model_dump(), "attention": {"global": 1, "sparse-dense": 1},
                                      "interaction": "bottleneck", "classifier": "group-mean"})  # fmt: skip
    net, load_report = build_network(far, InitConfig(weights=str(path), family="videomae"), CLASSES, seed=0)
    assert load_report is not None
    assert {name.split(".")[0] for name in load_report.fresh if ".interaction." not in name} == {"head"}
    assert sum(".interaction." in name for name in load_report.fresh) == 2 * 8
    assert "head.weight" in load_report.ignored
    assert "blocks.0-1.interaction.conv.weight" in str(load_report)
    own = tmp_path / "own.pth"
    torch.save({"module": net.state_dict()}, own)
    with pytest.raises(ConfigError, match="does not say which position embedding"):
        build_network(far, InitConfig(weights=str(own)), CLASSES, seed=1)
    said = far.model_copy(update={"position_embedding": "sinusoid-1d"})
    again, everything = build_network(said, InitConfig(weights=str(own)), CLASSES, seed=1)
    assert everything is not None and not everything.fresh and not everything.ignored
    assert torch.equal(net(clips()), again(clips()))


def test_a_family_that_is_a_guess_is_asked_for(
    reference: Callable[[str], VideoTransformer], plain: ModelConfig, tmp_path: Path
) -> None:
    """MVD's fine-tuned files have VideoMAE's names, and other positions."""
    path = tmp_path / "finetuned.pth"
    theirs = reference("sincos-3d")
    torch.save({"module": theirs.state_dict()}, path)
    init = InitConfig(weights=str(path))
    question = r"init\.family.*finetuned\.pth.*sincos-3d.*valid: videomae, .*mvd"
    with pytest.raises(ConfigError, match=question):
        build_network(plain, init, CLASSES, seed=0)
    with pytest.raises(ConfigError, match=question):
        account(plain, init, CLASSES, open_source(path))
    for said in ({"family": "mvd"}, {}):  # a table that is given depends on no family
        model = plain if said else plain.model_copy(update={"position_embedding": "sincos-3d"})
        net, _ = build_network(model, InitConfig(weights=str(path), **said), CLASSES, seed=0)
        with torch.no_grad():
            assert close(net(clips()), theirs(clips()), 1e-6)
    with pytest.raises(WeightsError, match="is not OmniMAE; its names say VideoMAE"):
        build_network(plain, InitConfig(weights=str(path), family="omnimae"), CLASSES, seed=0)
    with pytest.raises(ConfigError, match="Did you mean 'videomae'"):
        build_network(plain, InitConfig(weights=str(path), family="videoame"), CLASSES, seed=0)


def test_a_learned_table_is_resized(
    reference: Callable[[str], VideoTransformer], plain: ModelConfig, tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": reference("sinusoid-1d").state_dict()}, path)
    bigger = plain.model_copy(update={"clip": [16, 48, 64], "position_embedding": "learned"})
    net, _ = build_network(bigger, InitConfig(weights=str(path), family="videomae"), CLASSES, seed=0)
    assert net.pos_embed.shape == (1, 8 * 3 * 4, 96)


@pytest.mark.parametrize("target", [(8, 2, 2), (8, 3, 4), (4, 2, 2), (16, 5, 3)])
def test_resizing_keeps_what_is_linear(target: tuple[int, int, int]) -> None:
    """A table that depends on one axis only still does, and a constant stays what it is."""
    times = torch.arange(8.0)[:, None, None, None].expand(8, 2, 2, 3).reshape(1, 32, 3)
    out = resize(times, (8, 2, 2), target).reshape(*target, 3)
    assert torch.allclose(out, out[:, :1, :1].expand_as(out), atol=1e-5)
    assert (out[1:, 0, 0, 0] >= out[:-1, 0, 0, 0]).all()
    constant = resize(torch.full((1, 32, 3), 7.0), (8, 2, 2), target)
    assert torch.allclose(constant, torch.tensor(7.0))


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        import os

        return os.system, ("touch evil",)


def bad_files(tmp_path: Path, state: dict[str, Tensor]) -> dict[str, Path]:
    files = {name: tmp_path / f"{name}.pth" for name in ("code", "short", "text", "strange", "shape", "deep", "list")}
    torch.save({"model": state, "args": Evil()}, files["code"])
    torch.save({k: v for k, v in state.items() if k != "blocks.1.mlp.fc1.weight"}, files["short"])
    files["text"].write_text("<html>not found</html>")
    torch.save({"conv1.weight": torch.ones(2)}, files["strange"])
    torch.save({**state, "blocks.1.mlp.fc1.weight": torch.ones(7, 96)}, files["shape"])
    torch.save({**state, "blocks.2.norm1.weight": torch.ones(96)}, files["deep"])
    torch.save([1, 2], files["list"])
    files["pickle"] = tmp_path / "plain.pkl"
    files["pickle"].write_bytes(pickle.dumps({"model": 1}))
    files["empty"] = tmp_path / "empty.safetensors"
    files["empty"].touch()
    files["nowhere"] = tmp_path / "nowhere.pth"
    files["directory"] = tmp_path / "directory"
    files["directory"].mkdir()
    return files


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("code", r"refused, because opening it would run code: its pickle asks for '(posix|nt)\.system'"),
        ("short", r"blocks\.1\.mlp\.fc1\.weight is missing"),
        ("text", "not a"),
        ("strange", "of no known family"),
        ("shape", r"blocks\.1\.mlp\.fc1\.weight has shape \(7, 96\), not \(384, 96\)"),
        ("deep", "96 wide with 3 blocks, the model's is 96 wide with 2"),
        ("list", "without a state dict"),
        ("pickle", "not a|without a state dict"),
        ("empty", "not a readable safetensors file"),
        ("nowhere", r"no such file \(there: .*short\.pth"),
        ("directory", "a directory without any of model.safetensors"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    case: str,
    message: str,
    reference: Callable[[str], VideoTransformer],
    plain: ModelConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = bad_files(tmp_path, dict(reference("sinusoid-1d").state_dict()))[case]
    with pytest.raises(WeightsError, match=message):
        build_network(plain, InitConfig(weights=file.name), CLASSES, seed=0, root=tmp_path)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("content", [b"def stripes(grid): ...\n", b"\x80\x02.", b"<html>404</html>", b"PK\x03\x04"])
def test_what_is_no_file_of_weights_is_refused_without_advice_to_run_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError) as error:
        open_file(tmp_path / "a.pth")
    assert str(error.value).startswith(str(tmp_path / "a.pth"))
    assert "weights_only" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {n: (100 * v).to(torch.int8) for n, v in state.items()}, "holds int8 where parameters are"),
        (lambda state: {n: v > 0 for n, v in state.items()}, "holds bool where parameters are"),
        (lambda state: {n: v.to(torch.complex64) for n, v in state.items()}, "holds complex64 where parameters are"),
        (lambda state: {n: v * math.nan for n, v in state.items()}, "numbers that are not finite"),
        (
            lambda state: {
                f"{of}.{n}": v + (of == "backbone") for of in ("module", "backbone") for n, v in state.items()
            },
            "holds two networks: 'module.[a-z_.0-9]+' and 'backbone.[a-z_.0-9]+'",
        ),
        (
            lambda state: {**state, **{f"encoder.{n}": v + 1 for n, v in state.items() if "blocks" in n}},
            "holds two networks: '[a-z_.0-9]+' and 'encoder.[a-z_.0-9]+'",
        ),
    ],
    ids=["int8", "bool", "complex", "nan", "student and teacher", "plain and encoder"],
)
def test_what_is_not_one_networks_values_is_refused(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    message: str,
    reference: Callable[[str], VideoTransformer],
    plain: ModelConfig,
    tmp_path: Path,
) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": change(dict(reference("sinusoid-1d").state_dict()))}, path)
    with pytest.raises(WeightsError, match=rf"w\.pth: .*{message}"):
        build_network(plain, InitConfig(weights=str(path), family="videomae"), CLASSES, seed=0)


def test_one_network_under_two_names_is_one(
    reference: Callable[[str], VideoTransformer], plain: ModelConfig, tmp_path: Path
) -> None:
    net = reference("sinusoid-1d")
    state = net.state_dict()
    torch.save({"model": {**state, **{f"module.{n}": v for n, v in state.items()}}}, tmp_path / "w.pth")
    init = InitConfig(weights=str(tmp_path / "w.pth"), family="videomae")
    loaded, _ = build_network(plain, init, CLASSES, seed=0)
    with torch.no_grad():
        assert torch.equal(loaded(clips()), net(clips()))


SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 7, 96]), max_size=5).map(tuple).filter(lambda s: math.prod(s) < 100_000)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_a_wrong_tensor_is_read_or_refused_by_its_name(
    data: st.DataObject,
    layout: str,
    written: tuple[Path, VideoTransformer],
    expected: tuple[str, str, bool],
    plain: ModelConfig,
) -> None:
    """One tensor of another shape, missing, or under another name: an answer, or an error that says which file."""
    path, _ = written
    whole = torch.load(path, weights_only=False)
    state = next((whole[key] for key in ("model", "module", "model_state") if key in whole), whole)
    name = data.draw(st.sampled_from(sorted(state)))
    value = state.pop(name)
    change = data.draw(st.sampled_from(["shape", "missing", "name", "type"]))
    if change == "shape":
        state[name] = torch.zeros(data.draw(SHAPES))
    elif change == "name":
        state[data.draw(st.sampled_from(["cls_token", "pos_embed", "blocks.0.attn.qkv.bias", "head.weight"]))] = value
    elif change == "type":
        state[name] = value.to(torch.int64)
    other = path.with_name("changed.pth")
    torch.save(whole, other)
    try:
        account(plain, InitConfig(), CLASSES, open_source(other, data.draw(st.sampled_from([None, expected[0]]))))
    except FarError as error:
        assert "changed.pth" in str(error)

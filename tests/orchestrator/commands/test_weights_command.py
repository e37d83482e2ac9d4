"""``farlab weights``: inspect and convert, and what they say of files they cannot use."""

import json
from pathlib import Path

import pytest
import torch

from far.config import resolve
from far.config.trial import ModelConfig
from far.model.vit import build
from farlab import run
from orchestrator.study.profiles import find_profile, packaged_studies


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = ModelConfig.model_validate({"backbone": "tiny", "clip": [16, 32, 32]})
    path = tmp_path / "far.pth"
    torch.save({"module": build(config, 5, seed=0).state_dict()}, path)
    return path


def test_inspect_says_what_a_file_is(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "inspect", str(checkpoint), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["family"], about["backbone"], about["classes"]) == ("farlab", "tiny", 5)
    assert about["interaction"] is True and len(about["sha256"]) == 64
    assert run(["weights", "inspect", str(checkpoint)]) == 0
    assert "96 wide, 4 blocks (tiny)" in capsys.readouterr().out


def test_convert_writes_a_file_that_inspect_reads(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = checkpoint.with_name("out.safetensors")
    assert run(["weights", "convert", str(checkpoint), str(out)]) == 0
    assert run(["weights", "inspect", str(out)]) == 0
    assert run(["weights", "convert", str(checkpoint), str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["weights", "convert", str(checkpoint), str(out), "--overwrite"]) == 0
    assert run(["weights", "convert", str(checkpoint), "out.pth"]) == 2


def test_a_file_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "inspect", str(tmp_path / "none.pth")]) == 2
    assert "none.pth: no such file" in capsys.readouterr().err


def finetuned(path: Path, classes: int = 5) -> Path:
    """Write what VideoMAE's and MVD's scripts save under the same names."""
    config = ModelConfig.model_validate(
        {
            "backbone": "tiny",
            "clip": [16, 32, 32],
            "interaction": "none",
            "classifier": "global-mean",
            "attention": {"global": 1},
        }
    )
    torch.save({"module": build(config, classes, seed=0).state_dict()}, path)
    return path


def test_a_family_that_is_a_guess_is_a_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inspecting says so; converting, which would bake the answer in, asks."""
    file = finetuned(tmp_path / "finetuned.pth")
    assert run(["weights", "inspect", str(file)]) == 0
    said = capsys.readouterr().out
    assert "VideoMAE or MVD: init.family must say it" in said and "sinusoid-1d or MVD's sincos-3d" in said
    assert "a fine-tuned classifier of 5 classes, not a pre-training" in said
    out = tmp_path / "out.safetensors"
    assert run(["weights", "convert", str(file), str(out)]) == 2
    error = capsys.readouterr().err
    assert "--family" in error and "finetuned.pth" in error and "(valid: videomae, videomae-v2, mvd)" in error
    assert not out.exists()
    assert run(["weights", "convert", str(file), str(out), "--family", "mvd"]) == 0
    assert "positions  sincos-3d" in capsys.readouterr().out
    assert run(["weights", "inspect", str(out), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["family"], about["position_embedding"], about["family_is_a_guess"]) == ("farlab", "sincos-3d", False)


def test_a_pre_training_is_told_from_a_fine_tuned_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.load(finetuned(tmp_path / "w.pth"), weights_only=True)["module"]
    kept = {f"encoder.{name}": value for name, value in state.items() if not name.startswith(("head", "fc_norm"))}
    torch.save({"model": {**kept, "mask_token": torch.zeros(1, 1, 48)}}, tmp_path / "pretrained.pth")
    torch.save({"model": kept}, tmp_path / "encoder.pth")
    for file, stage in (("pretrained.pth", "pre-trained"), ("encoder.pth", "encoder"), ("w.pth", "fine-tuned")):
        assert run(["weights", "inspect", str(tmp_path / file), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["stage"] == stage


def test_every_file_that_a_profile_names_is_listed_with_its_source() -> None:
    text = (Path(__file__).parents[3] / "docs" / "reproduce.md").read_text(encoding="utf-8")
    directory = packaged_studies() / "profiles"
    named = {}
    for path in sorted(directory.glob("*-*-*.yaml")):
        init = resolve(find_profile(path.stem, [directory]).layers).init
        if init.weights is not None:
            named[path.stem] = (init.weights, init.family)
    assert len(named) == 8
    for profile, (weights, family) in named.items():
        (line,) = [line for line in text.splitlines() if line.startswith("|") and f"`{profile}`" in line.split("|")[1]]
        assert f"| `{weights}` |" in line and "https://drive.google.com/" in line
        assert family is not None and weights.startswith(family)
    assert not any("ssv2" in weights for weights, family in named.values() if family == "mvd")  # MVD has none

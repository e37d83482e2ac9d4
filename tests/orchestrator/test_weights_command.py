"""``farlab weights``: inspect and convert, and what they say of files they cannot use."""

import json
from pathlib import Path

import pytest
import torch

from far.config.schema import ModelConfig
from far.model.vit import build
from farlab import run


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

"""farlab.toml: found upwards, strict, relative to itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from far.errors import ConfigError
from orchestrator.workspace.settings import load_settings


def test_defaults_without_a_file(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert (settings.store, settings.data_root) == (tmp_path / "runs", tmp_path / "data")
    assert settings.tracking_uri == f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    assert settings.profile == "demo"


def test_nearest_file_upwards_with_paths_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "farlab.toml").write_text('store = "../elsewhere"\nprofile = "big"\ndata_root = "/videos"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    settings = load_settings(below)
    assert settings.file == tmp_path / "farlab.toml"
    assert settings.store == tmp_path.parent / "elsewhere"
    assert settings.data_root == Path("/videos")
    assert settings.profile == "big"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('store = "x"\nprofil = "demo"\n', r"farlab\.toml:2: profil: unknown key.*'profile'"),
        ("# one\nstore = 3\n", r"farlab\.toml:2: store: .*text"),
        ('store = "x"\ndevice = "a100"\n', r"farlab\.toml:2: device: unknown device 'a100'.*a100-80g"),
        ('store = "x\n', r"farlab\.toml:1: not valid TOML"),
    ],
)
def test_mistakes_name_file_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "farlab.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_settings(tmp_path)

"""``farlab new``: what it writes is right as it stands, takes nobody's place, and says what to type next."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import farlab


@pytest.fixture(autouse=True)
def place(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "farlab.toml").write_text(f"data_root = '{tiny_data}'\n")
    return tmp_path


@pytest.mark.parametrize("name", ["stripes", "123", "a.b-c", "true", "heads.yaml"])
@pytest.mark.parametrize("plugin", [True, False], ids=["plugin", "plain"])
def test_what_it_writes_is_valid_and_in_nobodys_way(
    name: str, plugin: bool, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["new", name, *(["--plugin"] if plugin else []), "--into", "mine"]
    assert farlab.run(command) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    written = sorted(path.name for path in (place / "mine").iterdir())
    assert all(each in said for each in written) and len(written) == (3 if plugin else 1)
    before = {path: path.read_bytes() for path in (place / "mine").iterdir()}
    study = f"mine/{name.removesuffix('.yaml')}.yaml"
    assert f"farlab validate {study}" in said and ("check-plugin" in said) is plugin
    assert farlab.run(["validate", study]) == 0
    assert "2 rows x 2 seeds, profile demo: ok" in capsys.readouterr().out
    assert farlab.run(command) == 2
    assert "there is a study" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (place / "mine").iterdir()} == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my study", "e.g. my-study"),
        ("head_ratio", "there is a study 'head_ratio'"),
        ("../out", "a name begins with a letter"),
        ("x" * 101, "at most 100 fit"),
        ("taken", "test_taken.py: is there already, and nothing is overwritten"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_written(
    name: str, said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "test_taken.py").symlink_to("nowhere")
    assert farlab.run(["new", name, "--plugin"]) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in place.iterdir()) == ["farlab.toml", "test_taken.py"]


@pytest.mark.slow  # trains two trials, and starts pytest
def test_what_it_writes_runs_as_it_stands(
    place: Path, tiny_overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert farlab.run(["new", "stripes", "--plugin"]) == 0
    commands = [
        shlex.split(line.split("#")[0]) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")
    ]
    size = [*tiny_overrides, "--seeds", "1"]
    for command in commands:
        if command[1] in ("plan", "sweep", "report"):
            command += size
        if command[1] == "sweep":
            command += ["--executor", "local"]
        if command[1] != "check-plugin":
            assert farlab.run(command[1:]) == 0, capsys.readouterr()
    assert "Stripes" in (place / "stripes.tex").read_text()
    own = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_stripes.py"]
    done = subprocess.run(own, capture_output=True, text=True, cwd=place)
    assert "2 passed" in done.stdout, done.stdout

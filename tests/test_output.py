"""What reaches the terminal: no traceback, whatever fails; no control character, whatever a file says."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import farlab
from far.text import encodable, printable
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study

ROOT = Path(__file__).resolve().parent.parent
FARLAB = [sys.executable, str(ROOT / "farlab")]
HOSTILE = r"""
study: s
title: "a\e]0;title\a [red]t"
row_header: "h\e[2J[/]"
rows:
  "w/o [/cls]": {}
  "w/o [cls] token :x:": {recipe.lr: 1.0e-3}
  "\e[31mred\x9b2J\u202e\b": {recipe.lr: 2.0e-3}
  "\\bm{W}$ tied": {recipe.lr: 3.0e-3}
seeds: 1
"""


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("FARLAB", " ".join(FARLAB))
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
    )


@pytest.fixture
def hostile(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # a test runner with several processes sets it
    (tmp_path / "s.yaml").write_text(HOSTILE, encoding="utf-8")
    (tmp_path / "farlab.toml").write_text(f"data_root = '{tiny_data}'\n")
    return tmp_path


TINY = ["data.demo={train_clips: 40, val_clips: 20, size: 32, motion: 12.0}"]


@pytest.mark.parametrize(
    "call",
    [["plan", "s.yaml", *TINY], ["report", "--study", "s.yaml"], ["cost", "s.yaml"], ["status"],
     ["report", "--study", "s.yaml", "-f", "latex"], ["report", "--study", "s.yaml", "-f", "md"],
     ["validate", "s.yaml"], ["plan", "s.yaml", "--json", *TINY]],
)  # fmt: skip
def test_names_keep_their_brackets_and_lose_their_escapes(
    call: list[str], hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from orchestrator.plan.lockfile import write_lockfile

    store = Store(hostile / "runs")
    write_lockfile(make_plan(load_study("s.yaml"), store, manifest_hash=lambda data: "d"), store)
    assert farlab.run(call) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert printable(text) == text
    if call[0] in ("plan", "status", "report") and not {"--json", "-f"} & set(call):
        assert "w/o [/cls]" in text and "w/o [cls] token :x:" in text and "\\u001b[31mred" in text


def test_on_a_terminal_too(hostile: Path) -> None:
    """Colours are ours; of the names nothing but text is left."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([*FARLAB, "plan", "s.yaml", *TINY], cwd=hostile, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(leader)
    assert process.wait() == 0
    text = shown.decode()
    for sequence in ("\x1b]0;", "\x1b[2J", "\x1b[31m", "\x9b", "\u202e", "\b"):
        assert sequence not in text
    assert "[cls]" in text


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("FARLAB validate head_ratio > /dev/full", 3, "cannot be written: No space left"),
        ("FARLAB --help > /dev/full", 3, "cannot be written: No space left"),
        ("FARLAB validate head_ratio >&-", 0, ""),
        ("FARLAB plan nonsense >&- 2>&-", 2, ""),
        ("FARLAB study schema | head -n 1 > /dev/null; exit ${PIPESTATUS[0]}", 0, ""),
        ("FARLAB --help | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("FARLAB plan nonsense | true; exit ${PIPESTATUS[0]}", 2, "unknown study"),
        ("mkdir gone; cd gone; rmdir ../gone; FARLAB plan head_ratio", 2, "the current folder is gone"),
        ("FARLAB validate head_ratio model.attention=$(printf '%0300d' 0)", 2, "model.attention"),
        ("FARLAB validate $(printf '%0300d' 0)", 2, "unknown study"),
        ("FARLAB validate $'\\xff\\xfe'", 2, "unknown study"),
        (
            "FARLAB data generate data.demo='{train_clips: 16, val_clips: 16, size: 32}' > /dev/null; "
            "for d in data/demo-*; do rm $d/manifest.parquet; mkdir $d/manifest.parquet; done; "
            "FARLAB data generate data.demo='{train_clips: 16, val_clips: 16, size: 32}'",
            2,
            "holds something that is not what is needed there",
        ),
        ("ln -s q.yaml q.yaml; FARLAB validate q.yaml", 2, "its links lead in a circle"),
        (
            "mkdir -p runs/studies/q/demo; ln -s study.lock.yaml runs/studies/q/demo/study.lock.yaml; FARLAB status",
            0,
            "",
        ),
        ("mkdir -p runs/trials; touch runs/store.id; ln -s k runs/trials/k; FARLAB logs k", 2, "nothing yet"),
        ("echo 'store = \"f\"' > farlab.toml; touch f; FARLAB status", 2, "farlab.toml:1: store: "),
        (
            "mkfifo p; cat p > got & FARLAB report -t 5 -f csv -o p > /dev/null; wait; test -p p && grep -q 1:2 got",
            0,
            "",
        ),
        ("FARLAB train demo -n recipe.lr=$'\\xff'", 2, "recipe.lr"),
        ("ulimit -v 4000000; FARLAB validate /dev/zero", 2, "/dev/zero: is larger than 16 MiB"),
        ("ulimit -v 4000000; FARLAB cancel /dev/zero", 2, "no study '/dev/zero'"),
        ("FARLAB weights inspect /dev/null", 2, "neither a file nor a folder"),
        ("ln -s loop loop; FARLAB validate loop/x.yaml", 2, "its links lead in a circle"),
        ("echo '{study: p, rows: {a: {}}}' | FARLAB validate /dev/stdin", 0, ""),
    ],
)
def test_streams_and_arguments_that_fail(line: str, code: int, said: str, tmp_path: Path) -> None:
    done = shell(line, tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert not said or len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
@pytest.mark.parametrize("call", ["--help", "report --table 5", "cost", "power --paper", "cost --json"])
def test_an_encoding_that_lacks_characters(encoding: str, call: str, tmp_path: Path) -> None:
    done = shell(f"FARLAB {call}", tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "\\u2500" not in done.stdout, "rules are drawn with what there is"
    if "--json" in call:
        import json

        json.loads(done.stdout)


def test_escapes_are_those_of_json() -> None:
    import json

    text = "\x1b[31m é \U0001f600 \udcff\n"
    assert json.loads(f'"{encodable(printable(text), "ascii")[:-1]}"') == text[:-1]


def test_what_nobody_foresaw_is_one_line_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import orchestrator.commands.study.schema as module

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(module, "study_schema", lambda: 1 / 0)
    assert farlab.run(["study", "schema"]) == 1
    said = capsys.readouterr().err
    (kept,) = tmp_path.glob("farlab-error-*.log")
    assert said.count("\n") == 1 and "ZeroDivisionError" in said and str(kept) in said
    assert "Traceback" in kept.read_text() and kept.stat().st_mode & 0o077 == 0

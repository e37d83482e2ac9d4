"""Where a command looks: found upwards, named in what it says, and left as it was by commands that only look."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import farlab
from far.errors import ConfigError
from far.store.atomic import write_json
from orchestrator.plan.lockfile import refuse_namesake, write_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import find_study, load_study
from orchestrator.workspace.find import find_workspace
from orchestrator.workspace.settings import load_settings

STUDY = """
study: {name}
rows:
  a: {{}}
  b: {{recipe.lr: {lr}}}
seeds: 1
base: {{data.demo: {{train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}}}
"""


def write_study(path: Path, name: str, lr: float = 0.01) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STUDY.format(name=name, lr=lr))
    return path


def submit(path: Path, root: Path) -> None:
    store = Store(root / "runs")
    plan = make_plan(load_study(path), store, manifest_hash=lambda data: "d")
    write_lockfile(plan, store)
    for trial in plan.trials:
        store.write_trial(trial.key, {"key": trial.key})


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_store_makes_a_workspace_and_the_nearest_wins(workspace: Path) -> None:
    below = workspace / "studies" / "deep"
    below.mkdir(parents=True)
    assert find_workspace(below).folder == below
    (workspace / "runs" / "trials" / "old").mkdir(parents=True)
    assert find_workspace(below).folder == below, "another program's runs/ is no store"
    write_json(workspace / "runs" / "trials" / "k" / "trial.json", {})
    assert find_workspace(below).folder == workspace
    assert load_settings(below).store == workspace / "runs"
    assert load_settings(below).data_root == workspace / "data"
    (workspace / "studies" / "farlab.toml").write_text("")
    assert find_workspace(below).folder == workspace / "studies"


def test_a_subdirectory_sees_the_studies_and_the_store_of_its_workspace(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(write_study(workspace / "studies" / "q.yaml", "q"), workspace)
    for folder in (workspace / "studies", workspace / "elsewhere"):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        before = sorted(folder.iterdir())
        for call in (["plan", "q"], ["status"], ["status", "q"], ["sweep", "-n", "q"]):
            assert farlab.run(call) == 0
            assert f"store {workspace / 'runs'}" in capsys.readouterr().out
        assert farlab.run(["validate", "q"]) == 0
        assert farlab.run(["report", "q"]) == 0
        assert sorted(folder.iterdir()) == before
    capsys.readouterr()
    assert farlab.run(["plan", "q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["store"] == str(workspace / "runs")


def test_a_command_that_only_looks_generates_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(workspace / "q.yaml", "q")
    for call in (
        ["plan", "q.yaml"], ["sweep", "-n", "q.yaml"], ["sweep", "-n", "q.yaml", "--budget", "1trials"], ["status"],
        ["validate", "q.yaml"], ["report", "q.yaml"], ["cost", "q.yaml"], ["train", "demo", "-n"],
    ):  # fmt: skip
        assert farlab.run(call) == 0, call
        said = capsys.readouterr().out
        assert [path.name for path in workspace.iterdir()] == ["q.yaml"], call
        if call[0] in ("plan", "sweep"):
            assert said.count("after generation") == 2 and "farlab data generate" in said
    for call in (["data", "stats"], ["data", "check"], ["data", "sample"]):
        assert farlab.run(call) == 2
        assert "farlab data generate" in capsys.readouterr().err
        assert [path.name for path in workspace.iterdir()] == ["q.yaml"], call


def test_a_plan_tells_the_trials_of_two_demo_sets_apart_before_they_are_there(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "q.yaml").write_text("study: q\nrows: {a: {}, b: {data.demo.size: 48}}\nseeds: 1\n")
    assert farlab.run(["plan", "q.yaml", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [trial["key"] for trial in plan["trials"]] == [None, None]
    assert plan["distinct"] == 2 and len(plan["to_run"]) == 2


def test_stats_are_those_of_the_workspaces_own_demo(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "profiles").mkdir()
    settings = "data: {demo: {train_clips: 40, val_clips: 20, size: 32}}"
    (workspace / "profiles" / "tiny.yaml").write_text(f"profile: tiny\nextends: demo\nsettings: {{{settings}}}\n")
    (workspace / "farlab.toml").write_text("profile = 'tiny'\n")
    assert farlab.run(["data", "generate"]) == 0
    assert "60 videos" in capsys.readouterr().out
    assert farlab.run(["data", "stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["train"]["videos"] == 40
    assert farlab.run(["data", "sample", "-n", "2"]) == 0


def test_one_look_up_for_every_command(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By file, by the file's name, by the study's name; for studies to run and for those that were submitted."""
    path = write_study(workspace / "studies" / "file.yml", "inner")
    for word in ("file", "inner", "studies/file.yml", str(path)):
        assert find_study(word).resolve() == path
    submit(path, workspace)
    for word in ("file", "inner", "studies/file.yml"):
        assert farlab.run(["status", word]) == 0
        assert "inner" in capsys.readouterr().out
        assert farlab.run(["retry", word, "--failed"]) == 0
        assert farlab.run(["cancel", word]) == 2
        assert "study 'inner' is not running" in capsys.readouterr().err
    assert farlab.run(["status", "studies/nothing.yaml"]) == 2
    assert farlab.run(["resume", "head_ratio"]) == 2
    assert f"'head_ratio' ({find_study('head_ratio')}) was submitted to {workspace / 'runs'}" in capsys.readouterr().err


def test_a_name_that_means_two_studies_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(workspace / "studies" / "a.yaml", "b")
    write_study(workspace / "studies" / "b.yaml", "c")
    with pytest.raises(ConfigError, match=r"'b' means .*b\.yaml and .*a\.yaml: give the path"):
        find_study("b")
    submit(workspace / "studies" / "a.yaml", workspace)
    submit(workspace / "studies" / "b.yaml", workspace)
    assert farlab.run(["status", "a"]) == 0


def test_a_second_file_cannot_take_a_studys_place(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(workspace / "runs")
    first = write_study(workspace / "one.yaml", "q")
    submit(first, workspace)
    second = write_study(workspace / "two.yaml", "q")
    refuse_namesake(load_study(second), store)  # a copy as it is
    write_study(second, "q", lr=0.02)
    with pytest.raises(ConfigError, match=r"two\.yaml: study: the study 'q' was submitted from .*one\.yaml"):
        refuse_namesake(load_study(second), store)
    assert farlab.run(["sweep", "two.yaml", "--executor", "local", f"data.source={'x' * 9}"]) == 2
    assert "was submitted from" in capsys.readouterr().err
    first.rename(workspace / "moved.yaml")
    refuse_namesake(load_study(second), store)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give files away")
def test_another_users_file_is_named_and_runs_no_code(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "farlab.toml").write_text("ray_address = '127.0.0.1:1'\nprofile = 'demo'\n")
    os.chown(workspace / "farlab.toml", 2001, 2001)
    below = workspace / "below"
    below.mkdir()
    write_study(workspace / "q.yaml", "q")
    assert farlab.run(["plan", "q.yaml"]) == 0
    said = capsys.readouterr().err
    assert f"note: the workspace {workspace} (farlab.toml) belongs to user 2001" in said
    assert load_settings().ray_address is None and load_settings(trust=True).ray_address == "127.0.0.1:1"
    assert farlab.run(["sweep", "-n", "q.yaml"]) == 2
    said = capsys.readouterr().err
    assert "farlab.toml: ray_address: belongs to user 2001" in said and "--trust" in said
    assert farlab.run(["sweep", "-n", "q.yaml", "--trust"]) == 0
    assert "by Ray, 127.0.0.1:1" in capsys.readouterr().out
    assert farlab.run(["sweep", "-n", "q.yaml", "--executor", "local"]) == 0


def test_the_environment_of_other_programs_has_no_effect_and_that_is_said(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    write_study(workspace / "q.yaml", "q")
    assert farlab.run(["ui"]) == 2
    assert "note: MLFLOW_TRACKING_URI has no effect here; --tracking-uri or tracking_uri" in capsys.readouterr().err
    assert farlab.run(["sync"]) == 0
    assert "note: MLFLOW_TRACKING_URI has no effect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("# caf\xe9\nstore = 'x'\n".encode("latin-1"), r"farlab\.toml:1: is not UTF-8"),
        (b"store = 'taken'\n", r"farlab\.toml:1: store: .*taken is no folder"),
        (b"data_root = 'taken'\n", r"farlab\.toml:1: data_root: .*taken is no folder"),
        (b'store = "a\\u0000b"\n', r"store: .*cannot be a folder"),
        (b"store = '~nobodyhere/x'\n", r"store: .*cannot be a folder"),
        (b"store = 'loop'\n", r"store: "),
        (b"devices = " + b"9" * 5000, r"farlab\.toml: not valid TOML"),
        (b"x = " + b"[" * 5000, r"farlab\.toml: not valid TOML"),
        (b"\xff\xfes\x00", r"farlab\.toml:1: is not UTF-8"),
    ],
)
def test_settings_that_cannot_be_read_are_one_line(workspace: Path, content: bytes, said: str) -> None:
    (workspace / "taken").write_text("")
    (workspace / "loop").symlink_to("loop")
    (workspace / "farlab.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load_settings()


def test_a_byte_order_mark_is_no_mistake(workspace: Path) -> None:
    (workspace / "farlab.toml").write_bytes(b"\xef\xbb\xbfprofile = 'csv'\r\n")
    assert load_settings().profile == "csv"

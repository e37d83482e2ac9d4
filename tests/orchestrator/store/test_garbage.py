"""What `farlab gc` removes, and above all what it does not: whatever somebody names, runs or is about to name."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import farlab
from far.config.trial import DataConfig, DemoConfig
from far.data import open_manifest
from far.data.decoding.cache import open_frames
from far.errors import ConfigError
from far.store.atomic import machine, write_json
from far.store.lock import FileLock
from far.store.paths import TrialPaths
from orchestrator.cli.console import make_console
from orchestrator.garbage.names import Names, read_names
from orchestrator.garbage.removal import put_back, remove
from orchestrator.garbage.survey import Item, survey
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import Plan, make_plan
from orchestrator.plan.proposals import KEY
from orchestrator.store.store import Store
from orchestrator.study import load_study
from orchestrator.sweep import run_sweep
from orchestrator.workspace.workspace import Workspace, open_workspace

STUDY = "study: q\nrows: {a: {}, b: {recipe.lr: 0.01}}\nseeds: 1\n"
DEAD = 2**22 + 1
"""No process has this number."""


def planned(store: Store, text: str = STUDY) -> Plan:
    path = store.root.parent / "q.yaml"
    path.write_text(text)
    return make_plan(load_study(path), store, manifest_hash=lambda data: "d", weights_hash=lambda init: init.weights)


def finish(store: Store, key: str, config: dict[str, Any] | None = None) -> TrialPaths:
    """Write a finished trial with a checkpoint of a network of 1,000 values and its optimiser's 2,000."""
    paths = store.paths(key)
    store.write_trial(key, {"key": key, "config": config or {"seed": 0}, "profile": "demo", "attempts": []})
    write_json(paths.result, {"version": 2, "key": key, "state": "finished", "metrics": {"top1": 1.0}})
    folder = paths.checkpoints / "epoch-0001"
    folder.mkdir(parents=True)
    states = {"module": {"w": torch.ones(1000)}, "optimizer": {"state": {0: {"m": torch.ones(2000)}}}, "epochs": 1}
    torch.save(states, folder / "mp_rank_00_model_states.pt")
    return paths


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with two trials that a study names, one of them with earlier results, and one that nobody names."""
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "runs")
    plan = planned(store)
    write_lockfile(plan, store)
    for trial in plan.trials:
        finish(store, trial.key)
    earlier = store.paths(plan.trials[0].key).earlier / "1"
    earlier.mkdir(parents=True)
    (earlier / "result.json").write_text("{}")
    finish(store, "0" * 16)
    return open_workspace()


def said(capsys: pytest.CaptureFixture[str], *call: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert farlab.run(["gc", *call, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def everything(store: Store) -> dict[str, int]:
    files = (path for path in store.root.rglob("*") if path.is_file() and path.name != "writer.lock")
    return {str(path.relative_to(store.root)): path.stat().st_size for path in files}


def test_dry_it_tells_bytes_and_removes_nothing(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything(workspace.store)
    found = said(capsys)
    assert found["bytes"]["optimizer"] == 3 * 8000
    assert found["bytes"]["trials"] > found["bytes"]["checkpoints"] > 12000
    assert {item["key"] for item in found["items"] if item["category"] == "trials"} == {"0" * 16}
    assert everything(workspace.store) == before


def test_apply_removes_what_no_table_needs_and_leaves_every_result(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    store = workspace.store
    before = everything(store)
    found = said(capsys, "--apply")
    assert found["bytes"]["optimizer"] == 3 * 8000
    after = everything(store)
    assert after.keys() == before.keys()
    assert sum(before.values()) - sum(after.values()) == pytest.approx(3 * 8000, rel=0.1)
    keys = store.keys()
    for key in keys:
        file = store.paths(key).checkpoints / "epoch-0001" / "mp_rank_00_model_states.pt"
        states = torch.load(file, weights_only=True)
        assert states["module"]["w"].equal(torch.ones(1000))
        assert (states["optimizer"], states["epochs"]) == (None, 1)
    assert said(capsys)["bytes"]["optimizer"] == 0, "there is nothing left of it"


def test_trials_go_where_they_are_named_and_no_study_names_them(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = set(workspace.store.keys())
    assert said(capsys, "trials", "--apply", "--keep", "0000")["items"] == []
    assert said(capsys, "trials", "earlier", "--apply", "--keep", "q")["bytes"]["earlier"] == 0
    assert set(workspace.store.keys()) == keys - {"0" * 16}
    assert said(capsys, "earlier", "--apply")["bytes"]["earlier"] == 2
    assert not list(workspace.store.trials.glob(".*")), "nothing half-removed is left"


def test_what_runs_is_left_alone(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with workspace.store.lock_trial("0" * 16):
        assert {item["key"] for item in said(capsys, "trials", "checkpoints", "optimizer")["items"]} == set(
            workspace.store.keys()
        ) - {"0" * 16}
    items = survey(workspace, read_names(workspace), ("trials",), (), lambda done, total: None).items
    with workspace.store.lock_trial("0" * 16):  # it began after the look
        (left,) = remove(workspace.store, items, lambda: read_names(workspace), lambda item: None)
    assert "in use by process" in left
    assert workspace.store.state("0" * 16) == "finished"


def test_a_trial_that_a_study_names_meanwhile_is_put_back(workspace: Workspace) -> None:
    store = workspace.store
    names = read_names(workspace)
    items = survey(workspace, names, ("trials", "checkpoints"), (), lambda done, total: None).items

    def named_now() -> Names:
        return Names(names.named | {"0" * 16}, names.pinned, {})

    gone: list[Item] = []
    assert all("a study names it now" in text for text in remove(store, items, named_now, gone.append))
    assert gone == []
    assert store.state("0" * 16) == "finished"


def test_a_sweep_sees_that_what_it_took_for_done_has_gone(workspace: Workspace, tmp_path: Path) -> None:
    plan = planned(workspace.store, STUDY + "equal_within: 1\n")
    assert not plan.missing()
    workspace.store.trials.joinpath(plan.trials[0].key).rename(tmp_path / "removed")
    with pytest.raises(ConfigError, match="run the same command again"):
        run_sweep(plan, workspace, executor=None, console=make_console())  # type: ignore[arg-type]
    assert plan.trials[0].key in read_names(workspace).named, "and gc sees that the study names it"


@pytest.mark.parametrize("named", [True, False])
def test_a_kill_while_the_names_were_read_loses_nothing(workspace: Workspace, named: bool) -> None:
    store = workspace.store
    key = next(iter(read_names(workspace).named)) if named else "0" * 16
    hidden = store.trials / f".{key}.{machine()}.{DEAD}.removed"
    store.paths(key).directory.rename(hidden)
    assert put_back(store, read_names(workspace)) == ([key] if named else [])
    items = survey(workspace, read_names(workspace), ("scratch",), (), lambda done, total: None).items
    assert [item.path for item in items] == ([] if named else [hidden])
    mine = store.trials / f".{'f' * 16}.{machine()}.{os.getpid()}.removed"
    mine.mkdir()
    items = survey(workspace, read_names(workspace), ("scratch",), (), lambda done, total: None).items
    assert mine not in [item.path for item in items], "another gc is at it"


def test_a_damaged_submission_stops_it(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = workspace.store.study("q").submissions()
    path.write_text(path.read_text()[:-40])
    assert farlab.run(["gc", "trials", "--apply"]) == 2
    assert str(path) in capsys.readouterr().err
    assert workspace.store.state("0" * 16) == "finished"


def test_what_a_search_has_proposed_is_named(workspace: Workspace) -> None:
    journal = workspace.store.study("q").search
    journal.write_text(json.dumps({"op_code": 8, "trial_id": 0, "user_attr": {KEY: "0" * 16}}) + '\n{"op_co')
    assert read_names(workspace).is_named("0" * 16)


def test_what_others_start_from_keeps_its_bytes(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    folder = workspace.store.paths("0" * 16).checkpoints / "epoch-0001"
    finish(workspace.store, "1" * 16, {"seed": 0, "init": {"weights": str(folder)}})
    assert "0" * 16 not in {item["key"] for item in said(capsys)["items"]}


def test_half_written_files_of_the_dead_go(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    store = workspace.store
    paths = store.paths("0" * 16)
    dead = paths.directory / f".result.json.{machine()}.{DEAD}.tmp"
    alive = paths.directory / f".result.json.{machine()}.{os.getpid()}.tmp"
    for path in (dead, alive):
        path.write_bytes(b"12345")
    (paths.checkpoints / "epoch-0002.partial").mkdir()
    found = said(capsys, "scratch", "--apply")
    assert found["bytes"]["scratch"] == 5
    assert (dead.exists(), alive.exists(), (paths.checkpoints / "epoch-0002.partial").exists()) == (False, True, False)


def test_artifacts_of_runs_that_nobody_has_go(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    root = workspace.store.root
    with sqlite3.connect(root / "mlflow.db") as base:
        base.execute("create table runs (run_uuid text)")
        base.execute("insert into runs values (?)", ("a" * 32,))
    for run in ("a" * 32, "b" * 32):
        (root / "mlartifacts" / "q" / run / "artifacts").mkdir(parents=True)
        (root / "mlartifacts" / "q" / run / "artifacts" / "result.json").write_text("{}")
    assert said(capsys, "--apply")["bytes"]["artifacts"] == 2
    assert [path.name for path in (root / "mlartifacts" / "q").iterdir()] == ["a" * 32]


def test_decoded_videos_go_where_they_are_named_and_are_decoded_again(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = DataConfig(demo=DemoConfig(train_clips=10, val_clips=10, size=16))
    manifest = open_manifest(data, workspace.settings.data_root)
    named = tmp_path / "scratch"
    finish(workspace.store, "1" * 16, {"data": {"cache_folder": str(named)}})
    finish(workspace.store, "2" * 16, {"data": {"cache_folder": "../near"}})  # to the data set
    places = (None, str(named), "../near")
    sources = [open_frames(manifest, data.model_copy(update={"cache_folder": place})) for place in places]
    frames = [source.read(manifest.videos[0], np.arange) for source in sources]
    (named / "notes.txt").write_text("somebody's own")
    (named / "notes.rgb").write_text("somebody's own as well")
    size = next(named.glob("?" * 32 + ".rgb")).stat().st_size
    assert said(capsys, "--apply")["bytes"]["frames"] == 0
    assert said(capsys)["bytes"]["frames"] == 3 * size
    assert said(capsys, "frames", "--apply")["bytes"]["frames"] == 3 * size
    assert said(capsys)["bytes"]["frames"] == 0 and len(list(named.glob("notes.*"))) == 2
    again = [source.read(manifest.videos[0], np.arange) for source in sources]
    assert all(np.array_equal(one, other) for one, other in zip(frames, again, strict=True))


def test_a_store_at_a_url_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "farlab.toml").write_text(f"store = 'file://{tmp_path}/far-away'\n")
    monkeypatch.chdir(tmp_path)
    assert farlab.run(["gc", "--apply"]) == 2
    assert "a store in a folder" in capsys.readouterr().err


def test_a_lock_whose_folder_is_renamed_is_the_one_at_its_place(tmp_path: Path, wait: Callable[..., Any]) -> None:
    path = tmp_path / "trial" / "writer.lock"
    first, second = FileLock(path, "it"), FileLock(path, "it")
    first.acquire()
    waiting = threading.Thread(target=second.acquire, args=(30.0,))
    waiting.start()
    path.parent.rename(tmp_path / "elsewhere")
    first.release()
    waiting.join()
    third = FileLock(path, "it")
    with pytest.raises(Exception, match="is in use"):
        third.acquire(timeout=0.2)
    second.release()

"""Whatever stands in a file of the store, a command tells of it or does without: no traceback, no hang."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import farlab
from far.store.atomic import read_json, read_json_lines, write_json
from far.store.records import Epoch
from orchestrator.cli.options import plan_targets
from orchestrator.plan.lockfile import load_lockfile, write_lockfile
from orchestrator.store.store import Store
from tests.reports.conftest import finish

STUDY = """
study: small
base:
  model: {depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8], attention: {global: 1}}
  data: {classes: 10, demo: {train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}
  recipe: {epochs: 3, batch_size: 8, warmup_epochs: 0}
rows: {one: {}, two: {recipe.lr: 5.0e-4}}
seeds: 1
"""
COMMANDS = [
    ["status"], ["status", "--json"], ["plan", "s.yaml"], ["report", "s.yaml", "-f", "json"],
    ["report", "s.yaml", "--explain", "one", "top1"], ["report", "s.yaml", "-f", "html", "-o", "page/"],
    ["figure", "curves", "--study", "s.yaml", "-o", "c.svg"], ["cancel", "small", "--row", "one"],
]  # fmt: skip
NONSENSE = [None, "x", "", -1, 1.5, True, [], {}, [None], {"x": None}, 10**30, float("inf")]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[Path, str]:
    """Make a finished study with all that a sweep leaves; return its workspace and a trial's key."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, fill(tiny_data)


@pytest.fixture
def key(workspace: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Enter the workspace; every test leaves its files as they were."""
    monkeypatch.chdir(workspace[0])
    return workspace[1]


def fill(tiny_data: Path) -> str:
    Path("s.yaml").write_text(STUDY)
    Path("farlab.toml").write_text(f"data_root = '{tiny_data}'\n")
    plan, workspace = plan_targets(["s.yaml"], None, None, generate=True)
    store = workspace.store
    for trial in plan.trials:
        record = {"key": trial.key, "identity": trial.identity, "config": trial.config.model_dump(mode="json")}
        store.write_trial(trial.key, {**record, "attempts": [{"started_at": "then", "epoch": 0}]})
        finish(store, trial)
        write_json(store.paths(trial.key).progress, {"phase": "train", "epoch": 2, "epochs": 3, "done": 1, "total": 5})
    write_lockfile(plan, store)
    runs = {trial.key: {"run_id": "a" * 32, "epochs": 3, "status": "FINISHED"} for trial in plan.trials}
    mirrored = {"runs": runs, "uri": "sqlite:///runs/mlflow.db", "experiment": "1", "parent": "b" * 32}
    write_json(store.study("small").directory / "mlflow-demo.json", mirrored)
    write_json(store.root / "weights.json", {"w": "h"})
    return plan.trials[0].key


def files(key: str) -> list[Path]:
    paths = Store("runs").paths(key)
    study = Store("runs").study("small")
    return [
        paths.trial, paths.result, paths.metrics, paths.progress, study.directory / "mlflow-demo.json",
        study.lockfile("demo"), Path("runs/probes.json"), Path("runs/weights.json"), study.driver_lock, paths.lock,
    ]  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in inner:
        yield from places(value, (*path, name))


def with_value(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    within = tree
    for name in path[:-1]:
        within = within[name]
    within[path[-1]] = value
    return tree


def run_all(capsys: pytest.CaptureFixture[str], commands: list[list[str]], what: str) -> None:
    for command in commands:
        code = farlab.run(command)
        said = capsys.readouterr()
        assert code in (0, 2, 3) and "unforeseen" not in said.err and "Traceback" not in said.err, (
            f"{what}: farlab {' '.join(command)}: {code}\n{said.err}"
        )


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"a":' * 5000, b'{"epoch": "x"}\n{"ep'])
def test_a_file_that_holds_something_else(content: bytes, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    for place, command in zip(files(key), (COMMANDS * 2)[: len(files(key))], strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        before = place.read_bytes() if place.exists() else None
        place.write_bytes(content)
        run_all(capsys, [["status", "--json"], command], str(place))
        place.unlink() if before is None else place.write_bytes(before)


def test_a_value_of_another_type(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(14)
    for number in range(32):
        place = rng.choice(files(key)[:6])
        before = place.read_text(encoding="utf-8")
        lines = before.splitlines() if place.suffix == ".jsonl" else [before]
        head, brace, rest = lines[0].partition("{")
        tree = json.loads(brace + rest)
        path, value = rng.choice(list(places(tree))), rng.choice(NONSENSE)
        lines[0] = head + json.dumps(with_value(tree, path, value))
        place.write_text("\n".join(lines) + "\n", encoding="utf-8")
        run_all(capsys, [COMMANDS[number % len(COMMANDS)]], f"{place.name} {path} = {value!r}")
        place.write_text(before, encoding="utf-8")


def test_what_is_no_epoch_is_none(tmp_path: Path) -> None:
    lines = [
        '{"epoch": 0, "train_loss": 2}',
        '{"epoch": "1"}',
        "[1]",
        '{"train_loss": 1}',
        '{"epoch": 1, "val_top1": "x"}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert read_json_lines(tmp_path / "metrics.jsonl", Epoch) == [{"epoch": 0, "train_loss": 2}]


def test_a_file_in_order_is_read_as_it_is(key: str) -> None:
    from orchestrator.tracking.remembered import Remembered

    for place, like in ((files(key)[4], Remembered), (files(key)[7], dict[str, str])):
        assert read_json(place, like) == json.loads(place.read_text())
    assert [row.name for row in load_lockfile(files(key)[5]).rows] == ["one", "two"]

"""An exported study stands for itself: the same tables, the same keys, and nothing of the machine it comes from."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest

import farlab
from far.plugins import only_within
from orchestrator.store.acceptances import accept
from orchestrator.store.store import Store
from reports.renderers import RENDERERS

STUDY = """
study: mine
rows: {a: {}, "b, with": {recipe.lr: 0.002}}
profile: own
"""
PROFILE = """
profile: own
title: Own
extends: demo
settings:
  init: {weights: %s}
  data: {demo: {train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_data: Path) -> Path:
    """A workspace with a profile of its own, whose study starts from weights by an absolute path."""
    monkeypatch.setattr("orchestrator.workspace.workspace.content_hash", lambda path: "w" * 64)
    place = tmp_path / "here"
    (place / "studies" / "profiles").mkdir(parents=True)
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / "start.pth").write_bytes(b"weights")
    (place / "studies" / "mine.yaml").write_text(STUDY)
    (place / "farlab.toml").write_text(f"tracking_uri = 'http://bob:s3cret@127.0.0.1:1'\ndata_root = '{tiny_data}'\n")
    return place


def fill(place: Path, monkeypatch: pytest.MonkeyPatch, *, weights: str = "null") -> Store:
    """Write finished trials of the study through the product's own paths."""
    from orchestrator.plan.lockfile import write_lockfile
    from orchestrator.plan.plan import make_plan
    from orchestrator.study import load_study
    from orchestrator.workspace.workspace import open_workspace
    from tests.reports.conftest import finish

    (place / "studies" / "profiles" / "own.yaml").write_text(PROFILE % weights)
    monkeypatch.chdir(place)
    store = Store(place / "runs")
    plan = make_plan(
        load_study(place / "studies" / "mine.yaml", seeds=2), store,
        manifest_hash=open_workspace().data_hash, weights_hash=lambda init: "w" * 64 if init.weights else None,
    )  # fmt: skip
    write_lockfile(plan, store)
    for trial in plan.trials:
        finish(store, trial, 0.8 if trial.row == "a" else 0.5)
        attempts = [{"epoch": 0, "host": "their-host", "pid": 4711, "started_at": "2026-11-01T12:00:00Z"}]
        store.write_trial(
            trial.key,
            {"key": trial.key, "identity": trial.identity, "config": trial.config.model_dump(mode="json"),
             "profile": "own", "weights_root": str(place / "weights"), "attempts": attempts},  # type: ignore[typeddict-item]
        )  # fmt: skip
        store.paths(trial.key).log.write_text(f"loaded from {place}\n")
    return store


def report(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], format_: str) -> str:
    monkeypatch.chdir(place)
    capsys.readouterr()
    assert farlab.run(["report", "studies/mine.yaml", "--seeds", "2", "-f", format_]) == 0
    return capsys.readouterr().out


def test_the_folder_makes_the_same_tables_and_holds_nothing_of_this_machine(
    workspace: Path, tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = fill(workspace, monkeypatch, weights=str(workspace / "elsewhere" / "start.pth"))
    accept(store.root, "code", study="mine", part="p", before="b", now="n")
    before = {name: report(workspace, monkeypatch, capsys, name) for name in RENDERERS}
    there = tmp_path / "there"
    assert farlab.run(["export", "mine", "-o", str(there)]) == 0
    shutil.move(workspace, tmp_path / "gone")

    after = {name: report(there, monkeypatch, capsys, name) for name in RENDERERS}
    assert after == before
    for name, suffix in (("csv", ".csv"), ("json", ".json"), ("latex", ".tex"), ("markdown", ".md")):
        if name in before:
            assert (there / "tables" / f"mine{suffix}").read_text().rstrip() == before[name].rstrip(), name
    assert farlab.run(["plan", "studies/mine.yaml", "--seeds", "2", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [trial["done"] for trial in plan["trials"]] == [True] * 4, "without the weights themselves"
    tables = sorted(str(path) for path in (there / "tables").glob("mine.*") if path.suffix != ".txt")
    assert farlab.run(["verify", *tables]) == 0, capsys.readouterr()

    for path in there.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for secret in (str(tmp_path), str(tiny_data), "s3cret", "bob", "their-host", "4711", "gone"):
            assert secret.encode() not in data, (path, secret)
    assert not (there / "weights").exists()
    assert not list(there.rglob("log.txt"))


def test_the_crate_names_every_file_with_its_digest(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(workspace, monkeypatch)
    assert farlab.run(["export", "mine", "-o", str(tmp_path / "there")]) == 0
    crate = json.loads((tmp_path / "there" / "ro-crate-metadata.json").read_text())
    graph = {entity["@id"]: entity for entity in crate["@graph"]}
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    assert graph["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    root = graph["./"]
    assert all(root[key] for key in ("@type", "name", "description", "datePublished", "license"))
    files = {part["@id"] for part in root["hasPart"]}
    there = tmp_path / "there"
    assert files == {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()} - {
        "ro-crate-metadata.json"
    }
    for name in files:
        assert graph[name]["sha256"] == hashlib.sha256((there / name).read_bytes()).hexdigest()

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            return [value["@id"]] if set(value) == {"@id"} else [r for v in value.values() for r in references(v)]
        return [r for v in value for r in references(v)] if isinstance(value, list) else []

    known = {*graph, "https://w3id.org/ro/crate/1.1"}
    assert set(references(crate["@graph"])) <= known


def test_an_archive_is_the_folder_and_leaves_no_scratch(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(workspace, monkeypatch)
    archive = tmp_path / "mine.zip"
    assert farlab.run(["export", "mine", "-o", str(archive), "--no-predictions"]) == 0
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        packed.extractall(tmp_path / "unpacked")
    assert "mine/runs/studies/mine/own/study.lock.yaml" in names
    assert not [name for name in names if name.endswith("predictions.parquet")]
    assert not list(tmp_path.glob(".*"))
    before = report(workspace, monkeypatch, capsys, "csv")
    assert report(tmp_path / "unpacked" / "mine", monkeypatch, capsys, "csv") == before, "results hold the answers"


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (["nonsense", "-o", "x"], "no study 'nonsense'"),
        (["mine", "-o", "studies"], "exists already"),
        (
            ["mine", "-o", "x.tar.gz"],
            "nothing is exported as .gz: a folder has no such ending, an archive ends in .zip",
        ),
        (["mine", "-o", "x.PDF"], "nothing is exported as .pdf"),
        (["mine", "-o", "x", "-p", "demo"], "not with profile 'demo'"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: list[str], part: str
) -> None:
    fill(workspace, monkeypatch)
    assert farlab.run(["export", *call]) == 2
    assert part in capsys.readouterr().err
    assert not [*workspace.glob("x*")]


def test_a_study_that_was_edited_since_cannot_make_its_table(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(workspace, monkeypatch)
    (workspace / "studies" / "mine.yaml").write_text(STUDY + "# edited\n")
    assert farlab.run(["export", "mine", "-o", "x"]) == 2
    assert "has been changed since it was submitted" in capsys.readouterr().err


def test_plug_ins_go_along_as_they_are(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ideas = (Path(__file__).parents[2] / "examples" / "variants" / "three_stripes.py").read_text()
    ideas = ideas.replace("three-stripe", "exported-stripe") + f"# made in {workspace}\n"
    (workspace / "studies" / "ideas.py").write_text(ideas)
    study = STUDY.replace("rows: {", "plugins: [ideas.py]\nrows: {c: {model.attention: {exported-stripe: 1}}, ")
    (workspace / "studies" / "mine.yaml").write_text(study)
    with only_within():
        fill(workspace, monkeypatch)
        assert farlab.run(["export", "mine", "-o", str(tmp_path / "there")]) == 0
    shutil.move(workspace, tmp_path / "gone")
    kept = sorted((tmp_path / "there").rglob("ideas.py"))
    assert len(kept) >= 2, "beside the study, and with the submission"
    assert {path.read_text() for path in kept} == {ideas}
    with only_within():
        assert "c" in report(tmp_path / "there", monkeypatch, capsys, "csv")

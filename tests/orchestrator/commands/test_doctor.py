"""``farlab doctor`` finds what was broken on purpose, and says what mends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import farlab
from far.data.sources.manifest import FILE_NAME, Manifest, Video, write_manifest
from orchestrator.doctor import software, store, workspace
from orchestrator.doctor.finding import Finding
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study
from orchestrator.workspace.workspace import open_workspace

STUDY = "study: q\nrows: {a: {init.weights: nothing.pth}, b: {data.source: absent, data.classes: 4}}\nseeds: 1\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace in which a study was submitted whose weights and data are not here."""
    (tmp_path / "q.yaml").write_text(STUDY)
    plan = make_plan(
        load_study(tmp_path / "q.yaml"), Store(tmp_path / "runs"),
        manifest_hash=lambda data: "d", weights_hash=lambda init: init.weights,
    )  # fmt: skip
    write_lockfile(plan, Store(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(findings: Iterator[Finding]) -> Callable[..., list[Finding]]:
    kept = list(findings)
    return lambda part, level: [each for each in kept if (each.part, each.level) == (part, level)]


def test_data_and_weights_that_studies_name_are_looked_for(place: Path) -> None:
    about = found(workspace.findings(open_workspace()))
    (data,) = about("data", "fail")
    assert "'absent'" in data.text
    assert data.mend.startswith("farlab data prepare")
    (weights,) = about("weights", "fail")
    assert "nothing.pth" in weights.text
    assert about("disk", "ok") or about("disk", "warn")
    assert about("store", "ok")


def test_a_data_set_whose_files_are_gone_fails(place: Path) -> None:
    folder = place / "data" / "mine"
    videos = [Video(f"v{i}", "train", f"v{i}.mp4", i % 2, 8, 4.0, 32, 32, "") for i in range(4)]
    for video in videos[1:]:
        (folder / video.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / video.path).write_bytes(b"")
    write_manifest(Manifest(tuple(videos), ("a", "b"), folder, "folder", folder))
    (gone,) = [each for each in found(workspace.findings(open_workspace()))("data", "fail") if "mine" in each.text]
    assert "v0.mp4" in gone.text
    assert gone.mend == "farlab data check mine"
    (folder / FILE_NAME).write_bytes(b"no parquet")
    assert any("mine" in each.text for each in found(workspace.findings(open_workspace()))("data", "fail"))


def test_records_and_locks_of_what_was_killed(place: Path) -> None:
    here = Store(place / "runs")
    (cell,) = [trial for trial in make_plan(
        load_study(place / "q.yaml"), here, manifest_hash=lambda data: "d", weights_hash=lambda init: init.weights
    ).trials if trial.row == "a"]  # fmt: skip
    paths = here.paths(cell.key)
    here.write_trial(cell.key, {"key": cell.key, "config": {"seed": 0}, "attempts": [{"epoch": 0}]})
    (interrupted,) = found(store.findings(here))("trials", "warn")
    assert (cell.key in interrupted.text, interrupted.mend) == (True, "farlab resume q")
    paths.result.write_text('{"key": "another"')
    (corrupt,) = found(store.findings(here))("trials", "fail")
    assert (str(paths.result) in corrupt.text, corrupt.mend) == (True, "farlab resume q")
    lock = here.lock_study("q").path
    lock.write_text(json.dumps({"host": "h", "pid": 2**22 + 1, "since": "then"}))
    (killed,) = found(store.findings(here))("sweeps", "warn")
    assert "which was killed" in killed.text
    with here.lock_study("q"):
        assert "driven by" in found(store.findings(here))("sweeps", "ok")[0].text


def test_packages_are_held_against_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["torch>=2.10", "rich>=999", "no-such-package>=1", "decord>=0.6; platform_machine == 'none'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: asked)
    about = found(software.findings())
    assert about("torch", "ok")
    assert about("rich", "fail")[0].mend == "pip install 'rich>=999'"
    assert "is not installed" in about("no-such-package", "fail")[0].text
    assert not about("decord", "ok")


def test_the_whole_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(place.rglob("*"))
    assert farlab.run(["doctor", "--json"]) == 3, "what the study names is missing"
    said = json.loads(capsys.readouterr().out)
    levels = {each["part"]: each["level"] for each in said}
    assert levels["decoder"] == levels["gpu"] == "ok"
    assert levels["weights"] == "fail"
    assert all(each["mend"] for each in said if each["level"] == "fail")
    assert sorted(place.rglob("*")) == before


def test_a_wrong_farlab_toml_is_one_of_its_lines(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoProbe:
        close = findings = lambda self: iter(())

    monkeypatch.setattr("orchestrator.doctor.machine.LibraryProbe", NoProbe)
    (place / "farlab.toml").write_text("stor = 'x'\n")
    assert farlab.run(["doctor"]) == 3
    output = capsys.readouterr().out
    assert "farlab.toml:1" in output
    assert "1 fail" in output

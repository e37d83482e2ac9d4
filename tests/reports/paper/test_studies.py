"""Which studies a report is about: a table's own or shipped study, and everything that a store was given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import farlab
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study
from orchestrator.study.profiles import packaged_studies
from reports.page import watch

OWN = "study: {name}\ntitle: {title}\n{table}rows:\n  {row}: {{}}\n  other: {{model.interaction: none}}\nseeds: 1\n"
FULL = ["data.demo.train_clips=40", "data.demo.val_clips=20"]


def write(path: Path, name: str, *, row: str = "mine", table: str = "", title: str = "Mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OWN.format(name=name, title=title, row=row, table=table))
    return path


def submit(study: str | Path, *, profile: str = "demo", overrides: Sequence[str] = (), seeds: Any = None) -> None:
    """Leave what a sweep leaves of a study when it is submitted."""
    store = Store("runs")
    loaded = load_study(study, profile=profile, overrides=overrides, seeds=seeds)
    write_lockfile(make_plan(loaded, store, manifest_hash=lambda data: "d" * 16), store)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert farlab.run(["report", *arguments, "-f", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_study_of_ones_own_stands_for_a_table_only_with_a_word(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(workspace / "studies" / "mine.yaml", "mine", row="'2:1'", table="table: 5\n")
    table = report(capsys, "--table", "5")
    assert (table["title"], [row["row"] for row in table["rows"]]) == ("Mine", ["2:1", "other"])
    word = "Table 5 is that of studies/mine.yaml, which stands before the study that is shipped."
    assert word in [note["text"] for note in table["notes"]]
    assert word not in [note["text"] for note in report(capsys, "studies/mine.yaml")["notes"]]
    for command in (["figure", "pareto", "-t", "5"], ["power", "-t", "5"]):
        assert farlab.run(command) != 0  # nothing has finished
        assert word in capsys.readouterr().err


def test_a_page_made_in_a_folder_of_the_workspace_names_no_folder_of_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(write(workspace / "studies" / "mine.yaml", "mine"))
    (workspace / "farlab.toml").touch()
    (workspace / "text").mkdir()
    monkeypatch.chdir(workspace / "text")
    assert farlab.run(["report", "mine", "-o", "page"]) == 0
    text = Path("page/index.html").read_text()
    assert str(workspace) not in text and "farlab sweep mine " in text


def test_a_copy_of_the_shipped_study_needs_no_word(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "studies").mkdir()
    (workspace / "studies" / "head_ratio.yaml").write_bytes((packaged_studies() / "head_ratio.yaml").read_bytes())
    table = report(capsys, "--table", "5")
    assert len(table["rows"]) == 3 and not [n for n in table["notes"] if "stands before" in n["text"]]


def test_two_studies_for_one_table_are_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        write(workspace / "studies" / f"{name}.yaml", name, row="'1:1'", table="table: 5\n", title=name)
    assert farlab.run(["report", "--table", "5"]) == 2
    error = capsys.readouterr().err
    assert "studies/one.yaml, studies/two.yaml" in error
    found = report(capsys, "--all")
    assert [table["title"] for table in found if table["table"] == 5] == ["one", "two"]
    assert farlab.run(["report", "--all", "-f", "latex", "-o", "all.tex"]) == 0
    labels = [line for line in Path("all.tex").read_text().splitlines() if line.startswith(r"\label")]
    assert len(set(labels)) == len(labels) == 9


def test_everything_holds_what_was_submitted_on_what_it_was_given(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit("head_ratio")
    submit(write(workspace / "mine.yaml", "mine"), overrides=[*FULL, "recipe.epochs=2"], seeds=3)
    submit(write(workspace / "gone.yaml", "gone", row="was"), profile="csv")
    (workspace / "gone.yaml").unlink()
    submit("baselines")
    found = {table["table"]: table for table in report(capsys, "--all")}
    assert list(found) == [1, 2, 3, 4, 5, 6, 7, 8, "baselines", "gone", "mine"]
    assert "recipe.epochs=2" in " ".join(note["text"] for note in found["mine"]["notes"])
    assert list(found["mine"]["rows"][0]["seeds"]) == ["0", "1", "2"]
    assert (found["gone"]["profile"], found["gone"]["rows"][0]["row"]) == ("csv", "was")
    assert "gone" not in [table["table"] for table in report(capsys, "--all", "--profile", "demo")]
    typed = {table["table"]: table for table in report(capsys, "--all", "--seeds", "1", "recipe.epochs=5")}
    assert list(typed["mine"]["rows"][0]["seeds"]) == ["0"]


def test_a_page_of_everything_has_a_place_for_each_study(workspace: Path) -> None:
    submit(write(workspace / "mine.yaml", "mine"))
    assert farlab.run(["report", "--all", "-o", "page"]) == 0
    text = (workspace / "page" / "index.html").read_text()
    assert 'id="table-mine"' in text and 'href="#table-mine">Mine.<' in text


def test_watching_everything_ends_where_nothing_was_submitted(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            Store("runs").study("mine").lockfile("demo").unlink()

    monkeypatch.setattr(watch.time, "sleep", sleep)
    assert farlab.run(["report", "--all", "-o", "page", "--watch"]) == 0
    assert not slept
    submit(write(workspace / "mine.yaml", "mine"))
    capsys.readouterr()
    assert farlab.run(["report", "--all", "-o", "page", "--watch"]) == 0
    assert len(slept) == 3
    assert capsys.readouterr().out.count("watching; open") == 1


def test_two_studies_of_one_name_are_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(workspace / "a.yaml", "same")
    write(workspace / "b.yaml", "same", row="b")
    assert farlab.run(["report", "a.yaml", "b.yaml"]) == 2
    assert "two studies are called 'same'" in capsys.readouterr().err

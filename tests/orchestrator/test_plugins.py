"""Plug-ins of a study, of farlab.toml and of a trial: what is told of them, what is kept, and whose code runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import farlab
from far.plugins import load_plugin, loaded_plugins, only_within
from far.source import source_of
from far.store.paths import TrialPaths
from orchestrator.cli.options import plan_targets
from orchestrator.cli.sweeps import find_lockfile, locked_plan
from orchestrator.plan.changed_code import CURRENT
from orchestrator.plan.jobs import make_job, submit
from orchestrator.plan.lockfile import load_submitted_plugins, write_lockfile
from orchestrator.plan.plan import Plan
from orchestrator.store.remote import RemoteStore
from orchestrator.workspace.workspace import Workspace
from tests.orchestrator.plan.test_changed_code import finish

STUDY = """
study: own
plugins: [ideas.py]
base:
  model: {depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8], interaction: none, classifier: global-mean}
  data: {classes: 10, demo: {train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}
  recipe: {epochs: 2, batch_size: 8, warmup_epochs: 0, lr_reference_batch: 8, precision: fp32}
rows: {A: {model.attention: {global: 1}}, B: {model.attention: {global: 1, stripes: 1}}}
seeds: 2
"""
IDEAS = """
import numpy as np
from far.architecture.patterns import PATTERNS

open("ran", "a").write("ideas ")
N = 3

@PATTERNS.register("stripes")
def stripes(grid):
    return np.broadcast_to(np.arange(grid[2]) * min(N, grid[2]) // grid[2], grid).astype(np.int64)
"""
EVERY_AXIS = Path(__file__).parent / "plugins" / "every_axis.py"
CHANGED = "the code of 'stripes' has changed since"


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    assert not loaded_plugins()


@pytest.fixture
def place(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a study and its plug-in."""
    home = tmp_path / "lab"
    home.mkdir()
    monkeypatch.chdir(home)
    (home / "own.yaml").write_text(STUDY)
    (home / "ideas.py").write_text(IDEAS)
    (home / "farlab.toml").write_text(f"data_root = '{tiny_data}'\n")
    return home


@pytest.fixture
def lab(place: Path) -> tuple[Plan, Workspace]:
    """The same with four finished trials, as a sweep would have left them."""
    with only_within():
        plan, workspace = plan_targets(["own.yaml"], None, None, generate=True)
        write_lockfile(plan, workspace.store)
        for trial in plan.trials:
            submit(workspace, trial)
            finish(workspace.store.paths(trial.key), trial.config, source_of(trial.config))
    ran().unlink()
    return plan, workspace


def ran() -> Path:
    return Path("ran")


def said(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    capsys.readouterr()
    assert farlab.run(arguments) == code, capsys.readouterr()
    both = capsys.readouterr()
    assert "Traceback" not in both.out + both.err
    return " ".join((both.out + both.err).split())


def key_of(plan: Plan, row: str) -> str:
    return next(trial.key for trial in plan.trials if trial.row == row)


def test_a_trial_keeps_the_plugins_that_it_uses(lab: tuple[Plan, Workspace]) -> None:
    plan, workspace = lab
    a, b = (workspace.store.paths(key_of(plan, row)) for row in "AB")
    assert json.loads(a.trial.read_text())["plugins"] == [] and not a.plugins.exists()
    (record,) = json.loads(b.trial.read_text())["plugins"]
    assert (b.plugins / record["digest"] / "ideas.py").read_text() == IDEAS
    frozen = workspace.store.study("own").lockfile("demo").parent
    assert (frozen / "plugins" / record["digest"] / "ideas.py").read_text() == IDEAS


def test_a_changed_file_is_told_and_in_no_mean(lab: tuple[Plan, Workspace], capsys: pytest.CaptureFixture[str]) -> None:
    assert "has changed" not in said(["status"], capsys) + said(["report", "own.yaml"], capsys)
    Path("ideas.py").write_text(f'"""Mine."""\n{IDEAS}  # the same\n')
    assert "has changed" not in said(["plan", "own.yaml"], capsys)
    Path("ideas.py").write_text(IDEAS.replace("N = 3", "N = 2"))
    for command in (["plan", "own.yaml"], ["status"], ["report", "own.yaml"], ["show", key_of(lab[0], "B"), "--json"]):
        text = said(command, capsys)
        assert CHANGED in text, command
    rows = json.loads(said(["report", "own.yaml", "-f", "json"], capsys).split(" note:")[0])["rows"]
    assert [row["metrics"]["top1"]["values"] for row in rows] == [[40.0, 50.0], []]
    keys = {trial.key for trial in lab[0].trials}
    assert {cell["key"] for cell in json.loads(said(["plan", "own.yaml", "--json"], capsys).split(" warning:")[0])[
        "trials"]} == keys  # fmt: skip


def test_a_submission_goes_on_with_what_stood_in_the_file_then(
    lab: tuple[Plan, Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("1 / 0\n", None):
        Path("ideas.py").unlink() if text is None else Path("ideas.py").write_text(text)
        with only_within():  # as `farlab resume` does
            load_submitted_plugins(find_lockfile("own", None, lab[1].store))
            plan = locked_plan("own", None, lab[1])
            assert not plan.missing() and {each.state for each in plan.code.values()} == {CURRENT}
        assert "its changes are not known: ideas.py" in said(["status"], capsys)
    text = said(["report", "own.yaml"], capsys)
    assert "it runs as the store has it" in text and "B 45.0" in text
    assert "B 45.0" in said(["report", "--all"], capsys)
    assert "is finished" in said(["train", f"runs/trials/{key_of(lab[0], 'B')}/trial.json"], capsys)


def test_a_copy_runs_only_in_its_own_store_and_as_it_was(
    lab: tuple[Plan, Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    key = key_of(lab[0], "B")
    directory = lab[1].store.paths(key).directory
    elsewhere = Path("elsewhere") / "trials" / key
    shutil.copytree(directory, elsewhere)
    for command in ("evaluate", "train"):
        word = str(elsewhere / "trial.json") if command == "train" else str(elsewhere)
        text = said([command, word], capsys, code=2)
        assert "does not lie in this workspace's store: --trust runs it" in text
    assert not ran().exists()
    assert "is finished" in said(["train", str(elsewhere / "trial.json"), "--trust"], capsys)
    assert ran().exists()
    ran().unlink()
    copy = next(directory.glob("plugins/*/ideas.py"))
    copy.write_text(IDEAS.replace("ideas ", "evil"))
    assert "has been changed" in said(["evaluate", key], capsys, code=2)
    copy.unlink()
    assert "is not whole" in said(["evaluate", key, "--trust"], capsys, code=2)
    record = json.loads((directory / "trial.json").read_text())
    record["plugins"][0]["files"] = ["../../../../ideas.py"]
    (directory / "trial.json").write_text(json.dumps(record))
    assert "names files elsewhere" in said(["evaluate", key], capsys, code=2)
    assert not ran().exists()


def test_commands_on_anothers_store_run_nothing_of_it(
    lab: tuple[Plan, Workspace], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records name a study and plug-ins that lie beside it."""
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy("farlab.toml", mine)
    monkeypatch.chdir(mine)
    theirs = str(tmp_path / "lab" / "runs")
    text = said(["report", "--all", "--store", theirs], capsys)
    assert "study 'own' is left out" in text and "--trust" in text
    assert not ran().exists()
    assert "B 45.0" in said(["report", "--all", "--store", theirs, "--trust"], capsys)
    assert ran().exists()


def test_copies_from_a_url_are_whole_and_need_to_be_trusted(
    lab: tuple[Plan, Workspace], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = key_of(lab[0], "B")
    store, remote = lab[1].store, RemoteStore(f"file://{tmp_path / 'remote'}")
    remote.push(store, [key])
    remote.pull(store)  # what is here is one's own
    assert "is finished" in said(["train", f"runs/trials/{key}/trial.json"], capsys)
    shutil.rmtree(store.root)
    remote.pull(store)
    copies = [path.relative_to(store.root).parts[0] for path in store.root.rglob("ideas.py")]
    assert sorted(copies) == ["studies", "trials"]
    ran().unlink()
    for command in (["train", f"runs/trials/{key}/trial.json"], ["resume", "own"]):
        assert "comes from the store's URL, where others may write: --trust" in said(command, capsys, code=2)
    assert not ran().exists()
    assert "is finished" in said(["train", f"runs/trials/{key}/trial.json", "--trust"], capsys)


def test_an_export_has_what_was_submitted(lab: tuple[Plan, Workspace], capsys: pytest.CaptureFixture[str]) -> None:
    Path("ideas.py").write_text(IDEAS.replace("N = 3", "N = 2"))
    said(["export", "own", "-o", "out"], capsys)
    os.chdir("out")
    assert Path("studies/ideas.py").read_text() == IDEAS
    assert "B 45.0" in said(["report", "studies/own.yaml"], capsys)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give files away")
def test_what_belongs_to_others_runs_only_if_they_are_trusted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("ideas.py", "own.yaml"):
        os.chown(path, 2001, 2001)
        text = said(["validate", "own.yaml"], capsys, code=2)
        assert f"{path}" in text and "belongs to user 2001" in text and "--trust" in text
        assert not ran().exists()
        said(["validate", "own.yaml", "--trust"], capsys)
        assert ran().exists()
        ran().unlink()
        os.chown(path, 0, 0)
    Path("farlab.toml").write_text("plugins = ['ideas.py']\n")
    os.chown("farlab.toml", 2001, 2001)
    Path("own.yaml").write_text(STUDY.replace("plugins: [ideas.py]", ""))
    text = said(["validate", "own.yaml"], capsys, code=2)
    assert "belongs to user 2001: its plug-ins are not loaded; --trust loads them" in text
    assert "unknown attention pattern 'stripes'" in text and not ran().exists()
    said(["validate", "own.yaml", "--trust"], capsys)
    assert "note" in said(["plan", "head_ratio"], capsys)  # what needs no plug-in goes on


@pytest.mark.parametrize("name", ["ideas.py", "own.yaml", "."])
def test_what_everybody_can_write_runs_only_if_it_is_trusted(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).chmod(0o777)
    assert "everybody can write: --trust" in said(["validate", "own.yaml"], capsys, code=2)
    assert not ran().exists()
    said(["validate", "own.yaml", "--trust"], capsys)
    if Path(name).is_dir():
        Path(name).chmod(0o1777)  # as /tmp: nobody can take another's file away
        said(["validate", "own.yaml"], capsys)


@pytest.mark.parametrize(
    ("plugins", "said_of_it"),
    [
        ("ideas.py", "own.yaml:3: plugins: is a list"),
        ("[3]", "own.yaml:3: plugins: is a list"),
        ("[idea.py]", "idea.py: no such file (named in own.yaml:3). Did you mean 'ideas.py'"),
        ("[ideas]", "'ideas' is no installed module"),
        ("[ideas.py, ideas.py]", "'ideas.py' is listed twice"),
        ("[broken.py]", "broken.py:2: is not valid Python"),
        (
            "[missing.py]",
            "missing.py:1: needs the module 'nothing_like_it', which is not installed (named in own.yaml:3",
        ),
        ("[ideas.py, copy.py]", "'stripes' is registered twice"),
        ("[talks.py]", "talks.py:2: prints without end"),
        ("[ends.py]", "ends.py:2: ends the program"),
        ("[later.py]", "later.py:6: ZeroDivisionError: integer"),
    ],
)
def test_a_wrong_plugin_is_one_line_and_exit_code_2(
    plugins: str, said_of_it: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.py").write_text("\ndef f(:\n")
    Path("missing.py").write_text("import nothing_like_it\n")
    Path("copy.py").write_text(IDEAS + "MORE = 1\n")
    Path("talks.py").write_text("while True:\n    print('again')\n")
    Path("ends.py").write_text("import sys\nsys.exit()\n")
    Path("later.py").write_text(  # right on the small grids that it is tried on
        "import numpy as np\nfrom far.architecture.patterns import PATTERNS\n\n@PATTERNS.register('stripes')\n"
        "def stripes(grid):\n    return np.zeros(grid, dtype=int) + 1 // (4 - grid[0]) * 0\n"
    )
    Path("own.yaml").write_text(STUDY.replace("[ideas.py]", plugins))
    assert said_of_it in said(["plan", "own.yaml"], capsys, code=2)


def test_plugins_of_the_workspace_are_there_for_every_study(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    below = place / "studies"
    below.mkdir()
    (below / "own.yaml").write_text(STUDY.replace("plugins: [ideas.py]", ""))
    assert "unknown attention pattern 'stripes'" in said(["validate", "studies"], capsys, code=2)
    Path("farlab.toml").write_text("plugins = ['./ideas.py']\n")
    said(["validate", "studies"], capsys)
    os.chdir(below)
    said(["validate", "own.yaml"], capsys)
    (below / "own.yaml").write_text(STUDY.replace("ideas.py", "../ideas.py"))  # the same one twice
    said(["validate", "own.yaml"], capsys)
    (place / "farlab.toml").write_text("plugins = ['./idea.py']\n")
    assert "no such file (named in" in said(["validate", "own.yaml"], capsys, code=2)


@pytest.mark.slow  # trains two trials
def test_every_axis_of_the_orchestrator_and_of_reports_takes_an_entry(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(EVERY_AXIS, "every.py")
    Path("own.yaml").write_text(
        STUDY.replace("ideas.py", "every.py").replace("stripes", "spatial").replace("depth: 1", "backbone: mini")
    )
    run = ["sweep", "own.yaml", "--seeds", "1", "--executor", "own", "--tracking-uri", "lines://here"]
    assert "2/2 trials finished" in said(run, capsys)
    assert Path("executed").exists() and Path("tracked").read_text() == "2"
    results = [json.loads(path.read_text()) for path in Path("runs").glob("trials/*/result.json")]
    assert all(0 <= each["metrics"]["right"] <= 20 for each in results) and len(results) == 2
    assert all(TrialPaths(path).plugins.exists() for path in Path("runs/trials").iterdir())
    assert "1 tables" in said(["report", "own.yaml", "--seeds", "1", "-f", "count"], capsys)
    table = said(["report", "own.yaml", "--seeds", "1", "-f", "md"], capsys)
    mean = sorted(each["metrics"]["right"] for each in results)
    assert "| right |" in table and f"{mean[0]:.1f}" in table
    said(["figure", "rows", "own.yaml", "--seeds", "1", "-o", "rows.png"], capsys)
    assert Path("rows.png").stat().st_size > 500
    assert "read by the plug-in" in said(["data", "prepare", "own", ".", "--plugin", "every.py"], capsys, code=3)
    assert "unknown layout 'own'" in said(["data", "prepare", "own", "."], capsys, code=2)
    Path("farlab.toml").write_text(
        Path("farlab.toml").read_text() + "plugins = ['every.py']\ntracking_uri = 'lines://x'\n"
    )
    assert "read by the plug-in" in said(["data", "prepare", "own", "."], capsys, code=3)
    assert "tracked in lines://x" in said(["sweep", "-n", "own.yaml"], capsys)


def test_jobs_bring_their_plugins_to_processes_that_have_none(lab: tuple[Plan, Workspace], tmp_path: Path) -> None:
    from far.distributed import join_world
    from orchestrator.executors.trial_runner import TrialRunner

    with only_within():
        plan, workspace = plan_targets(["own.yaml"], None, None, generate=True)
        job = make_job(workspace, next(trial for trial in plan.trials if trial.row == "B"))
    assert [code.name for code in job.plugins] == ["ideas.py"] and not loaded_plugins()
    Path("ideas.py").unlink()
    shutil.rmtree(TrialPaths(job.directory).plugins)
    with only_within():
        host = TrialRunner(join_world(cpus=1, gpus=False), capture=False)
        host.start(job)
        host.prepare()
        host.close()
        (plugin,) = loaded_plugins()
        assert plugin.code.root.is_relative_to(TrialPaths(job.directory).plugins)
    with only_within(), pytest.raises(Exception, match="no such file"):
        load_plugin("ideas.py")

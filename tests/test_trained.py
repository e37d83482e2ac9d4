"""Trained trials in use: ``farlab predict``, ``farlab evaluate --split``, and all of it from Python."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import farlab
from far.config import TrialConfig
from far.data import Manifest, open_manifest
from far.data.sources.demo import MOTIONS
from far.errors import ConfigError
from far.plugins import loaded_plugins, unload_plugin
from farlab.arguments import console
from orchestrator.cli.videos import find_videos
from orchestrator.executors.signals import STOPS
from orchestrator.store.store import Store
from orchestrator.tracking.mirror import Mirror
from orchestrator.tracking.tracked import Sweep, TrackedTrial
from reports.figures.explain import draw
from reports.results.state import State

Run = Callable[..., tuple[int, str, str]]


STUDY = "study: small\nrows: {one: {}, two: {recipe.lr: 5.0e-4}}\nseeds: 2\n"
TRACKER = Path(__file__).parents[1] / "examples" / "variants" / "json_tracker.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, tiny_config: TrialConfig) -> Iterator[Path]:
    """A workspace with a study that has run, two rows of two seeds; the first trial is ``one/0``."""
    made = tmp_path_factory.mktemp("trained")
    (made / "data").mkdir()
    for folder in tiny_data.iterdir():
        (made / "data" / folder.name).symlink_to(folder)
    settings = tiny_config.model_dump(mode="json", include={"model", "data", "recipe"}, exclude_unset=True)
    profile = {"profile": "tiny", "description": "a second", "comparable": False, "settings": settings}
    (made / "profiles").mkdir()
    (made / "profiles" / "tiny.yaml").write_text(json.dumps(profile))
    (made / "studies").mkdir()
    (made / "studies" / "small.yaml").write_text(STUDY)
    (made / "farlab.toml").write_text("profile = 'tiny'\n")
    signals = [signal.getsignal(number) for number in STOPS]
    before = Path.cwd()
    os.chdir(made)
    try:
        uri = f"jsonl://{made / 'tracked.jsonl'}"  # a data base of MLflow's would take longer than the trials
        with redirect_stdout(io.StringIO()) as said:
            outcome = farlab.sweep("small", executor="local", tracking_uri=uri, plugins=[TRACKER], progress=False)
        assert (outcome.finished, outcome.bad, outcome.exit_code) == (4, [], 0)
        assert said.getvalue() == ""
        assert [signal.getsignal(number) for number in STOPS] == signals
        assert len((made / "tracked.jsonl").read_text().splitlines()) == 4
        yield made
    finally:
        os.chdir(before)
        for plugin in loaded_plugins():
            unload_plugin(plugin)


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return ``run(*arguments)``: exit code, output and errors of a command there."""
    monkeypatch.chdir(place)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = farlab.run([str(each) for each in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def key(place: Path) -> str:
    """The trial."""
    return farlab.load_trial("one/0").key


@pytest.fixture(scope="module")
def manifest(place: Path, tiny_config: TrialConfig) -> Manifest:
    """Its data set."""
    return open_manifest(tiny_config.data, place / "data")


def test_files_get_the_scores_that_the_evaluation_gives_them(
    run: Run, key: str, manifest: Manifest, tmp_path: Path
) -> None:
    videos = manifest.split("val")
    assert run("evaluate", key, "--views", "2x3", "-o", tmp_path / "views.parquet")[0] == 0
    views = pd.read_parquet(tmp_path / "views.parquet")
    logits = np.stack(list(views["logits"])).astype(float)
    each = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = pd.DataFrame(each).groupby(views["id"]).mean()

    files = [manifest.file(video) for video in reversed(videos)]
    assert run("predict", key, *files, "--views", "2x3", "-k", "10", "-o", tmp_path / "all.parquet")[0] == 0
    found = pd.read_parquet(tmp_path / "all.parquet")
    assert list(found.columns) == ["video", "rank", "label", "class", "score"]
    assert list(dict.fromkeys(found["video"])) == [str(file) for file in files], "in the order in which they were given"
    assert found["class"].tolist() == [list(MOTIONS)[label] for label in found["label"]]
    wide = found.pivot(index="video", columns="label", values="score")
    own = np.stack([wide.loc[str(manifest.file(video))] for video in videos])
    np.testing.assert_allclose(own, np.stack([expected.loc[video.id] for video in videos]), atol=1e-5)
    assert (found.groupby("video")["score"].diff().dropna() <= 0).all(), "likeliest first"

    code, output, _ = run("predict", key, "--split", "val", "--views", "2x3", "-f", "csv")
    split = pd.read_csv(pd.io.common.StringIO(output))
    best = found[found["rank"] == 1]
    assert code == 0
    assert split["video"].tolist() == [video.id for video in videos]
    assert split["label"].tolist() == best["label"].tolist()[::-1]


def test_an_unreadable_video_is_named_and_the_others_are_answered(
    run: Run, key: str, manifest: Manifest, tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad.mp4", manifest.file(manifest.split("val")[0])
    bad.write_bytes(b"no video")
    code, output, errors = run("predict", key, bad, good, "--format", "json")
    assert code == 3
    said = json.loads(output)
    assert [each["video"] for each in said["predictions"]] == [str(good)]
    assert list(said["unreadable"]) == [str(bad)]
    assert f"unreadable: {bad}: " in errors
    assert run("predict", key, bad)[:2] == (3, "")
    code, _, errors = run("predict", key, good, tmp_path / "absent.mp4")
    assert code == 2
    assert "absent.mp4" in errors


def test_a_test_set_without_labels_comes_back_as_ids_and_templates(
    run: Run, key: str, manifest: Manifest, tmp_path: Path
) -> None:
    """As distributed: ``test.json`` has ids alone, and the answers are written as in its ``test-answers.csv``."""
    videos = manifest.split("val")[:6]
    (tmp_path / "labels.json").write_text(json.dumps({name: str(n) for n, name in enumerate(MOTIONS)}))
    (tmp_path / "test.json").write_text(json.dumps([{"id": str(100 + n)} for n in range(6)]))
    for number, video in enumerate(videos):
        (tmp_path / f"{100 + number}.mp4").symlink_to(manifest.file(video).resolve())
    code, output, errors = run("data", "prepare", "ssv2", tmp_path, "--name", "secret")
    assert code == 0, errors
    assert "use it with: farlab predict TRIAL --split test --data secret" in output
    code, output, _ = run("predict", key, "--split", "test", "--data", "secret", "-f", "answers")
    files = json.loads(run("predict", key, *map(manifest.file, videos), "-f", "json")[1])["predictions"]
    assert code == 0
    assert output.splitlines() == [f"{100 + n};{each['class']}" for n, each in enumerate(files)]
    code, _, errors = run("evaluate", key, "-o", "views.csv")
    assert code == 2 and "scores are written as Parquet" in errors
    code, _, errors = run("evaluate", key, "-o", "nowhere/views.parquet")
    assert code == 2 and "no folder nowhere" in errors
    code, _, errors = run("evaluate", key, "--split", "test", "--data", "secret")
    assert code == 3
    assert "6 videos of the split 'test' without a label" in errors


def test_another_split_is_evaluated_and_other_classes_are_refused(
    run: Run, key: str, manifest: Manifest, tmp_path: Path
) -> None:
    said = json.loads(run("evaluate", key, "--split", "train", "--json")[1])
    assert (said["expected"], said["split"]) == (len(manifest.split("train")), "train")
    code, _, errors = run("evaluate", key, "--split", "test")
    assert code == 2
    assert "--split: the data set has no split 'test' (valid: train, val)" in errors
    for name in ("a", "b"):
        (tmp_path / "test" / name).mkdir(parents=True)
        (tmp_path / "test" / name / "1.mp4").symlink_to(manifest.file(manifest.split("val")[0]).resolve())
    (tmp_path / "test/b/1.mp4").rename(tmp_path / "test/b/2.mp4")
    assert run("data", "prepare", "folder", tmp_path, "--name", "others")[0] == 0
    code, _, errors = run("evaluate", key, "--split", "test", "--data", "others")
    assert code == 2
    assert "has 2 classes, the trial 10" in errors


def test_names_of_classes_come_from_the_trial_and_are_never_guessed(run: Run, key: str, manifest: Manifest) -> None:
    video, file = manifest.file(manifest.split("val")[0]), Store(Path("runs")).paths(key).classes
    names = json.loads(file.read_text())
    try:
        file.write_text(json.dumps([f"my {name}" for name in names]))
        assert "my " in run("predict", key, video)[1]
        file.write_text(json.dumps(names[:3]))
        _, output, errors = run("predict", key, video)
        assert "class " in output
        assert "nothing here knows the names of the classes" in errors
        file.unlink()
        assert any(name in run("predict", key, video)[1] for name in names)
    finally:
        file.write_text(json.dumps(names))


def test_files_folders_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.mp4", "in/deep/a.webm", "in/notes.txt", "in/.c.mp4", "d[1].mp4", "e.data"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert find_videos(["in"]) == [Path("in/b.mp4"), Path("in/deep/a.webm")]
    assert find_videos(["in/**/*", "d[1].mp4", "e.data", "in/b.mp4"]) == [
        Path("in/b.mp4"), Path("in/deep/a.webm"), Path("d[1].mp4"), Path("e.data"),
    ]  # fmt: skip
    for nothing in ("*.avi", "f.mp4", "in/notes"):
        with pytest.raises(ConfigError, match="no video there"):
            find_videos([nothing])


@pytest.mark.slow
def test_a_promoted_trial_classifies_without_its_store(
    run: Run, place: Path, key: str, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow finds it by its alias, and answers as ``farlab predict`` does."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # MLflow sets it; it is as before after the test
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    video, uri = manifest.file(manifest.split("val")[0]), f"sqlite:///{tmp_path / 'mlflow.db'}"
    store = Store(place / "runs")
    asked = ["promote", key, "--alias", "best", "--tracking-uri", uri]
    code, _, errors = run(*asked)
    assert code == 2 and f"MLflow has no run of trial {key}" in errors
    trials = [TrackedTrial(key, "one", 0, store.paths(key).directory)]
    tags = {"farlab.study": "small", "farlab.store": store.identity()}
    assert Mirror(uri, [Sweep("small", "tiny", trials, tmp_path / "state.json", tmp_path / "a", tags)]).close()
    expected = json.loads(run("predict", key, video, "-k", "3", "-f", "json")[1])["predictions"]
    for version in ("1", "2"):
        code, output, errors = run(*asked)
        assert (code, errors) == (0, "") and f"registered small, version {version}" in output
    assert run("promote", key, "--name", "a/b", "--tracking-uri", uri)[0] == 2

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("far.train.checkpoint.latest", None)  # nothing of the store is needed
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model("models:/small@best")
    assert model.metadata.signature.inputs.input_names() == ["video"]
    assert model.input_example.columns.tolist() == ["video"]
    found = model.predict(pd.DataFrame({"video": [str(video), "none.mp4"]}), params={"top": 3})
    assert found["class"].tolist()[:3] == [each["class"] for each in expected]
    assert found["score"].tolist()[:3] == pytest.approx([each["score"] for each in expected], abs=1e-6)
    assert found.iloc[3]["problem"] and not found.iloc[3]["class"]


# -- from Python --


def test_a_frame_has_a_line_a_trial_an_epoch_or_a_video_and_says_which_count(place: Path) -> None:
    results = farlab.results("small")
    trials = results.to_frame()
    assert trials[["row", "seed", "state", "used"]].values.tolist() == [
        [row, seed, "finished", True] for row in ("one", "two") for seed in (0, 1)
    ]
    assert trials["recipe.lr"].tolist() == [1e-3, 1e-3, 5e-4, 5e-4]
    videos = results.to_frame("video")
    assert len(videos) == 4 * 20
    by_video = videos.groupby("key")["correct"].mean() * 100
    assert by_video[trials["key"]].tolist() == pytest.approx(trials["top1"].tolist())
    epochs = results.to_frame("epoch")
    last = epochs.groupby("key")["val_top1"].last()  # one view, as the test has here
    assert last[trials["key"]].tolist() == pytest.approx(trials["top1"].tolist())
    assert epochs["epoch"].tolist() == [1, 2] * 4
    with pytest.raises(ConfigError, match="no frame has a line a 'week'"):
        results.to_frame("week")


def test_a_trial_that_stands_in_no_table_has_no_number_in_a_frame_unless_it_is_asked_for(place: Path) -> None:
    file = Store(place / "runs").paths(farlab.load_trial("two/1").key).result
    kept = file.read_text()
    try:
        file.write_text(json.dumps({**json.loads(kept), "evaluated": 19}))  # against its own answers
        results = farlab.results("small")
        trials = results.to_frame().set_index(["row", "seed"])
        assert trials.loc[("two", 1), "state"] == "invalid"
        assert not trials.loc[("two", 1), "used"] and trials.loc[("two", 1), "why"]
        assert np.isnan(trials.loc[("two", 1), "top1"])
        table = results.table().to_frame(numbers=True)
        assert trials.groupby("row")["top1"].mean().tolist() == pytest.approx(table["top1"].tolist())
        assert len(results.to_frame("video")) == 60 and len(results.to_frame("epoch")) == 6
        assert not np.isnan(results.to_frame(every=True)["top1"]).any()
        assert len(results.to_frame("video", every=True)) == 80
    finally:
        file.write_text(kept)


def test_a_table_renders_itself_in_every_format_and_its_documents_are_verified(place: Path, tmp_path: Path) -> None:
    table = farlab.results("small").table()
    assert "<table" in table._repr_html_() and "<html" not in table._repr_html_()
    assert "\n| one" in table._repr_markdown_()
    for shown in (table, farlab.tables("small")):  # where nothing but text can be shown
        assert "one" in repr(shown) and "Top-1" in repr(shown), repr(shown)[:200]
        assert "laid_out=" not in repr(shown) and " object at " not in repr(shown)
    assert r"\toprule" in table.to_latex()
    means = farlab.results("small").to_frame().groupby("row")["top1"].mean()
    assert table.to_frame(numbers=True)["top1"].tolist() == pytest.approx(means.tolist())
    assert all("±" in text for text in table.to_frame()["Top-1 (%)"])
    for name in ("t.tex", "t.md", "t.html", "t.csv", "t.json"):
        table.save(tmp_path / name)
        assert farlab.command("verify", tmp_path / name).exit_code == 0
    with pytest.raises(ConfigError, match="no format has this ending"):
        table.save(tmp_path / "t.docx")
    everything = farlab.tables()
    assert "small" in str(everything) and len(everything) > 2
    assert json.loads(farlab.tables("small").render("json"))["rows"][0]["row"] == "one"


def test_figures_are_matplotlibs_and_leave_the_session_as_it_was(place: Path) -> None:
    import matplotlib.pyplot as plt

    mine = plt.figure()
    before = plt.get_fignums()
    size = plt.rcParams["font.size"]
    figure = farlab.figure("curves", "small", rows=["two"])
    assert [axis.get_ylabel() for axis in figure.axes] == ["validation top-1 (%)", "training loss"]
    assert plt.get_fignums() == before and plt.rcParams["font.size"] == size
    plt.close(mine)
    assert farlab.figure("patterns").axes
    video = farlab.open_data().file(farlab.open_data().split("val")[0])
    assert len(farlab.results("small").grad_cam(video, rows=["one"]).axes) >= 16
    found = farlab.results("small").found
    broken = {**found.collected, "two": [replace(trial, state=State.DIVERGED) for trial in found.collected["two"]]}
    explained = draw(replace(found, collected=broken), [video], [], data_root=place / "data")
    assert explained.caption.endswith("Left out: two seed 0 (diverged), two seed 1 (diverged).")
    for call, said in (
        (lambda: farlab.figure("curvy"), "Did you mean 'curves'?"),
        (lambda: farlab.figure("curves"), "name a study"),
        (lambda: farlab.figure("curves", "small", rows=["three"]), "no row 'three'"),
    ):
        with pytest.raises(ConfigError, match=re.escape(said)):
            call()


def test_a_trial_answers_from_python_as_from_the_command_line(
    place: Path, run: Run, key: str, manifest: Manifest
) -> None:
    trial = farlab.load_trial(key[:8])
    assert (trial.key, trial.state, trial.classes) == (key, "finished", tuple(MOTIONS))
    assert trial.metrics["top1"] == trial.evaluate().top1
    assert trial.config.recipe.epochs == len(trial.epochs()) == 2
    files = [manifest.file(video) for video in manifest.split("val")[:3]]
    own = trial.classify(files, views=(2, 1)).to_frame(top=2)
    said = json.loads(run("predict", key, *files, "--views", "2x1", "-k", "2", "-f", "json")[1])["predictions"]
    assert own.to_dict("records") == said
    assert trial.classify(split="val").scores.shape == (20, 10)
    assert trial.classify(files).to_frame(top=None).sum(axis=1).tolist() == pytest.approx([1.0] * 3)
    assert trial.grad_cam(files[0]).heat.shape == (8, 32, 32)
    for call in (trial.classify, lambda: trial.classify(files, split="val"), lambda: trial.classify(files, data="x")):
        with pytest.raises(ConfigError, match="name either videos, or a split"):
            call()
    again = farlab.run_trial(place / "runs" / "trials" / key / "trial.json", progress=False)
    assert again.key == key


@pytest.mark.parametrize("views", [(0, 1), (2,), 3, "2x3", (1.5, 1), (2, 3, 1)])
def test_views_that_are_none_are_refused(place: Path, manifest: Manifest, views: object) -> None:
    trial, video = farlab.load_trial("one/0"), manifest.file(manifest.split("val")[0])
    with pytest.raises(ConfigError, match="views: are temporal clips and spatial crops"):
        trial.classify(video, views=views)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="views: are temporal clips and spatial crops"):
        trial.evaluate("val", views=views)  # type: ignore[arg-type]


def test_wrong_arguments_are_refused_by_name_and_leave_nothing(place: Path, manifest: Manifest) -> None:
    answers = farlab.load_trial("one/0").classify(manifest.file(manifest.split("val")[0]))
    before = sorted((place / "runs" / "trials").iterdir())
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: answers.to_frame(top=0), "top: is a number from 1"),
        (lambda: answers.to_frame(top="5"), "top: is a number from 1"),  # type: ignore[arg-type]
        (lambda: farlab.run_trial("tiny", seed=-1), "seed: must be a whole number from 0, not -1"),
        (lambda: farlab.run_trial("tiny", seed="a"), "seed: must be a whole number from 0"),  # type: ignore[arg-type]
        (lambda: farlab.plan(None), "no study is named"),  # type: ignore[arg-type]
        (lambda: farlab.results(None), "no study is named"),  # type: ignore[arg-type]
        (lambda: farlab.load_trial("one/0").classify(None), "name either videos"),  # type: ignore[arg-type]
        (lambda: farlab.plan("small", plugins="none.py"), "none.py: no such file"),
    ]
    for call, expected in wrong:
        with pytest.raises(ConfigError, match=re.escape(expected)):
            call()
    assert sorted((place / "runs" / "trials").iterdir()) == before


def test_a_notebook_is_told_nothing_where_progress_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook rich would show every line as a cell's output, whatever stream it is given."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    shown: list[object] = []
    monkeypatch.setattr("rich.jupyter.display", lambda *what: shown.append(what))
    console(shown=False).print("a line")
    with redirect_stdout(io.StringIO()) as said:
        console(shown=True).print("a line")
    assert (shown, said.getvalue()) == ([], "a line\n")


def test_a_plan_and_the_whereabouts_of_a_study(place: Path) -> None:
    planned = farlab.plan("small", seeds=[0, 1, 2], overrides={"recipe": {"lr_reference_batch": 8}})
    assert len(planned) == 6 and planned.to_frame()["done"].tolist() == [True, True, False] * 2
    assert len(repr(planned).splitlines()) == 1 + 6 and "missing" in repr(planned)
    assert planned.estimate().seconds is None or planned.estimate().seconds > 0
    assert farlab.status("small")["state"].tolist() == ["finished"] * 4
    assert [study.name for study in farlab.validate(["small", "head_ratio"], profile="demo")] == ["small", "head_ratio"]
    with pytest.raises(ConfigError, match=re.escape("Did you mean 'epochs'?")):
        farlab.plan("small", overrides={"recipe.epoch": 3})
    with pytest.raises(ConfigError, match="not the text 'recipe"):
        farlab.plan("small", overrides="recipe.epochs=3")
    with pytest.raises(ConfigError, match="unknown executor 'lokal'"):
        farlab.sweep("small", executor="lokal")
    with pytest.raises(ConfigError, match="cannot be trained on"):
        farlab.sweep("small", executor="local", overrides={"recipe.batch_size": 64}, progress=False)


def test_any_command_is_in_reach_and_its_errors_are_raised(place: Path) -> None:
    shown = farlab.command("show", "one/0", "--json")
    assert shown.json()["state"] == "finished" and shown.exit_code == 0
    assert farlab.command("report", "small", "--strict", "--seeds", 3).exit_code == 3
    assert "farlab" in farlab.command("--version").output
    for words, said in (
        (("evaluate", "nothing"), "no trial starts with 'nothing'"),
        (("evaluate",), "Missing argument"),
        (("report", "small", "-f", "docx"), "unknown format"),
        (("nonsense",), "No such command"),
    ):
        with pytest.raises(ConfigError, match=said):
            farlab.command(*words)
    with pytest.raises(ConfigError, match="printed no JSON"):
        shown = farlab.command("show", "one/0")
        shown.json()


def test_a_data_set_from_python(place: Path, tmp_path: Path, manifest: Manifest) -> None:
    assert farlab.open_data().content_hash == manifest.content_hash
    for number, video in enumerate(manifest.split("train")[:4]):
        folder = tmp_path / ("train" if number < 2 else "val") / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.mp4").symlink_to(manifest.file(video).resolve())
    made = farlab.prepare_data("folder", tmp_path, name="mine")
    assert made.labels == ("a", "b") and len(made.videos) == 4
    assert farlab.check_data("mine", progress=False) == []
    with pytest.raises(ConfigError, match="unknown layout 'foldr'"):
        farlab.prepare_data("foldr", tmp_path)

"""``farlab predict`` and ``farlab evaluate --split``: one trained network on files, on splits and on other data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import farlab
from far.config import TrialConfig
from far.data import Manifest, open_manifest
from far.data.sources.demo import MOTIONS
from far.errors import ConfigError
from orchestrator.cli.videos import find_videos
from orchestrator.store.store import Store
from orchestrator.tracking.mirror import Mirror
from orchestrator.tracking.tracked import Sweep, TrackedTrial

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, tiny_config: TrialConfig) -> Path:
    """A workspace with one trained trial."""
    made = tmp_path_factory.mktemp("trained")
    (made / "farlab.toml").write_text(f"data_root = '{made / 'data'}'\n")
    (made / "data").mkdir()
    for folder in tiny_data.iterdir():
        (made / "data" / folder.name).symlink_to(folder)
    settings = tiny_config.model_dump(mode="json", include={"model", "data", "recipe"}, exclude_unset=True)
    profile = {"profile": "tiny", "description": "a second", "comparable": False, "settings": settings}
    (made / "tiny.yaml").write_text(json.dumps(profile))
    before = Path.cwd()
    os.chdir(made)
    try:
        assert farlab.run(["train", "tiny.yaml"]) == 0
    finally:
        os.chdir(before)
    return made


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
    return Store(place / "runs").keys()[0]


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

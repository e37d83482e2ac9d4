from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest

import farlab
from far.config import parse_override
from far.data.sources.demo_writer import write_video
from far.data.sources.manifest import Video, make_manifest, write_manifest
from orchestrator.cli import datasets


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a small data set of class folders, one file of which is broken."""
    for seed, name in enumerate(("train/nod", "train/wave", "val/nod", "val/wave")):
        folder = tmp_path / "mine" / name
        folder.mkdir(parents=True)
        frames = np.random.default_rng(seed).integers(0, 255, (20, 32, 48, 3), dtype=np.uint8)
        write_video(folder / "a.mp4", frames, 12)
    (tmp_path / "mine/val/nod/broken.mp4").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_bring_your_own(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["data", "prepare", "folder", "mine"]) == 0
    said = capsys.readouterr().out
    assert "data.source=mine data.classes=2" in said
    assert "4 of them can be opened" in said

    assert farlab.run(["data", "check", "mine"]) == 3
    said = capsys.readouterr().out
    assert "undecodable: 1" in said
    assert "val/nod/broken" in said
    assert "val: 2 of 3 videos are good (66.67%)" in said

    assert farlab.run(["data", "check", "mine", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["findings"][0]["problem"] == "undecodable"

    assert farlab.run(["data", "stats", "mine", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)["splits"]["val"]
    assert (numbers["videos"], numbers["unreadable"]) == (3, 1)
    assert numbers["frames"] == {"min": 20.0, "median": 20.0, "max": 20.0}
    assert farlab.run(["data", "stats", "mine"]) == 0

    for split in ("train", "val"):
        assert farlab.run(["data", "sample", "mine", "-p", "csv", "-n", "2", "--split", split, "-o", "s.png"]) == 0
        assert Path("s.png").read_bytes().startswith(b"\x89PNG")


def test_a_video_with_several_files_is_told(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = {"train": [{"id": "a", "template": "Nodding"}], "labels": {"Nodding": "0"}}
    for name, content in lists.items():
        (workspace / "mine" / f"{name}.json").write_text(json.dumps(content))
    assert farlab.run(["data", "prepare", "ssv2", "mine"]) == 0
    said = capsys.readouterr().out
    others = "train/wave/a.mp4, val/nod/a.mp4, val/wave/a.mp4"
    assert f"1 video with several files, e.g. train/nod/a.mp4 (used) and {others} (not)" in said


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepare", "foldr", "mine"], 2, "Did you mean 'folder'"),
        (["prepare", "folder", "nowhere"], 3, "nowhere: no such folder"),
        (["prepare", "ssv2", "mine"], 3, "labels.json is in it"),
        (["prepare", "folder", "mine", "--name", "demo"], 2, "cannot be called 'demo'"),
        (["stats", "mein"], 2, "farlab data prepare"),
        (["check", "mine", "--clip", "0"], 2, "--clip"),
    ],
)
def test_mistakes_are_named(
    workspace: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert farlab.run(["data", *arguments]) == code
    assert message in capsys.readouterr().err


def test_what_only_looks_like_a_video_is_named_and_stops_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace / "mine/val/wave"
    (folder / "gone.mp4").symlink_to("nowhere")
    (folder / "zero.mp4").symlink_to("/dev/zero")
    (folder / "folder.mp4").mkdir()
    (folder / "._a.mp4").write_bytes(b"macOS")
    os.mkfifo(folder / "pipe.mp4")
    (workspace / "mine/val/Wave").mkdir()
    assert farlab.run(["data", "prepare", "folder", "mine"]) == 0
    shown = capsys.readouterr()
    assert "val: 3 of 6 listed videos are there" in shown.out
    assert "not a video file, but a broken link (1): val/wave/gone.mp4" in shown.err
    assert "not a video file, but a device, a pipe or a socket (2): val/wave/pipe.mp4, val/wave/zero.mp4" in shown.err
    assert "not a video file, but a folder (1): val/wave/folder.mp4" in shown.err
    assert "hidden files and folders, not read (1): val/wave/._a.mp4" in shown.err
    assert "cannot be opened (1): val/nod/broken" in shown.err
    assert "classes of almost the same name (1): 'Wave' and 'wave'" in shown.err
    assert "classes without a video (1): 0 'Wave'" in shown.err
    assert farlab.run(["data", "check", "mine"]) == 3
    assert "missing: 3" in capsys.readouterr().out


def test_every_warning_is_written_out(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(8):
        (workspace / f"mine/train/{number}.mp4").touch()
    assert farlab.run(["data", "prepare", "folder", "mine"]) == 0
    said = capsys.readouterr().err
    assert "videos in no class's folder, not used (8): train/0.mp4, train/1.mp4, " in said
    assert "train/4.mp4, and 3 more" in said
    kept = workspace / "data/mine/warnings.log"
    assert str(kept) in said
    assert "videos in no class's folder, not used: train/7.mp4\n" in kept.read_text()
    for number in range(8):
        (workspace / f"mine/train/{number}.mp4").unlink()
    assert farlab.run(["data", "prepare", "folder", "mine"]) == 0
    assert not kept.exists()


@pytest.mark.parametrize("name", ["my data", "123", "true", "a: b", "it's", "x #y", "~", "größe", "{a", "1e3", "$HOME"])
def test_the_line_to_use_it_with_can_be_pasted(workspace: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["data", "prepare", "folder", "mine", "--name", name]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("use it with: "))
    settings = [parse_override(text).values for text in shlex.split(line.removeprefix("use it with: "))]
    assert settings == [{"data.source": name}, {"data.classes": 2}]
    assert farlab.run(["train", "csv", "-n", "recipe.batch_size=2", *shlex.split(line)[3:]]) == 0


@pytest.mark.parametrize("name", ["", ".", "..", "../mine", "/etc", ".hidden", "-x", "a/b", "a\nb", "demo"])
def test_a_name_never_leaves_the_data_root(workspace: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(workspace.rglob("*"))
    assert farlab.run(["data", "prepare", "folder", "mine", f"--name={name}"]) == 2
    said = capsys.readouterr().err
    assert "cannot be called" in said or (not name and "--name: is empty" in said)
    assert sorted(workspace.rglob("*")) == before


def test_where_nothing_is_there_what_was_looked_for_is_said(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "train.csv").write_text("".join(f"clips\\{number}.mp4 0\n" for number in range(9)))
    assert farlab.run(["data", "prepare", "csv", "."]) == 3
    said = capsys.readouterr().err
    assert "none of the 9 listed videos is there; looked for " in said
    assert f"{workspace}/clips/0.mp4 (train.csv:1), " in said
    assert "and 6 more" in said
    (workspace / "train.csv").write_text("label,youtube_id,time_start,time_end\nwave,a,5,15\n")
    assert farlab.run(["data", "prepare", "k400", "."]) == 3
    said = capsys.readouterr().err
    assert "looked for a_000005_000015.mp4 (train.csv:2); files that no list names, not used" in said


def test_known_files_are_not_decoded_again_until_they_change(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def looked_at() -> list[int]:
        assert farlab.run(["data", "prepare", "folder", "mine"]) == 0
        assert farlab.run(["data", "check", "mine"]) == 3
        assert "broken" in capsys.readouterr().out
        return [len((workspace / "data/mine" / name).read_text().splitlines()) for name in journals]

    journals = (".prepare.jsonl", ".check.jsonl")
    assert looked_at() == looked_at() == [5, 5]
    (workspace / "mine/val/nod/broken.mp4").write_bytes(b"no video either")
    assert looked_at() == [6, 6]
    for name in journals:  # records of other decoders: what these could not read, ours may
        path = workspace / "data/mine" / name
        path.write_text(path.read_text().replace('"decoders":"', '"decoders":"old'))
    assert looked_at() == [7, 7]


def test_a_pipe_gets_a_line_a_minute(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with datasets.progress_bar("looking into files") as show:
        show(3, 5)
    assert capsys.readouterr().err == ""  # less than a minute
    monkeypatch.setattr(datasets, "SECONDS_BETWEEN_LINES", 0.01)
    said = ""
    with datasets.progress_bar("looking into files") as show:
        show(3, 5)
        while said.count("looking into files: 3 of 5\n") < 2:  # one file that takes long
            said += capsys.readouterr().err


def test_rates_that_are_no_numbers_stay_out_of_the_statistics(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = [float("nan"), float("inf"), 0.0, 25.0]
    videos = [Video(str(i), "train", f"{i}.mp4", 0, 9, rate, 48, 32, "0") for i, rate in enumerate(rates)]
    folder = workspace / "data/old"
    folder.mkdir(parents=True)
    write_manifest(make_manifest(videos, ["a"], media_root=folder, source="csv", directory=folder))
    assert farlab.run(["data", "stats", "old", "--json"]) == 0

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    numbers = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert numbers["splits"]["train"]["fps"] == {"min": 25.0, "median": 25.0, "max": 25.0}
    assert farlab.run(["data", "stats", "old"]) == 0
    assert "nan" not in capsys.readouterr().out


class TestSample:
    @pytest.fixture(autouse=True)
    def prepared(self, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (workspace / "mine/val/wave").rename(workspace / "mine/val/$a_{b$")
        lists = {"train": [{"id": "a", "template": "$a_{b$"}], "test": [{"id": "a"}], "val": [{"id": "broken"}]}
        for name, content in {**lists, "labels": {"$a_{b$": "0"}}.items():
            (workspace / "mine" / f"{name}.json").write_text(json.dumps(content))
        assert farlab.run(["data", "prepare", "ssv2", "mine"]) == 0
        capsys.readouterr()

    def test_unlabelled_videos_and_their_views(self, capsys: pytest.CaptureFixture[str]) -> None:
        views = ["data.views.clips=2", "data.views.crops=3"]
        assert farlab.run(["data", "sample", "mine", *views, "-p", "csv", "--split", "test", "-o", "s.svg"]) == 0
        assert "s.svg: 6 clips of test" in capsys.readouterr().out
        assert Path("s.svg").read_text().count("<image") == 6 * 16

    def test_a_class_is_no_formula(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert farlab.run(["data", "sample", "mine", "-p", "csv", "-o", "s.png"]) == 0
        assert "s.png: 1 clip of train" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["-o", "s.xyz"], 2, "no picture has the suffix '.xyz'"),
            (["-o", "sample"], 2, "no picture has the suffix ''"),
            (["-o", "no/s.png"], 2, "no folder no"),
            (["--split", "tset"], 2, "Did you mean 'test'"),
            (["--split", "val"], 3, "no video of the split 'val' can be read: broken: "),
            (["data.views=many"], 2, "data.views"),
            (["data.flip=true", "data.flip=false"], 2, "is set twice"),
        ],
    )
    def test_what_cannot_be_drawn_is_said(
        self, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert farlab.run(["data", "sample", "mine", "-p", "csv", *arguments]) == code
        assert message in capsys.readouterr().err


def test_a_name_that_is_taken_is_said(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["data", "prepare", "folder", "mine"]) == 0
    assert farlab.run(["data", "prepare", "folder", "mine"]) == 0
    assert "note" not in capsys.readouterr().err
    (workspace / "more").mkdir()
    (workspace / "mine").rename(workspace / "more/mine")
    assert farlab.run(["data", "prepare", "folder", "more/mine"]) == 0
    assert f"of {workspace}/mine; --name keeps both" in capsys.readouterr().err


@pytest.mark.parametrize(
    "header", [{}, [], {"labels": None}, {"labels": ["a"], "media_root": 3, "source": 1, "note": 1}]
)
def test_a_manifest_of_another_shape_is_named(
    workspace: Path, header: object, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = workspace / "data/odd"
    folder.mkdir(parents=True)
    columns = {name: pa.array([], pa.string()) for name in Video.__dataclass_fields__}
    table = pa.table(columns).replace_schema_metadata({b"farlab": json.dumps(header)})
    pq.write_table(table, folder / "manifest.parquet")
    assert farlab.run(["data", "stats", "odd"]) == 3
    assert "is not a data set manifest" in capsys.readouterr().err

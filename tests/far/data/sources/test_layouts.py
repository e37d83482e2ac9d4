"""Data sets as distributed, in small, made from generated videos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from far.data.sources.demo_writer import write_video
from far.data.sources.layouts import read_listing
from far.data.sources.manifest import Manifest, read_manifest
from far.data.sources.prepare import Journal, check, prepare
from far.errors import ConfigError, DataError


def video(path: Path, frames: int = 20, codec: str = "libx264") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.stem.encode())
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, 32, 48, 3), dtype=np.uint8)
    write_video(path, pixels, 12, codec=codec, **({} if codec == "libx264" else {"deadline": "realtime"}))
    return path


@pytest.fixture(params=["as distributed", "short names"])
def ssv2(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Something-Something V2 with two classes; video 4 is listed, but not there."""
    old = request.param == "as distributed"
    prefix = tmp_path / "something-something-v2-" if old else tmp_path / "labels" / "x"
    labels = {"Holding something": "0", "Dropping something onto something": "1"}
    holding, dropping = "Holding [something]", "Dropping [something] onto [something]"

    def write(name: str, content: object) -> None:
        path = Path(f"{prefix}{name}.json") if old else prefix.with_name(f"{name}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))

    write("labels", labels)
    write("train", [{"id": "1", "template": holding}, {"id": "2", "template": dropping}])
    write("validation", [{"id": "3", "template": dropping}, {"id": "4", "template": holding}])
    write("test", [{"id": "5"}])
    for name in "1235":
        video(tmp_path / "20bn-something-something-v2" / f"{name}.webm", codec="libvpx-vp9")
    return tmp_path


def test_something_something(ssv2: Path) -> None:
    listing = read_listing("ssv2", ssv2)
    assert listing.labels == ["Holding something", "Dropping something onto something"]
    assert [(v.id, v.split, v.label) for v in listing.videos] == [
        ("1", "train", 0),
        ("2", "train", 1),
        ("3", "val", 1),
        ("4", "val", 0),
        ("5", "test", -1),
    ]
    assert listing.published["train"] == 168_913
    assert listing.published["val"] == 24_777


def test_a_missing_validation_video_stays_and_is_found(ssv2: Path, tmp_path: Path) -> None:
    manifest = prepare(read_listing("ssv2", ssv2), layout="ssv2", root=ssv2, directory=tmp_path / "out")
    assert [v.id for v in manifest.split("val")] == ["3", "4"]
    assert {(v.frames, v.fps, v.width, v.height) for v in manifest.videos if v.frames} == {(20, 12.0, 48, 32)}
    findings = check(manifest, clip=16)
    assert [(f.id, f.split, f.problem) for f in findings] == [("4", "val", "missing")]


def test_of_several_files_of_a_video_the_distributed_one_is_taken(ssv2: Path) -> None:
    first = ssv2 / "20bn-something-something-v2" / "1.webm"
    # whichever way the folders are walked: before and after it in order, written before and after it
    copies = [video(ssv2 / folder / "1.mp4") for folder in ("20bn-something-something-v2", "0", "z")]
    again = video(ssv2 / "z" / "2.webm", codec="libvpx-vp9")
    listing = read_listing("ssv2", ssv2)
    taken = {v.id: v.path for v in listing.videos if v.split == "train"}
    assert taken == {"1": first, "2": first.with_name("2.webm")}
    assert listing.several == {"1": [first, copies[1], copies[0], copies[2]], "2": [first.with_name("2.webm"), again]}


def test_copies_over_splits_and_under_two_labels_are_named(tmp_path: Path) -> None:
    first, root = video(tmp_path / "a.mp4"), tmp_path / "in"
    for name in ("train/nod/1", "train/nod/2", "train/wave/3", "val/nod/4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(first, root / f"{name}.mp4")
    video(root / "val" / "wave" / "5.mp4")
    listing = read_listing("folder", root)
    prepare(listing, layout="folder", root=root, directory=tmp_path / "out")
    assert listing.warnings["files of train with two labels, by content"] == [
        "train/wave/3.mp4 and train/nod/1.mp4",
    ]
    assert listing.warnings["files of val that are in train as well, by content"] == [
        "val/nod/4.mp4 and train/nod/1.mp4",
    ]
    assert "by content: val/nod/4.mp4" in (tmp_path / "out" / "warnings.log").read_text()


def test_an_unknown_template_is_named(ssv2: Path) -> None:
    path = next(ssv2.rglob("*train.json"))
    path.write_text(json.dumps([{"id": "1", "template": "Eating [something]"}]))
    with pytest.raises(DataError, match=r"train.json:1: video 1: no class is called 'Eating"):
        read_listing("ssv2", ssv2)


@pytest.mark.parametrize("flat", [True, False])
def test_kinetics(tmp_path: Path, flat: bool) -> None:
    head = "label,youtube_id,time_start,time_end,split,is_cc\n"
    (tmp_path / "train.csv").write_text(head + "abseiling,aaaaaaaaaaa,5,15,train,0\nzumba,b-_bbbbbbbb,0,10,train,0\n")
    (tmp_path / "validate.csv").write_text(head + "zumba,ccccccccccc,100,110,validate,0\n")
    for label, name in [("abseiling", "aaaaaaaaaaa_000005_000015"), ("zumba", "ccccccccccc_000100_000110")]:
        video(tmp_path / ("clips" if flat else f"clips/{label}") / f"{name}.mp4")
    listing = read_listing("k400", tmp_path)
    assert listing.labels == ["abseiling", "zumba"]
    assert [(v.id, v.split, v.label, v.path is None) for v in listing.videos] == [
        ("aaaaaaaaaaa_000005_000015", "train", 0, False),
        ("b-_bbbbbbbb_000000_000010", "train", 1, True),
        ("ccccccccccc_000100_000110", "val", 1, False),
    ]
    assert listing.published == {"train": 2, "val": 1}
    manifest = prepare(listing, layout="k400", root=tmp_path, directory=tmp_path / "out")
    assert len(manifest.split("train")) == 1  # a training video that is not there is left out, but not forgotten
    assert [f.id for f in check(manifest, clip=16)] == ["b-_bbbbbbbb_000000_000010"]


def test_path_label_lists(tmp_path: Path) -> None:
    video(tmp_path / "clips" / "with space, comma.mp4")
    video(tmp_path / "b.mp4")
    (tmp_path / "train.csv").write_text("clips/with space, comma.mp4 1\n\nb.mp4 0\n")
    (tmp_path / "val.csv").write_text(f"{tmp_path / 'b.mp4'} 0\n")
    (tmp_path / "test.txt").write_text("b.mp4\n")
    (tmp_path / "labels.txt").write_text("first\nsecond\n")
    listing = read_listing("csv", tmp_path)
    assert listing.labels == ["first", "second"]
    assert [(v.id, v.split, v.label, v.path is None) for v in listing.videos] == [
        ("clips/with space, comma", "train", 1, False),
        ("b", "train", 0, False),
        ("b", "val", 0, False),
        ("b", "test", -1, False),
    ]


def test_absolute_paths_are_told_apart_by_as_little_as_possible(tmp_path: Path) -> None:
    def ids(*names: str) -> list[str]:
        (tmp_path / "train.csv").write_text("".join(f"/data/{name} 0\n" for name in names))
        return [v.id for v in read_listing("csv", tmp_path).videos]

    assert ids("wave/a.mp4", "nod/b.mp4") == ["a", "b"]
    assert ids("wave/a.mp4", "nod/a.mp4", "c.mp4") == ["wave/a", "nod/a", "c"]
    with pytest.raises(DataError, match="two videos of split 'train' are called 'a'"):
        ids("wave/a.mp4", "wave/a.mp4")


def test_two_files_of_one_name_in_a_class_are_refused(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv"):
        (tmp_path / "train" / "wave").mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / "wave" / name).touch()
    with pytest.raises(DataError, match=r"called 'wave/a': .*a\.mkv and .*a\.mp4"):
        read_listing("folder", tmp_path)


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a.mp4 0\nb.mp4 one\n")
    with pytest.raises(DataError, match=r"train\.csv:2: expected `path label`, got 'b\.mp4 one'"):
        read_listing("csv", tmp_path)


def test_labels_that_do_not_cover_the_lists(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a.mp4 5\n")
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    with pytest.raises(DataError, match="names 2 classes, but the lists hold the label 5"):
        read_listing("csv", tmp_path)


def test_class_folders(tmp_path: Path) -> None:
    for name in ("train/wave/a.mp4", "train/nod/b.mp4", "validation/wave/c.mp4"):
        video(tmp_path / name)
    listing = read_listing("folder", tmp_path)
    assert listing.labels == ["nod", "wave"]
    assert {(v.id, v.split, v.label) for v in listing.videos} == {
        ("wave/a", "train", 1),
        ("nod/b", "train", 0),
        ("wave/c", "val", 1),
    }


@pytest.mark.parametrize("layout", ["ssv2", "k400", "csv", "folder"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, layout: str) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=str(tmp_path)):
        read_listing(layout, tmp_path)


def test_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'folder'"):
        read_listing("folders", tmp_path)


@pytest.fixture
def folder_set(tmp_path: Path) -> Manifest:
    for split in ("train", "val"):
        for name, frames in [("good", 20), ("brief", 9), ("cut", 20), ("noise", 20)]:
            video(tmp_path / "in" / split / "wave" / f"{name}.mp4", frames)
    (tmp_path / "in/train/wave/noise.mp4").write_bytes(bytes(4000))
    return prepare(
        read_listing("folder", tmp_path / "in"), layout="folder", root=tmp_path / "in", directory=tmp_path / "out"
    )


def test_check_finds_what_is_wrong(folder_set: Manifest) -> None:
    val = {v.id.split("/")[-1]: folder_set.file(v) for v in folder_set.split("val")}
    content = val["cut"].read_bytes()
    val["cut"].write_bytes(content[: len(content) // 2])
    video(val["good"], 21)
    found = {(f"{f.split}/{f.id}", f.problem) for f in check(folder_set, clip=16)}
    assert found == {
        ("train/wave/noise", "undecodable"),
        ("train/wave/brief", "short"),
        ("val/wave/brief", "short"),
        ("val/wave/cut", "undecodable"),
        ("val/wave/good", "changed"),
    }


def test_check_goes_on_where_it_stopped(folder_set: Manifest) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise StopError

    with pytest.raises(StopError):
        check(folder_set, clip=16, progress=stop)
    seen: list[int] = []
    findings = check(folder_set, clip=16, progress=lambda done, total: seen.append(done))
    assert seen[0] >= 3
    assert seen[-1] == 8
    assert len(findings) == 3


def test_a_journal_looks_again_at_what_changed(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    calls = []

    def work(path: Path) -> dict[str, int]:
        calls.append(path)
        return {"size": len(path.read_text())}

    for content in ("one", "three"):
        file.write_text(content)
        for _ in range(2):
            result = Journal(tmp_path / "j.jsonl").run([("a", file)], work, lambda done, total: None)
            file.touch()
            assert result["a"]["size"] == len(content)
    assert 2 <= len(calls) <= 4


def test_the_hash_knows_content_and_not_place(folder_set: Manifest, tmp_path: Path) -> None:
    (tmp_path / "in").rename(tmp_path / "moved")
    again = prepare(
        read_listing("folder", tmp_path / "moved"), layout="folder", root=tmp_path / "moved", directory=tmp_path / "new"
    )
    assert again.content_hash == folder_set.content_hash == read_manifest(tmp_path / "new").content_hash
    video(tmp_path / "moved/train/wave/good.mp4", 21)
    other = prepare(
        read_listing("folder", tmp_path / "moved"), layout="folder", root=tmp_path / "moved", directory=tmp_path / "new"
    )
    assert other.content_hash != again.content_hash


GESTURES = Path(__file__).parents[5] / "shared" / "data" / "gestures"


@pytest.mark.skipif(not GESTURES.is_dir(), reason="the gesture videos are not beside the checkout")
def test_a_real_data_set_is_read() -> None:
    listing = read_listing("csv", GESTURES)
    assert listing.published == {"train": 200, "val": 56}
    assert len(listing.labels) == 10
    assert listing.labels[0] == "swipe_left"
    assert all(video.path for video in listing.videos)

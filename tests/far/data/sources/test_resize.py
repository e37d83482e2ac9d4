"""Videos with a smaller short side: the same frames at the same times, made once, whatever interrupts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import farlab
from far.data import Manifest
from far.data.decoding import pool as decoder_pool
from far.data.decoding.cache import DecodedFrames
from far.data.decoding.decoder import VideoError
from far.data.decoding.pool import UndecidedError
from far.data.decoding.scan import index_file
from far.data.sources import encoder_pool
from far.data.sources.demo_writer import write_video
from far.data.sources.encoder_pool import EncoderPool
from far.data.sources.manifest import Video, read_manifest
from far.data.sources.prepare import check
from far.data.sources.resize import _size, _stems
from far.data.sources.resized import account
from far.data.sources.unchanged import ChangedError
from far.interpreter import child_environment, python_command
from far.store.atomic import clear_abandoned
from tests.far.data import corpus

NAMES = ("vp9.webm", "rot90.mp4", "h264_vfr.mp4", "h264.mkv")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder layout: large videos of several kinds, a small one, and what is damaged."""
    made = tmp_path_factory.mktemp("corpus")
    # in a process of its own: where decord has been imported, its libvpx stands in for PyAV's, whose encoder then fails
    subprocess.run([sys.executable, corpus.__file__, made, *NAMES], check=True)
    folder = tmp_path_factory.mktemp("clips") / "mine"
    (folder / "train/a").mkdir(parents=True)
    (folder / "val/b").mkdir(parents=True)
    webm, turned, varying, mkv = (made / f"{name.replace('.', '_')}{Path(name).suffix}" for name in NAMES)
    webm.rename(folder / "train/a/1.webm")
    shutil.copyfile(mkv, folder / "train/a/2.mkv")
    turned.rename(folder / "train/a/turned.mp4")
    varying.rename(folder / "val/b/varying.mp4")
    (folder / "val/b/cut.mkv").write_bytes(mkv.read_bytes()[: mkv.stat().st_size * 2 // 3])
    (folder / "val/b/none.mp4").write_bytes(b"no video")
    rng = np.random.default_rng(0)
    for name, shape in (("val/b/small.mp4", (64, 90)), ("val/b/odd.mkv", (91, 161))):
        blocks = rng.integers(0, 255, (20, 8, 8, 3), dtype=np.uint8).repeat(21, 2).repeat(12, 1)
        write_video(folder / name, blocks[:, : shape[0], : shape[1]], 12, codec="ffv1" if "odd" in name else "libx264")
    return folder


@pytest.fixture(scope="module")
def prepared(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which these were prepared as they are, and with a short side of 64."""
    workspace = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        assert farlab.run(["data", "prepare", "folder", str(clips)]) == 0
        assert farlab.run(["data", "prepare", "folder", str(clips), "--resize", "64"]) == 0
    return workspace


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, times and links as they were, to work in."""
    subprocess.run(["cp", "-a", prepared, tmp_path / "workspace"], check=True)
    monkeypatch.chdir(tmp_path / "workspace")
    return tmp_path / "workspace"


def frames_of(manifest: Manifest) -> dict[str, np.ndarray]:
    source = DecodedFrames(manifest)
    return {v.id: source.read(v, np.arange) for v in manifest.videos if v.frames}


def by_id(manifest: Manifest) -> dict[str, Video]:
    return {video.id: video for video in manifest.videos}


def test_frame_i_of_the_resized_video_shows_frame_i_of_the_original(prepared: Path) -> None:
    original, resized = (read_manifest(prepared / "data" / name) for name in ("mine", "mine-64"))
    before, after = frames_of(original), frames_of(resized)
    assert before.keys() == after.keys() >= {"a/1", "a/turned", "b/varying", "b/odd", "b/small", "b/cut"}
    assert {name: (v.width, v.height) for name, v in by_id(resized).items() if name in ("a/turned", "b/odd")} == {
        "a/turned": (96, 64),
        "b/odd": (114, 64),
    }
    for name, frames in after.items():
        assert len(frames) == len(before[name])
        assert min(frames.shape[1:3]) == 64 or name == "b/cut"
        one, other = (regions(each[::5]) for each in (frames, before[name]))
        assert np.abs(one - other).mean() < 4, name


def regions(frames: np.ndarray) -> np.ndarray:
    """Return the means of 4 x 4 regions of each frame, which do not depend on its size."""
    rows = [np.array_split(row, 4, 2) for row in np.array_split(frames, 4, 1)]
    return np.array([[region.mean((1, 2)) for region in row] for row in rows])


def test_what_was_done_stands_in_the_manifest_and_is_told(
    workspace: Path, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original, resized = (read_manifest(Path("data") / name) for name in ("mine", "mine-64"))
    made = account(resized.note)
    assert account(original.note) == {}
    assert made["content_hash"] == original.content_hash != resized.content_hash
    assert (made["short_side"], made["codec"], made["settings"]["crf"]) == (64, "libx264", "18")
    assert all(version.startswith("core ") for version in made["encoders"])
    assert (made["reencoded"], made["not_larger"]) == (5, 1)
    assert made["not_reencoded"].keys() == {"val/b/cut", "val/b/none"}
    assert str(clips) not in json.dumps(made)  # a data set that is handed on takes this along
    told = "resized to a short side of 64 pixels from " + original.content_hash[:16]
    for words in (["stats"], ["check"]):
        farlab.run(["data", *words, "mine-64"])
        assert told in capsys.readouterr().out
        farlab.run(["data", *words, "mine-64", "--json"])
        assert json.loads(capsys.readouterr().out)["resized"] == made
        farlab.run(["data", *words, "mine", "--json"])
        assert json.loads(capsys.readouterr().out)["resized"] is None


def test_small_and_damaged_videos_are_taken_over_as_they_are(prepared: Path, clips: Path) -> None:
    original, resized = (read_manifest(prepared / "data" / name) for name in ("mine", "mine-64"))
    kept = {video.id for video in resized.videos if video.sha256 == by_id(original)[video.id].sha256}
    assert kept == {"b/small", "b/cut", "b/none"}
    videos = prepared / "data/mine-64/videos"
    assert (videos / "val/b/small.mp4").samefile(clips / "val/b/small.mp4")  # takes no room
    findings = [{(f.id, f.problem, f.reason) for f in check(each, clip=1)} for each in (original, resized)]
    assert findings[0] == findings[1]
    assert {(name, problem) for name, problem, _ in findings[0]} == {("b/cut", "truncated"), ("b/none", "undecodable")}
    assert resized.media_root == videos
    assert not [path for path in videos.rglob(".*") if not path.name.startswith(".resized.")]


def test_a_second_run_does_nothing_and_what_is_gone_is_made_again(workspace: Path, clips: Path) -> None:
    def files() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in Path("data/mine-64/videos").rglob("*.mp4")}

    command = ["data", "prepare", "folder", str(clips), "--resize", "64"]
    before, content = files(), read_manifest(Path("data/mine-64")).content_hash
    assert farlab.run(command) == 0
    assert files() == before
    gone = Path("data/mine-64/videos/train/a/turned.mp4")
    gone.write_bytes(b"")
    with pytest.raises(ChangedError) as caught:
        frames_of(read_manifest(Path("data/mine-64")))
    assert f"or make it again: farlab data prepare folder {clips} --name mine-64 --resize 64" in str(caught.value)
    assert farlab.run(command) == 0
    assert {name for name, at in files().items() if at != before[name]} == {str(gone)}
    assert read_manifest(Path("data/mine-64")).content_hash == content


def test_the_folder_of_the_videos_can_be_named_from_python_too(
    workspace: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = farlab.prepare_data("folder", clips, resize=80, into=tmp_path / "deep/small")
    assert manifest.directory.name == "mine-80"
    assert manifest.media_root == tmp_path / "deep/small"
    assert by_id(manifest)["a/1"].height == 80
    looked_into = (manifest.directory / ".prepare.jsonl").read_text().splitlines()
    assert len(looked_into) == len(manifest.videos)  # the originals are known from other sizes
    assert (
        farlab.run(["data", "prepare", "folder", str(clips), "--resize", "90", "--into", f"{tmp_path}/deep/small"]) == 2
    )
    assert "holds videos resized to 80 pixels, not 90" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resize", "0"], "0 is no short side of a video"),
        (["--resize=-64"], "-64 is no short side of a video"),
        (["--resize", "100000"], "100000 is no short side of a video"),
        (["--resize", "65"], "65 is odd, which H.264 cannot be: 64 or 66"),
        (["--resize", "big"], "'big' is no number of pixels: an even one, e.g. 320"),
        (["--resize", "64.5"], "'64.5' is no number of pixels"),
        (["--resize", "320p"], "'320p' is no number of pixels"),
        (["--resize", ""], "--resize: is empty"),
        (["--resize", "128"], "no video of {clips} has a short side of more than 128 pixels (the largest: 128)"),
        (["--into", "x"], "--into: has no effect without --resize"),
        (["--resize", "32", "--name", "mine-64"], "'mine-64' is resized to 64 pixels: choose another"),
        (["--resize", "32", "--name", "mine"], "'mine' is not resized: choose another name, e.g. mine-32"),
        (["--name", "mine-64"], "'mine-64' is resized to 64 pixels: choose another name, e.g. mine"),
        (["--resize", "32", "--into", "{clips}"], "must not lie in one another"),
        (["--resize", "32", "--into", "{clips}/small"], "must not lie in one another"),
        (["--resize", "32", "--into", "{clips}/.."], "must not lie in one another"),
        (["--resize", "32", "--into", "full"], "is not empty, and holds no resized videos"),
        (["--resize", "32", "--into", "full/file"], "full/file is no folder"),
        (["--resize", "32", "--into", "full/file/x"], "full/file is no folder"),
        (["--resize", "32", "--into", "/proc/small"], "/proc/small cannot be written (No such file or directory)"),
        (["--resize", "32", "--into", "data/mine-64/videos"], "holds videos resized to 64 pixels, not 32"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_a_line_and_nothing_is_written(
    workspace: Path, clips: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "full").mkdir()
    (workspace / "full/file").touch()
    before = sorted(path for path in workspace.rglob("*") if path.is_file() and "mine-128" not in path.parts)
    words = [word.format(clips=clips) for word in arguments]
    assert farlab.run(["data", "prepare", "folder", str(clips), *words]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and said.format(clips=clips) in shown and shown.count("\n") == 1
    assert sorted(p for p in workspace.rglob("*") if p.is_file() and "mine-128" not in p.parts) == before
    assert not list(clips.rglob(".resized*"))


def test_the_demo_is_not_prepared(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["data", "prepare", "demo", ".", "--resize", "32"]) == 2
    assert "the demo data set is generated, not prepared" in capsys.readouterr().err


def test_where_no_video_can_be_re_encoded_there_is_no_data_set(
    clips: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace / "damaged"
    for split in ("train", "val"):
        (folder / split / "a").mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8)
        write_video(folder / split / "a/1.mp4", noise, 25, preset="medium", g="12", bf="2")
        corpus.damage(folder / split / "a/1.mp4")
    assert farlab.run(["data", "prepare", "folder", "damaged", "--resize", "32"]) == 3
    said = capsys.readouterr().err
    assert "none of the 2 larger videos can be re-encoded: train/a/1: frame " in said
    assert not (workspace / "data/damaged-32/manifest.parquet").exists()


def start(clips: Path, *options: str) -> subprocess.Popen[str]:
    command = python_command("-m", "farlab", "data", "prepare", "folder", str(clips), "--resize", "48", *options)
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment())


def until(happens: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def until_more(journal: Path) -> None:
    before = lines(journal)
    until(lambda: lines(journal) > before)


@pytest.fixture
def many(clips: Path, tmp_path: Path) -> Path:
    """A data set of 12 videos."""
    folder = tmp_path / "many"
    for number in range(12):
        target = folder / ("val" if number % 4 == 0 else "train") / "ab"[number % 2] / f"{number}.webm"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(clips / "train/a/1.webm", target)
    return folder


def test_an_interrupted_run_goes_on_without_making_again_what_is_whole(workspace: Path, many: Path) -> None:
    videos, whole = workspace / "data/many-48/videos", {}
    for stop, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        process = start(many)
        until_more(videos / ".resized.jsonl")
        process.send_signal(stop)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code
        assert code < 0 or said == "interrupted: what had finished is kept; run the same command again to go on\n"
        assert not (workspace / "data/many-48/manifest.parquet").exists()
        whole = {path: path.stat().st_mtime_ns for path in videos.rglob("*.mp4")}
    on_record = lines(videos / ".resized.jsonl")
    assert 2 <= on_record <= len(whole) < 12
    assert farlab.run(["data", "prepare", "folder", str(many), "--resize", "48"]) == 0
    again = {path for path, at in whole.items() if path.stat().st_mtime_ns != at}
    assert len(again) <= len(whole) - on_record  # what had been put in place, but not on record
    manifest = read_manifest(workspace / "data/many-48")
    assert len({video.sha256 for video in manifest.videos}) == 1
    assert account(manifest.note)["reencoded"] == 12
    assert not [path for path in videos.rglob(".*") if not path.name.startswith(".resized.")]


def test_a_full_disk_is_one_line_and_what_is_made_is_kept(
    workspace: Path, many: Path, tmp_path: Path, mount: Callable[..., Path]
) -> None:
    (tmp_path / "disk").mkdir()
    disk = mount(tmp_path / "disk", "-t", "tmpfs", "-o", "size=100k", "none")
    process = start(many, "--into", str(disk / "small"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert said.startswith("error: no space left to write ") and said.count("\n") == 1
    whole = {path: path.stat().st_mtime_ns for path in disk.rglob("*.mp4")}
    assert 0 < len(whole) < 12
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    assert farlab.run(["data", "prepare", "folder", str(many), "--resize", "48", "--into", str(disk / "small")]) == 0
    assert sum(path.stat().st_mtime_ns != at for path, at in whole.items()) <= 2
    assert len(list(disk.rglob("*.mp4"))) == 12


def test_a_process_that_hangs_or_crashes_takes_nothing_else_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 720, 1280, 3), dtype=np.uint8)
    write_video(tmp_path / "long.mp4", np.tile(noise, (6, 1, 1, 1)), 25)
    write_video(tmp_path / "short.mp4", noise[:, :64, :64], 25)
    long, short = index_file(tmp_path / "long.mp4"), index_file(tmp_path / "short.mp4")
    with EncoderPool() as pool:

        def struck(signal_: signal.Signals) -> VideoError:
            def strike() -> None:
                until(lambda: list(tmp_path.glob(".made.mp4.*")))
                os.kill(next(iter(pool._busy))._process.pid, signal_)
                monkeypatch.setattr(encoder_pool, "STALLED", 2.0)

            thread = threading.Thread(target=strike)
            thread.start()
            with pytest.raises(VideoError) as caught:
                pool.write_smaller(tmp_path / "long.mp4", long, tmp_path / "made.mp4", (1278, 718))
            thread.join()
            clear_abandoned(tmp_path)
            assert [path.name for path in tmp_path.glob("*made*")] == []
            return caught.value

        crashed, killed, stopped = (struck(each) for each in (signal.SIGSEGV, signal.SIGKILL, signal.SIGSTOP))
        assert crashed.reason == "the encoder crashed on it (exit status -11)"
        assert killed.reason == "the encoder crashed on it (exit status -9)"
        assert stopped.reason == "re-encoding it stood still for 2 s"
        assert [isinstance(each, UndecidedError) for each in (crashed, killed, stopped)] == [False, True, True]
        monkeypatch.undo()
        assert pool.write_smaller(tmp_path / "short.mp4", short, tmp_path / "made.mp4", (32, 32)).startswith("core ")
        assert index_file(tmp_path / "made.mp4").count == 4


TWO_AT_ONCE = """
import pickle, struct, sys
sys.stdin.buffer.read(4)
said = (struct.pack("<I", len(body)) + body for body in map(pickle.dumps, (None, "core 1")))
sys.stdout.buffer.write(b"".join(said))
sys.stdout.flush()
sys.stdin.buffer.read()
"""


def test_an_answer_that_comes_together_with_a_sign_of_life_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_pool, "STALLED", 10.0)
    monkeypatch.setattr(decoder_pool, "python_command", lambda *_: [sys.executable, "-c", TWO_AT_ONCE])
    with EncoderPool() as pool:
        index: Any = None
        assert pool.write_smaller(tmp_path / "a.mp4", index, tmp_path / "b.mp4", (32, 32)) == "core 1"


def test_what_a_killed_process_was_at_is_done_by_another(workspace: Path, clips: Path) -> None:
    def strike() -> bool:
        places = Path(f"/proc/{os.getpid()}/task").glob("*/children")
        children = {int(pid) for place in places for pid in place.read_text().split()}
        busy = [pid for pid in children if b"video_encoder" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if busy:
            os.kill(busy[0], signal.SIGKILL)
        return bool(busy)

    thread = threading.Thread(target=until, args=[strike])
    thread.start()
    manifest = farlab.prepare_data("folder", clips, resize=72)
    thread.join()
    made = account(manifest.note)
    assert (made["reencoded"], [*made["not_reencoded"]]) == (5, ["val/b/cut", "val/b/none"])


@given(st.integers(16, 8000), st.integers(16, 8000), st.integers(8, 2160))
def test_the_short_side_is_as_asked_and_the_other_as_near_as_an_even_number_can_be(
    width: int, height: int, half: int
) -> None:
    side = 2 * half
    index: Any = type("Index", (), {"width": width, "height": height})
    made = _size(index, side)
    assert min(made) == side or max(width, height) == min(width, height)
    assert all(pixels % 2 == 0 for pixels in made)
    scale = side / min(width, height)
    assert all(abs(pixels - before * scale) <= 1 for pixels, before in zip(made, (width, height), strict=True))


PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "..", "A", "x" * 250, "ä", "a.b"]), min_size=1, max_size=4),
    unique_by=tuple,
    max_size=8,
)


@given(PATHS, st.sampled_from([".mp4", ".webm", ""]))
def test_no_two_files_become_one_and_none_leaves_the_folder(parts: list[list[str]], suffix: str) -> None:
    paths = {
        Path(os.path.normpath(Path("/data/set", *each[:-1], each[-1] + suffix))) for each in parts if each[-1] != ".."
    }
    stems = _stems(paths, Path("/data/set"))
    assert stems.keys() == paths
    assert len({str(stem).casefold() for stem in stems.values()}) == len(paths)
    for stem in stems.values():
        assert not stem.is_absolute() and ".." not in stem.parts
        assert len(os.fsencode(stem.name)) <= 220

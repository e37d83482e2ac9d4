"""Decoded videos on disk: the same frames as decoding gives, whatever happens to the folder, within the budget."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from far.config.trial import DataConfig, DemoConfig
from far.data import Manifest, open_manifest
from far.data.decoding import disk_budget, disk_cache, frame_file
from far.data.decoding.cache import CachedFrames, DecodedFrames, FrameSource, open_frames
from far.data.decoding.decoder import DECODERS, decode
from far.data.decoding.disk_budget import FOLDER
from far.data.decoding.disk_cache import DiskCache, frames_key
from far.data.decoding.frame_file import size_on_disk
from far.data.decoding.indexes import open_indexes
from far.data.decoding.pool import POOL
from far.store.atomic import machine

SHAPE = (33, 32, 32, 3)
SIZE = size_on_disk(SHAPE)
"""Of a decoded video of the small set."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Twenty videos of 33 frames of 32 x 32."""
    data = DataConfig(demo=DemoConfig(train_clips=10, val_clips=10, size=32))
    return open_manifest(data, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def expected(made: Manifest) -> dict[str, np.ndarray]:
    """All frames of each video, decoded."""
    source = DecodedFrames(made)
    return {video.id: source.read(video, np.arange) for video in made.videos}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a process that has neither said anything nor read a file yet."""
    monkeypatch.setattr(disk_cache, "_said", set())
    monkeypatch.setattr(disk_cache, "_open", {})


@pytest.fixture(params=["mapped", "read"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files as on a disk of this machine, and as on a network file system."""
    monkeypatch.setattr(disk_cache, "is_local", lambda folder: request.param == "mapped")
    monkeypatch.setattr(frame_file, "SMALL", 0 if request.param == "read" else frame_file.SMALL)


def restarted() -> None:
    """Forget what this process has read, as the next one has not read it."""
    disk_cache._open.clear()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def opened(manifest: Manifest, folder: Path, budget: int = 1 << 30) -> FrameSource:
    return open_frames(manifest, DataConfig.model_validate({"cache": budget, "cache_folder": str(folder)}))


def check_frames(source: FrameSource, manifest: Manifest, expected: dict[str, np.ndarray]) -> None:
    """Read every video in two ways and compare."""
    for video in manifest.videos:
        for wanted in (np.arange(33), np.array([5, 0, 5, 32])):
            got = source.read(video, lambda count, wanted=wanted: wanted)  # type: ignore[misc]
            assert np.array_equal(got, expected[video.id][wanted]), video.id


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{'[0-9a-f]' * 32}.rgb"))


@pytest.mark.usefixtures("way")
def test_each_video_is_decoded_once_for_all_processes_and_epochs(
    made: Manifest, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    first = opened(made, tmp_path)
    for _ in range(2):
        check_frames(first, made, expected)
    assert first.decoded == len(made.videos)
    restarted()
    again = opened(made, tmp_path)
    check_frames(again, made, expected)
    assert again.decoded == 0
    assert sum(path.stat().st_size for path in files(tmp_path)) == len(made.videos) * SIZE


def test_a_copy_of_the_data_set_shares_what_was_decoded(made: Manifest, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(made.directory, copied)
    copy = replace(made, directory=copied, media_root=copied)
    cache = tmp_path / "cache"
    opened(made, cache).read(made.videos[0], np.arange)
    restarted()
    other = opened(copy, cache)
    other.read(copy.videos[0], np.arange)
    assert other.decoded == 0


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("damage", ["frame", "checksum", "cut", "empty", "longer"])
def test_a_damaged_file_is_decoded_again(made: Manifest, tmp_path: Path, damage: str) -> None:
    video = made.videos[0]
    good = opened(made, tmp_path).read(video, np.arange)
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "frame":
        content[5000:9000] = bytes(4000)
    elif damage == "checksum":
        content[-33 * 4 :] = bytes(33 * 4)
    else:
        content = {"cut": content[:-1], "empty": bytearray(), "longer": content + b"\0"}[damage]
    restarted()
    path.write_bytes(content)
    source = opened(made, tmp_path)
    assert np.array_equal(source.read(video, np.arange), good)
    assert source.decoded == 1
    assert np.array_equal(source.read(video, np.arange), good)
    assert source.decoded == 1  # and mended


@pytest.mark.usefixtures("way")
def test_a_folder_that_is_removed_while_it_is_in_use(
    made: Manifest, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    source = opened(made, tmp_path)
    check_frames(source, made, expected)
    shutil.rmtree(tmp_path)
    check_frames(source, made, expected)
    check_frames(opened(made, tmp_path), made, expected)
    assert len(files(tmp_path)) == len(made.videos)


@pytest.mark.usefixtures("way")
def test_a_file_that_another_takes_the_place_of_serves_none_of_it(made: Manifest, tmp_path: Path) -> None:
    source, video = opened(made, tmp_path), made.videos[0]
    good = source.read(video, np.arange)
    assert np.array_equal(source.read(video, np.arange), good)
    (path,) = files(tmp_path)
    other = tmp_path / "other"
    other.write_bytes(bytes(SIZE))
    other.replace(path)
    for _ in range(3):
        assert np.array_equal(source.read(video, np.arange), good)
    restarted()
    again = opened(made, tmp_path)
    for decoded in (1, 1):
        assert np.array_equal(again.read(video, np.arange), good) and again.decoded <= decoded


def test_maps_of_files_keep_no_descriptors(made: Manifest, expected: dict[str, np.ndarray], tmp_path: Path) -> None:
    source = opened(made, tmp_path)
    check_frames(source, made, expected)
    restarted()
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    check_frames(source := opened(made, tmp_path), made, expected)
    assert len(list(Path("/proc/self/fd").iterdir())) == before and source.decoded == 0


def test_where_nothing_can_be_mapped_files_are_read(
    made: Manifest, expected: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("unable to mmap 101376 bytes: Cannot allocate memory (12)")

    check_frames(opened(made, tmp_path), made, expected)
    restarted()
    monkeypatch.setattr(torch, "from_file", refused)
    check_frames(source := opened(made, tmp_path), made, expected)
    assert source.decoded == 0


def test_without_a_cache_nothing_is_written(made: Manifest, tmp_path: Path) -> None:
    source = opened(made, tmp_path / "none", budget=0)
    source.read(made.videos[0], np.arange)
    assert isinstance(source, DecodedFrames) and not isinstance(source, CachedFrames)
    assert not (tmp_path / "none").exists() and not (made.directory / FOLDER).exists()
    assert source.decoded == 1


@pytest.mark.usefixtures("way")
def test_a_trial_that_follows_in_the_same_process_reads_on(
    made: Manifest, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    check_frames(opened(made, tmp_path), made, expected)
    old = files(tmp_path)[0].stat().st_mtime_ns
    follower = opened(made, tmp_path)
    check_frames(follower, made, expected)
    assert follower.decoded == 0
    assert files(tmp_path)[0].stat().st_mtime_ns > old  # used again


def test_a_file_whose_content_or_index_changes_is_another(made: Manifest, tmp_path: Path) -> None:
    video, index = made.videos[0], open_indexes(made).get(made.videos[0])
    same = frames_key(video.sha256, replace(index, mtime_ns=1, read_differently="other"))
    assert same == frames_key(video.sha256, index)
    others = [
        replace(index, **change)
        for change in (
            {"count": 32},
            {"width": 33},
            {"height": 33},
            {"stream": 1},
            {"reader": "pyav"},
            {"timestamps": index.timestamps + 1},
        )
    ]
    names = {frames_key("0" * 64, index), *(frames_key(video.sha256, other) for other in [index, *others])}
    assert len(names) == len(others) + 2


def test_what_another_decoder_had_to_stand_in_for_is_not_kept(
    made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __init__(self, path: Path, index: object) -> None:
            raise OSError("not now")

    monkeypatch.setitem(DECODERS._entries, "decord", Failing)
    monkeypatch.setattr(POOL, "decode", decode)
    opened(made, tmp_path).read(made.videos[0], np.arange)
    assert files(tmp_path) == []


# -- the budget --


def held(folder: Path) -> int:
    """Bytes in a folder that processes write to."""
    total = 0
    with (folder / ".usage.json").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # else something could go and another come in between
        for path in [*files(folder), *(folder / "partial").iterdir()]:
            with suppress(FileNotFoundError):
                total += path.stat().st_size
    return total


@pytest.mark.parametrize("fits", [0, 1, 2, 7, 19, 20])
def test_of_a_set_that_does_not_fit_the_same_part_is_kept_by_all(
    made: Manifest, expected: dict[str, np.ndarray], tmp_path: Path, fits: int
) -> None:
    kept = []
    for number in range(2):
        folder = tmp_path / str(number)
        for _ in range(2):
            source = opened(made, folder, fits * SIZE + SIZE // 2)
            check_frames(source, made, expected)
        kept.append([path.name for path in files(folder)])
        # two reads of what is not kept, and the second pass decodes nothing of what is
        assert source.decoded == 2 * (len(made.videos) - len(kept[0]))
        assert len(kept[0]) == (fits if fits >= 2 else 0)  # less than a tenth is not worth it
    assert kept[0] == kept[1]


def test_what_was_not_used_for_longest_goes_but_nothing_in_use(made: Manifest, tmp_path: Path) -> None:
    budget = 13 * SIZE // 2  # six, and the part that is made free at a time is less than one
    cache = DiskCache(tmp_path, budget, "x")
    frames = np.zeros(SHAPE, np.uint8)
    for number in range(6):
        cache.write(f"{number:032x}", frames)
    for number, used in enumerate([3, 5, 1, 2, 4, 6]):
        os.utime(tmp_path / f"{number:032x}.rgb", (used, used))
    later = DiskCache(tmp_path, budget, "x")
    assert later.read(f"{2:032x}", SHAPE, np.arange(3)) is not None  # the oldest, and now the newest
    gone = []
    for number in range(10, 14):
        later.write(f"{number:032x}", frames)
        gone += [each for each in range(6) if not later.has(f"{each:032x}") and each not in gone]
    assert gone == [3, 0, 4, 1]
    later.write(f"{14:032x}", frames)
    later.write(f"{15:032x}", frames)
    names = {path.stem for path in files(tmp_path)}
    assert names == {f"{number:032x}" for number in (2, 10, 11, 12, 13, 14)}  # all used since it was opened


def test_a_smaller_budget_is_kept_at_once(made: Manifest, tmp_path: Path) -> None:
    (tmp_path / "scan.rgb").write_bytes(bytes(20 * SIZE))  # somebody's own, which nobody may remove
    os.utime(tmp_path / "scan.rgb", (0, 0))
    source = opened(made, tmp_path, 20 * SIZE)
    for video in made.videos:
        source.read(video, np.arange)
    assert held(tmp_path) == 20 * SIZE
    opened(made, tmp_path, 8 * SIZE)
    assert 0 < held(tmp_path) <= 8 * SIZE
    assert (tmp_path / "scan.rgb").exists()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    budget=st.integers(0, 20),
    steps=st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=30),
)
def test_any_sequence_of_uses_gives_what_was_written_and_keeps_the_budget(
    sizes: list[int], budget: int, steps: list[tuple[int, bool]]
) -> None:
    frame = size_on_disk((1, 4, 4, 3))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cache = DiskCache(folder, budget * frame, "x")
        used: dict[int, None] = {}  # by last use, of this process's time
        for number, restarts in steps:
            if restarts:
                restarted()
                for path in files(folder):  # as a process that opens the folder later sees it
                    os.utime(path, (status := path.stat().st_mtime - 1000, status))
                cache, used = DiskCache(folder, budget * frame, "x"), {}
            which = number % len(sizes)
            shape, key = (sizes[which], 4, 4, 3), f"{which:032x}"
            frames = np.full(shape, which, np.uint8)
            got = cache.read(key, shape, np.arange(sizes[which]))
            assert got is None or np.array_equal(got, frames)
            if got is None and cache.wants(shape):
                cache.write(key, frames)
            if cache.has(key):
                used[which] = None
            assert all(cache.has(f"{each:032x}") for each in used)  # what is in use stays
            assert held(folder) <= budget * frame
            fits = size_on_disk(shape) + sum(size_on_disk((sizes[each], 4, 4, 3)) for each in used if each != which)
            assert cache.has(key) or fits > budget * frame or not cache.wants(shape)


# -- what can go wrong with the folder --


@pytest.fixture
def small_disk(tmp_path: Path, mount: Callable[..., Path]) -> Path:
    """A file system of 1 MiB, which has room for ten of the twenty videos."""
    place = tmp_path / "small"
    place.mkdir()
    return mount(place, "-t", "tmpfs", "-o", "size=1m", "none")


def test_a_full_disk_is_said_once_and_some_of_it_stays_free(
    made: Manifest, expected: dict[str, np.ndarray], small_disk: Path, warnings: Callable[[], list[str]]
) -> None:
    for _ in range(2):
        check_frames(opened(made, small_disk), made, expected)
    assert 7 <= len(files(small_disk)) <= 9
    disk = os.statvfs(small_disk)
    assert disk.f_bavail >= disk_budget.RESERVE * disk.f_blocks
    (warning,) = warnings()
    assert "less than 51.2KiB would stay free on its disk, so no more decoded videos are kept there" in warning


def test_where_the_disk_fills_up_in_the_middle_the_cache_gives_way(
    made: Manifest,
    expected: dict[str, np.ndarray],
    small_disk: Path,
    warnings: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))  # as some network file systems, and as a quota
    monkeypatch.setattr(disk_budget.os, "statvfs", lambda folder: unknown)
    other = opened(made, small_disk)  # of another process, in which nothing has gone wrong
    check_frames(opened(made, small_disk), made, expected)
    (warning,) = warnings()
    assert "No space left on device, so no more decoded videos are kept there" in warning
    left = len(files(small_disk))
    assert 4 <= left <= 6  # of ten
    assert list((small_disk / "partial").iterdir()) == []
    (small_disk / "checkpoint").write_bytes(bytes(300_000))  # for which there is room now
    for source in (other, opened(made, small_disk)):
        check_frames(source, made, expected)
    assert len(files(small_disk)) <= left and len(warnings()) == 1  # it does not fill up again


@pytest.mark.parametrize("text", ["file", "file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_is_said_once(
    made: Manifest, expected: dict[str, np.ndarray], tmp_path: Path, warnings: Callable[[], list[str]], text: str
) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        source = opened(made, tmp_path / text)
        check_frames(source, made, expected)
        assert source.decoded == 2 * len(made.videos)
    (warning,) = warnings()
    assert "data.cache_folder" in warning and "decoded every time" in warning


def test_a_name_that_no_folder_can_have_is_said(made: Manifest, warnings: Callable[[], list[str]]) -> None:
    source = open_frames(made, DataConfig(cache_folder="a\0b"))
    assert source.read(made.videos[0], np.arange).shape == SHAPE
    assert "embedded null byte: videos are decoded every time" in warnings()[0]


def test_a_folder_that_can_only_be_read_is_read(
    made: Manifest,
    expected: dict[str, np.ndarray],
    tmp_path: Path,
    mount: Callable[..., Path],
    warnings: Callable[[], list[str]],
) -> None:
    place = tmp_path / "shared"
    for video in made.videos[:5]:
        opened(made, place).read(video, np.arange)
    mount(place, "--bind", place)
    subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
    restarted()
    source = opened(made, place)
    check_frames(source, made, expected)
    assert source.decoded == 2 * (len(made.videos) - 5)
    (warning,) = warnings()
    assert "cannot be written (Read-only file system)" in warning


def test_a_budget_below_one_video_is_said_once(
    made: Manifest, expected: dict[str, np.ndarray], tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    for _ in range(2):
        check_frames(opened(made, tmp_path, SIZE - 200), made, expected)
    (warning,) = warnings()
    assert f"data.cache: {SIZE - 200} bytes are fewer than" in warning and files(tmp_path) == []


def test_somebody_who_is_stopped_with_the_lock_stops_nobody(
    made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    source = opened(made, tmp_path)
    monkeypatch.setattr(disk_budget, "PATIENCE", 0.05)
    with (tmp_path / ".usage.json").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert source.read(made.videos[0], np.arange).shape == SHAPE
    assert files(tmp_path) == [] and warnings() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"bytes": 5, "nonsense": 1}', b'{"bytes": "x"}', bytes(100)])
def test_a_ledger_that_is_damaged_is_made_again(made: Manifest, tmp_path: Path, content: bytes) -> None:
    for video in made.videos[:8]:
        opened(made, tmp_path).read(video, np.arange)
    (tmp_path / ".usage.json").write_bytes(content)
    opened(made, tmp_path, 4 * SIZE)
    assert held(tmp_path) <= 4 * SIZE


# -- several processes --

WRITER = """
import sys
from pathlib import Path
import numpy as np
from far.data.decoding.disk_cache import DiskCache

folder, budget, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(seed)
shape = (20, 100, 100, 3)
cache = DiskCache(folder, budget, "x")
print("begun", flush=True)
while True:
    if rng.random() < 0.05:
        cache = DiskCache(folder, budget, "x")
    which = int(rng.integers(0, 30))
    frames = np.full(shape, which, np.uint8)
    got = cache.read(f"{which:032x}", shape, np.arange(20))
    if got is None:
        cache.write(f"{which:032x}", frames)
    elif not np.array_equal(got, frames):
        print("wrong", which, flush=True)
"""


def test_writers_that_are_killed_leave_nothing_wrong_and_the_budget_is_kept(tmp_path: Path) -> None:
    size = size_on_disk((20, 100, 100, 3))
    budget, rng = 9 * size, np.random.default_rng(0)

    def start(seed: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(budget), str(seed)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    most = 0
    processes = [start(seed) for seed in range(3)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            most = max(most, held(tmp_path))
            time.sleep(float(rng.random()) * 0.01)
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
    said = Counter(process.communicate()[0] for process in processes)
    assert list(said) == [""]
    assert 5 * size < most <= budget
    partial = tmp_path / "partial" / f".x.{machine()}.{processes[0].pid}.partial"
    partial.write_bytes(bytes(1000))  # as one of them may or may not have left
    cache = DiskCache(tmp_path, budget, "x")
    assert list((tmp_path / "partial").iterdir()) == []
    for path in files(tmp_path):
        got = cache.read(path.stem, (20, 100, 100, 3), np.arange(20))
        assert got is not None and np.all(got == int(path.stem, 16))

"""Decoded videos on disk: the same frames as decoding gives, whatever happens to the folder, within the budget."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from far.config.trial import DataConfig, DemoConfig
from far.data import Manifest, open_manifest
from far.data.decoding import disk_cache
from far.data.decoding.cache import FOLDER, CachedFrames, DecodedFrames, FrameSource, open_frames
from far.data.decoding.disk_cache import size_on_disk

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
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a process that has not said anything yet."""
    monkeypatch.setattr(disk_cache, "_said", set())


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
    return sorted(folder.glob("*.rgb"))


def test_each_video_is_decoded_once_for_all_processes_and_epochs(
    made: Manifest, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    first = opened(made, tmp_path)
    assert all(first.decodes(video) for video in made.videos)
    for _ in range(2):
        check_frames(first, made, expected)
    assert first.decoded == len(made.videos)
    again = opened(made, tmp_path)
    assert not any(again.decodes(video) for video in made.videos)
    check_frames(again, made, expected)
    assert again.decoded == 0
    assert sum(path.stat().st_size for path in files(tmp_path)) == len(made.videos) * SIZE


def test_a_copy_of_the_data_set_shares_what_was_decoded(made: Manifest, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(made.directory, copied)
    copy = replace(made, directory=copied, media_root=copied)
    cache = tmp_path / "cache"
    opened(made, cache).read(made.videos[0], np.arange)
    other = opened(copy, cache)
    other.read(copy.videos[0], np.arange)
    assert other.decoded == 0


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
    path.write_bytes(content)
    source = opened(made, tmp_path)
    assert np.array_equal(source.read(video, np.arange), good)
    assert source.decoded == 1
    assert np.array_equal(source.read(video, np.arange), good)
    assert source.decoded == 1  # and mended


def test_a_file_that_is_removed_or_exchanged_while_it_is_in_use(made: Manifest, tmp_path: Path) -> None:
    first, second = made.videos[:2]
    source = opened(made, tmp_path)
    good = [source.read(video, np.arange) for video in (first, second)]
    shutil.rmtree(tmp_path)
    assert np.array_equal(source.read(first, np.arange), good[0])
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.unlink()
    path.write_bytes(content)
    assert np.array_equal(source.read(first, np.arange), good[0])
    assert source.decoded == 4


def test_without_a_cache_nothing_is_written(made: Manifest, tmp_path: Path) -> None:
    source = opened(made, tmp_path / "none", budget=0)
    source.read(made.videos[0], np.arange)
    assert isinstance(source, DecodedFrames) and not isinstance(source, CachedFrames)
    assert not (tmp_path / "none").exists() and not (made.directory / FOLDER).exists()
    assert source.decoded == 1

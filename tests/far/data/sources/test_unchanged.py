"""Files that were exchanged after ``prepare`` are found when they are read, with the command that prepares anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from far.config.trial import DataConfig, TrialConfig
from far.data.decoding.cache import DecodedFrames, FrameSource, open_frames
from far.data.loader import EvalStream
from far.data.sources.layouts import read_listing
from far.data.sources.manifest import Manifest
from far.data.sources.prepare import check, prepare
from far.data.sources.unchanged import JOURNAL, ChangedError

SOURCES: dict[str, Callable[[Manifest], FrameSource]] = {
    "cached": partial(open_frames, data=DataConfig()),
    "decoded": DecodedFrames,
}


@pytest.fixture
def prepared(demo_set: Manifest, tmp_path: Path) -> Manifest:
    """Four videos of two classes in a folder layout."""
    files = [demo_set.file(video) for video in demo_set.split("val")[:4]]
    for number, path in enumerate(files):
        target = tmp_path / "mine" / "val" / "ab"[number % 2] / f"{number}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    folder, directory = tmp_path / "mine", tmp_path / "data" / "mine"
    directory.mkdir(parents=True)
    return prepare(read_listing("folder", folder), layout="folder", root=folder, directory=directory)


def exchange(manifest: Manifest) -> tuple[Path, Path]:
    """Exchange the files of two videos, sizes and all."""
    first, second = (manifest.file(video) for video in manifest.videos[:2])
    shutil.move(first, first.with_suffix(".tmp"))
    shutil.move(second, first)
    shutil.move(first.with_suffix(".tmp"), second)
    return first, second


@pytest.mark.parametrize("source", SOURCES)
def test_an_exchanged_file_is_an_error_that_names_it_and_the_command(prepared: Manifest, source: str) -> None:
    first, _ = exchange(prepared)
    with pytest.raises(ChangedError) as caught:
        SOURCES[source](prepared).read(prepared.videos[0], lambda count: np.arange(2))
    assert str(first) in str(caught.value)
    assert f"farlab data prepare folder {prepared.media_root} --name mine" in str(caught.value)
    assert caught.value.exit_code == 3


def test_frames_that_were_cached_do_not_outlive_their_files(prepared: Manifest) -> None:
    for video in prepared.videos:
        SOURCES["cached"](prepared).read(video, lambda count: np.arange(count))
    exchange(prepared)
    with pytest.raises(ChangedError):
        SOURCES["cached"](prepared).read(prepared.videos[0], lambda count: np.arange(2))


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_that_is_gone_is_an_error_whether_its_frames_are_cached_or_not(prepared: Manifest, source: str) -> None:
    SOURCES[source](prepared).read(prepared.videos[0], lambda count: np.arange(count))
    path = prepared.file(prepared.videos[0])
    path.unlink()
    with pytest.raises(ChangedError, match="cannot be found") as caught:
        SOURCES[source](prepared).read(prepared.videos[0], lambda count: np.arange(2))
    assert str(path) in str(caught.value) and "farlab data prepare folder" in str(caught.value)


def test_a_file_that_changes_while_it_is_read_is_found_too(prepared: Manifest) -> None:
    frames = DecodedFrames(prepared)
    frames.read(prepared.videos[0], lambda count: np.arange(2))
    exchange(prepared)
    with pytest.raises(ChangedError):
        frames.read(prepared.videos[0], lambda count: np.arange(2))


def test_a_trial_does_not_take_it_for_an_unreadable_video(prepared: Manifest, trial: TrialConfig) -> None:
    exchange(prepared)
    stream = EvalStream(prepared, trial, rank=0, world=1, micro_batch=4, split="val")
    with pytest.raises(ChangedError):
        list(stream)
    assert not stream.failures


def test_a_copy_of_other_times_is_the_same_data_set_and_read_once_to_know_it(prepared: Manifest) -> None:
    for video in prepared.videos:
        os.utime(prepared.file(video), (1, 1))
    SOURCES["cached"](prepared).read(prepared.videos[0], lambda count: np.arange(2))
    journal = prepared.directory / JOURNAL
    assert len(journal.read_text().splitlines()) == 1
    SOURCES["cached"](prepared).read(prepared.videos[0], lambda count: np.arange(2))
    assert len(journal.read_text().splitlines()) == 1


def test_check_and_training_agree_about_an_exchanged_file(prepared: Manifest) -> None:
    exchange(prepared)
    assert [finding.problem for finding in check(prepared, clip=2)] == ["changed", "changed"]


def test_a_file_that_was_broken_and_was_replaced_is_another_data_set(prepared: Manifest, tmp_path: Path) -> None:
    path = prepared.file(prepared.videos[0])
    whole = path.read_bytes()
    path.write_bytes(b"no video")
    folder, directory = tmp_path / "mine", tmp_path / "data" / "other"
    directory.mkdir()
    broken = prepare(read_listing("folder", folder), layout="folder", root=folder, directory=directory)
    path.write_bytes(whole)
    with pytest.raises(ChangedError):
        SOURCES["cached"](broken).read(broken.videos[0], lambda count: np.arange(2))

"""Frame i is the i-th that a player shows: over a corpus of containers, codecs and structures, by every path."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from far.architecture.sampling import SAMPLERS, sampler
from far.config.trial import DataConfig, ModelConfig, RecipeConfig, RunConfig, TrialConfig, ViewsConfig
from far.data import Manifest
from far.data.decoding.cache import DecodedFrames, FrameSource, open_frames
from far.data.decoding.decoder import PyavReader, VideoError, decode, open_video
from far.data.decoding.disk_cache import frames_key
from far.data.decoding.frame_index import FrameIndex, pack, unpack
from far.data.decoding.indexes import FILE_NAME, open_indexes
from far.data.decoding.scan import confirmed, index_file
from far.data.loader import EvalStream, TrainStream
from far.data.sources.layouts import read_listing
from far.data.sources.prepare import check, prepare
from far.data.sources.video_encoder import write_smaller
from far.randomness import numpy_rng
from tests.far.data.corpus import BLOCK, COLUMNS, FPS, RECIPES, ROWS, VP9, Recipe, number_of, write

LENGTH = 16
BY_ID = {recipe.id: recipe for recipe in RECIPES}
FOR_DECORD = {"h264.mp4", "h264.mkv", "h264.mov", "h264_1gop.mp4", "vp8.webm", "vp9.webm", "vp9_alt.webm", "vp9.mp4"}
"""Of the usual kinds, which decord reads exactly."""


def picks(count: int) -> list[np.ndarray]:
    """Return the frames of every sampling rule, tested or drawn, and some without order."""
    rng = np.random.default_rng(count)
    chosen = [rng.integers(0, count, 12), np.arange(count)[::-7]]
    for number, name in enumerate(SAMPLERS):
        scheme = sampler(DataConfig(sampling=name))
        tested = (number + count) % 2  # a file's other rules are drawn; the next file's the other way round
        chosen.append(scheme.view(count, LENGTH, count % 3, 3) if tested else scheme.train(count, LENGTH, rng))
    return chosen


def test_the_corpus_is_wide_enough() -> None:
    assert len(RECIPES) >= 40
    assert len({Path(recipe.name).suffix for recipe in RECIPES}) >= 9
    assert len({recipe.codec for recipe in RECIPES}) >= 15


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_frame_is_the_one_that_a_player_shows(corpus: Path, recipe: Recipe) -> None:
    path, numbers = corpus / recipe.file, np.array(recipe.numbers)
    index = index_file(path)
    assert index.count == len(numbers)
    assert (index.width, index.height, index.truncated) == (COLUMNS * BLOCK, ROWS * BLOCK, "")
    assert index.reader == "pyav" or not index.inexact
    assert recipe.name not in FOR_DECORD or index.reader == "decord"
    shown = confirmed(path, index)
    assert shown.as_json() == index.as_json()
    for reader in {index.reader, "pyav"}:
        for wanted in picks(index.count):
            frames = decode(path, replace(index, reader=reader), wanted).frames
            assert [number_of(frame) for frame in frames] == numbers[wanted].tolist(), reader
    if index.seek_points.size:  # by seeking, not by falling back on decoding from the beginning
        for wanted in picks(index.count):
            unique = np.unique(wanted)
            frames = PyavReader(path, index)._by_seeking(index.timestamps[unique])
            assert [number_of(frame) for frame in frames] == numbers[unique].tolist()


def seconds(path: Path, index: FrameIndex) -> list[Fraction]:
    """Return the times of the frames, none where they have none of their own."""
    with open_video(path) as container:
        base = container.streams[index.stream].time_base
    return [int(time) * base for time in index.timestamps]  # type: ignore[operator]


MADE_SMALLER = (
    "vp9.webm", "vp9_alt.webm", "av1.mkv", "av1_cut.mp4", "mpeg4_bf.avi", "mpeg1.mpg", "mjpeg.avi", "huffyuv.avi",
    "prores.mov", "hevc_open.mkv", "h264.avi", "h264_vfr.mp4", "h264_gap.mkv", "h264_doubled.mkv", "h264_late.mp4",
    "h264_frag.mp4", "h264_cut2.mov", "crop.mp4", "rot90.mp4", "hflip.mp4", "antitranspose.mp4",
)  # fmt: skip
"""One of each kind of time, order, colour and orientation."""


@pytest.mark.parametrize("name", MADE_SMALLER)
def test_a_video_made_smaller_shows_the_same_frames_at_the_same_times(corpus: Path, name: str, tmp_path: Path) -> None:
    recipe = next(recipe for recipe in RECIPES if recipe.name == name)
    path, small = corpus / recipe.file, tmp_path / "small.mp4"
    index = index_file(path)
    write_smaller(path, index, small, (COLUMNS * BLOCK // 2, ROWS * BLOCK // 2), lambda: None)
    made = index_file(small)
    everything = np.arange(index.count)
    before, after = (decode(file, of, everything).frames for file, of in ((path, index), (small, made)))
    assert [number_of(frame.repeat(2, 0).repeat(2, 1)) for frame in after] == recipe.numbers
    halved = before.reshape(index.count, made.height, 2, made.width, 2, 3).mean((2, 4))
    assert np.abs(halved - after).mean((1, 2, 3)).max() < 4
    assert seconds(small, made) == (seconds(path, index) or [Fraction(i, FPS) for i in everything])
    assert made.reader == "decord"  # whatever it was before: quick to seek
    assert np.diff(np.searchsorted(made.timestamps, made.seek_points), append=made.count).max() <= 16


def prepared(corpus: Path, recipes: Sequence[Recipe], folder: Path) -> Manifest:
    """Make a data set of them: trained and tested on."""
    for split in ("train", "val"):
        (folder / f"{split}.csv").write_text("".join(f"{corpus / recipe.file} 0\n" for recipe in recipes))
    listing = read_listing("csv", folder)
    return prepare(listing, layout="csv", root=folder, directory=folder / "out")


@pytest.fixture(scope="module")
def data_set(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The whole corpus as a data set."""
    return prepared(corpus, RECIPES, tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def small_set(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A sixth of it, which holds decord's and PyAV's."""
    return prepared(corpus, RECIPES[::6], tmp_path_factory.mktemp("small"))


def configured(sampling: str, videos: int) -> TrialConfig:
    return TrialConfig(
        model=ModelConfig.model_validate({"backbone": "tiny", "clip": [LENGTH, ROWS * BLOCK, COLUMNS * BLOCK]}),
        data=DataConfig(source="corpus", classes=1, sampling=sampling, views=ViewsConfig(clips=2, crops=1)),
        recipe=RecipeConfig(batch_size=videos),
        run=RunConfig(workers=1),
    )


def numbers_of(clip: torch.Tensor, config: TrialConfig) -> list[int]:
    """Return the numbers on a normalised clip (3, T, H, W)."""
    mean, std = (torch.tensor(v).view(3, 1, 1, 1) for v in (config.data.mean, config.data.std))
    return [number_of(frame) for frame in ((clip * std + mean) * 255).permute(1, 2, 3, 0).numpy()]


@pytest.mark.parametrize("source", [DecodedFrames, partial(open_frames, data=DataConfig())])
@pytest.mark.parametrize("sampling", list(SAMPLERS))
def test_training_and_testing_see_those_frames_with_and_without_a_cache(
    small_set: Manifest, source: Callable[[Manifest], FrameSource], sampling: str
) -> None:
    see_those_frames(small_set, source(small_set), sampling)


def test_training_and_testing_see_those_frames_of_every_file(data_set: Manifest) -> None:
    see_those_frames(data_set, DecodedFrames(data_set), next(iter(SAMPLERS)))


def see_those_frames(data_set: Manifest, frames: FrameSource, sampling: str) -> None:
    videos = len(data_set.split("train"))
    config = configured(sampling, videos)
    scheme = sampler(config.data)
    train = TrainStream(data_set, config, rank=0, world=1, micro_batch=videos, frames=frames)
    batch = next(iter(train.epoch(3)))
    assert len(batch.ids) == videos
    for clip, name in zip(batch.clips, batch.ids, strict=True):
        numbers = np.array(BY_ID[name].numbers)
        wanted = scheme.train(len(numbers), LENGTH, numpy_rng(config.seed, "frames", name, 3, 0))
        assert numbers_of(clip, config) == numbers[wanted].tolist(), name
    test = EvalStream(data_set, config, "val", rank=0, world=1, micro_batch=16, frames=frames)
    seen = 0
    for views in test:
        for clip, name, view in zip(views.clips, views.ids, views.clip, strict=True):
            numbers = np.array(BY_ID[name].numbers)
            assert numbers_of(clip, config) == numbers[scheme.view(len(numbers), LENGTH, view, 2)].tolist(), name
            seen += 1
    assert (seen, test.failures) == (2 * videos, {})


def test_checking_agrees_with_preparing(data_set: Manifest) -> None:
    assert [video.frames for video in data_set.videos] == [len(BY_ID[video.id].numbers) for video in data_set.videos]
    assert check(data_set, clip=1) == []


def test_only_files_that_earlier_versions_read_otherwise_are_said_to_be(data_set: Manifest) -> None:
    indexes = open_indexes(data_set)
    said = {video.id: indexes.get(video).read_differently for video in data_set.split("val")}
    assert said["h264_cut_mp4"] == "90 frames were counted, not 70"
    assert said["hflip_mp4"] == "its mirroring was ignored"
    assert said["crop_mp4"] == "its first frame was another picture"
    assert all("were others" in said[name] for name in ("h264_open_mp4", "hevc_open_mkv", "mpeg4_bf_avi", "mpeg2_mkv"))
    same = ("h264_mp4", "vp9_webm", "av1_mkv", "rot90_mp4", "prores_mov", "mpeg4_avi", "flv1_flv", "mjpeg_avi")
    assert {said[name] for name in same} == {""}


def test_which_decoder_reads_a_video_is_told(data_set: Manifest) -> None:
    decoders = DecodedFrames(data_set).decoders()
    assert sum(decoders.values()) == len(data_set.videos)
    assert [name.split()[0] for name in decoders] == ["decord", "pyav"]


def test_a_data_set_prepared_earlier_is_indexed_at_first_use(small_set: Manifest, tmp_path: Path) -> None:
    directory = tmp_path / "earlier"
    shutil.copytree(small_set.directory, directory, ignore=shutil.ignore_patterns(FILE_NAME, ".*"))
    earlier = replace(small_set, directory=directory)
    told: list[tuple[int, int]] = []
    made, stored = open_indexes(earlier, lambda done, total: told.append((done, total))), open_indexes(small_set)
    assert told[-1] == (len(earlier.videos), len(earlier.videos))
    for video in earlier.videos:
        assert frames_key(video.sha256, made.get(video)) == frames_key(video.sha256, stored.get(video))
    assert earlier.content_hash == small_set.content_hash
    open_indexes(earlier, lambda done, total: pytest.fail("made again"))


def test_a_cache_of_an_earlier_version_is_discarded(data_set: Manifest) -> None:
    names = ["0123456789abcdef.bin", "0123456789abcdef-0123456789abcdef.bin", "0123456789abcdef.bin.01234567.partial"]
    old = [data_set.directory / f".frames-{name}" for name in names]
    for path in old:
        path.write_bytes(b"frames that may be others")
    open_frames(data_set, DataConfig())
    assert not any(path.exists() for path in old)


@pytest.mark.parametrize(
    "name",
    [
        "h264_mp4",
        "h264_mkv",
        "h264_mov",
        "h264_avi",
        "h264_frag_mp4",
        "vp9_webm",
        "av1_mkv",
        "mpeg2_mpg",
        "h264_ts",
        "h264_flv",
        "wmv2_wmv",
    ],
)
def test_a_file_that_was_cut_off_is_truncated_or_refused(corpus: Path, tmp_path: Path, name: str) -> None:
    data = (corpus / BY_ID[name].file).read_bytes()
    path = tmp_path / BY_ID[name].file
    path.write_bytes(data[: len(data) * 6 // 10 + 7])
    try:
        index = index_file(path)
    except VideoError:
        assert name in ("h264_mp4", "h264_mov", "h264_frag_mp4")  # what says where frames are is lost
        return
    assert index.truncated
    assert 0 < index.count < len(BY_ID[name].numbers)
    shown = confirmed(path, index)
    got = [number_of(frame) for frame in decode(path, shown, np.arange(shown.count)).frames]
    assert got[0] == 0 and got == sorted(set(got))  # in order; of the last group of pictures some may be missing


def test_a_file_that_ends_between_two_parts_is_truncated(tmp_path: Path) -> None:
    """A live recording does not say how many bytes its parts are together."""
    for name, options in (("a.webm", {"cluster_time_limit": "500"}), ("a.mkv", {"cluster_time_limit": "500"})):
        path = tmp_path / name
        write(path, Recipe(name, "libvpx-vp9", VP9, container_options=options))
        data = path.read_bytes()
        clusters = [found.start() for found in re.finditer(rb"\x1f\x43\xb6\x75", data)]
        segment = data.index(b"\x18\x53\x80\x67") + 4
        unknown = data[:segment] + b"\x01" + b"\xff" * 7 + data[segment + 8 : clusters[len(clusters) // 2]]
        assert not index_file(path).truncated
        path.write_bytes(unknown)
        assert "s that it announces" in index_file(path).truncated


@given(st.lists(st.integers(-(2**40), 2**40), unique=True, max_size=50))
def test_times_survive_storing(times: list[int]) -> None:
    array = np.array(sorted(times), np.int64)
    assert np.array_equal(unpack(pack(array)), array)


def test_an_index_survives_storing(corpus: Path) -> None:
    index = index_file(corpus / "h264_mp4.mp4")
    again = FrameIndex.from_json(index.as_json())
    assert again.as_json() == index.as_json()
    state = (corpus / "h264_mp4.mp4").stat()
    assert (again.size, again.mtime_ns) == (state.st_size, state.st_mtime_ns)

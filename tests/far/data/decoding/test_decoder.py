from __future__ import annotations

import csv
import io
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from far.config.trial import DataConfig
from far.data.decoding.cache import DecodedFrames, open_frames
from far.data.decoding.decoder import DECODERS, Decoded, VideoError, decode, open_decord
from far.data.decoding.pool import MEMORIES, Pool, UndecidedError, Worker
from far.data.decoding.scan import index_file
from far.data.decoding.worker import receive, send
from far.data.sources.demo_writer import write_video
from far.data.sources.layouts import read_listing
from far.data.sources.prepare import check, prepare
from tests.far.data.corpus import damage

SHARED = Path(__file__).parents[5] / "shared" / "data" / "decode"


def everything(count: int) -> np.ndarray:
    return np.arange(count)


def read(pool: Pool, path: Path, wanted: np.ndarray | None = None) -> Decoded:
    index = pool.index(path)
    return pool.decode(path, index, np.arange(index.count) if wanted is None else wanted)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """40 frames whose number can be read off their brightness."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 40, (48, 64, 3))
    return (texture + 5 * np.arange(40)[:, None, None, None]).astype(np.uint8)


@pytest.fixture
def pool() -> Pool:  # type: ignore[misc]
    pool = Pool()
    yield pool  # type: ignore[misc]
    pool.close()


@pytest.mark.parametrize("decoder", list(DECODERS))
def test_frames_come_in_the_order_asked_for(tmp_path: Path, frames: np.ndarray, decoder: str) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)
    wanted = np.array([7, 3, 3, 39, 0])
    index = index_file(tmp_path / "a.mp4")
    got = decode(tmp_path / "a.mp4", replace(index, reader=decoder), wanted)
    assert (index.count, index.fps, got.decoder) == (40, 10.0, decoder)
    np.testing.assert_allclose(got.frames.mean((1, 2, 3)), frames[wanted].mean((1, 2, 3)), atol=3)


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(5000)], ids=["empty", "text", "zeros"])
def test_what_is_no_video_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=r"a.mp4: (the file is empty|not a video that can be read)"):
        index_file(tmp_path / "a.mp4")


def test_decoders_agree(tmp_path: Path, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", frames, 10, preset="medium", g="12", bf="2")
    index = index_file(tmp_path / "a.mp4")
    first, second = (decode(tmp_path / "a.mp4", replace(index, reader=name), np.arange(40)) for name in DECODERS)
    assert first.decoder != second.decoder
    assert np.array_equal(first.frames, second.frames)


@pytest.mark.parametrize("g", ["1", "9", "250"])
def test_passing_key_frames_reads_what_seeking_to_them_reads(tmp_path: Path, frames: np.ndarray, g: str) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, np.tile(frames, (2, 1, 1, 1)), 10, preset="medium", g=g, bf="2")
    index = index_file(path)
    assert (index.reader, index.count) == ("decord", 80)
    rng = np.random.default_rng(0)
    for wanted in ([79], [0, 1, 2, 79], range(0, 80, 3), *(rng.choice(80, 16, replace=False) for _ in range(4))):
        numbers = np.unique(wanted)
        assert np.array_equal(decode(path, index, numbers).frames, open_decord(path).get_batch(numbers).asnumpy())


def test_the_next_decoder_reads_what_one_cannot(tmp_path: Path, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", np.repeat(frames, 2, axis=1), 10, codec="libsvtav1", preset="12")
    index = index_file(tmp_path / "a.mp4")  # AV1: not for decord
    assert (index.reader, index.count, index.width, index.height) == ("pyav", 40, 64, 96)
    assert decode(tmp_path / "a.mp4", replace(index, reader="decord"), np.array([39])).decoder == "pyav"


def lose_frames(path: Path, frames: np.ndarray, lost: Callable[[int], bool]) -> None:
    """Write an MPEG-4 video in which some packets say "not coded": decoders give no frame and no error for them."""
    import av

    whole = path.with_name("whole.mp4")
    write_video(whole, frames, 16, codec="mpeg4", g="12")
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in source.demux(stream) if p.size):
            if lost(number):
                skipped = av.Packet(bytes([0, 0, 1, 0xB6, 0x50, 0xBF]))
                skipped.pts, skipped.dts = packet.pts, packet.dts
                skipped.time_base, skipped.duration = packet.time_base, packet.duration
                packet = skipped
            packet.stream = copy
            target.mux(packet)


def test_frames_that_are_not_coded_are_no_frames(tmp_path: Path, frames: np.ndarray) -> None:
    import decord

    lose_frames(tmp_path / "a.mp4", frames, lambda number: number >= 30)
    silent = decord.VideoReader(str(tmp_path / "a.mp4"))
    batch = silent.get_batch(range(len(silent))).asnumpy()
    assert len(batch) == 40 and np.array_equal(batch[-1], batch[-2])  # decord alone repeats and says nothing
    index = index_file(tmp_path / "a.mp4")
    got = decode(tmp_path / "a.mp4", index, np.arange(30))
    assert (index.count < 40, got.decoder) == (True, "pyav")
    np.testing.assert_allclose(got.frames.mean((1, 2, 3)), frames[:30].mean((1, 2, 3)), atol=9)


def test_a_damaged_file_is_unreadable_whatever_frames_are_wanted(tmp_path: Path, frames: np.ndarray) -> None:
    (tmp_path / "train" / "all").mkdir(parents=True)
    write_video(tmp_path / "train" / "all" / "a.mp4", frames, 10, preset="medium", g="12", bf="2")
    damage(tmp_path / "train" / "all" / "a.mp4")
    manifest = prepare(read_listing("folder", tmp_path), layout="folder", root=tmp_path, directory=tmp_path / "out")
    for source in (DecodedFrames(manifest), open_frames(manifest, DataConfig())):
        for wanted in (np.arange(3), np.arange(40)):
            with pytest.raises(VideoError, match=r"a.mp4: frame \d+ does not decode"):
                source.read(manifest.videos[0], lambda n, wanted=wanted: wanted)
    (finding,) = check(manifest, clip=1)
    assert finding.problem == "undecodable"


def test_a_message_that_breaks_off_is_the_end() -> None:
    whole = io.BytesIO()
    send(whole, ("frames", 1))
    for length in (0, 3, len(whole.getvalue()) - 1):
        with pytest.raises(EOFError):
            receive(io.BytesIO(whole.getvalue()[:length]))
    assert receive(io.BytesIO(whole.getvalue())) == ("frames", 1)


def test_a_worker_gives_the_same_frames(tmp_path: Path, frames: np.ndarray, pool: Pool) -> None:
    write_video(tmp_path / "a b,c.mp4", frames, 10)
    index = pool.index(tmp_path / "a b,c.mp4")
    assert (index.count, index.width, index.height, index.reader) == (40, 64, 48, "decord")
    direct = decode(tmp_path / "a b,c.mp4", index, np.arange(40))
    for wanted in (np.arange(40), np.array([5]), np.array([9, 2, 2])):
        got = pool.decode(tmp_path / "a b,c.mp4", index, wanted)
        assert np.array_equal(got.frames, direct.frames[wanted])
    for wanted in (np.arange(8000) % 40, np.arange(40), np.arange(9000) % 39):  # more than a worker keeps, and less
        got = pool.decode(tmp_path / "a b,c.mp4", index, wanted)
        assert np.array_equal(got.frames, direct.frames[wanted])


def test_frames_stay_what_they_are_as_long_as_someone_has_a_part_of_them(
    tmp_path: Path, frames: np.ndarray, pool: Pool
) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)
    index = pool.index(tmp_path / "a.mp4")
    direct = decode(tmp_path / "a.mp4", index, np.arange(40)).frames

    def read(start: int) -> np.ndarray:
        return pool.decode(tmp_path / "a.mp4", index, np.arange(start, start + 4)).frames

    kept = [torch.from_numpy(read(start)).permute(3, 0, 1, 2)[:, 1:] for start in range(MEMORIES + 2)]
    place = kept.pop(0).data_ptr()
    assert any(read(20 + n).ctypes.data == place - frames[0].nbytes for n in range(2))  # what was let go is used again
    pool.close()  # its processes end, the frames do not
    for start, part in enumerate(kept, 1):
        assert np.array_equal(part.permute(1, 2, 3, 0), direct[start + 1 : start + 4])


def test_a_missing_file_is_named(tmp_path: Path, pool: Pool) -> None:
    with pytest.raises(VideoError, match=r"gone.mp4: no such file"):
        pool.index(tmp_path / "gone.mp4")


def test_a_decoder_that_hangs_is_killed(tmp_path: Path, pool: Pool, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)
    index = pool.index(tmp_path / "a.mp4")
    started = time.monotonic()
    worker = pool._take()
    os.kill(worker._process.pid, signal.SIGSTOP)  # a worker that does not answer, whatever the reason
    with pytest.raises(VideoError, match=r"did not end within 0\.5 s"):
        worker.decode(tmp_path / "a.mp4", index, np.arange(40), 0.5)
    assert time.monotonic() - started < 30
    assert worker._process.poll() is not None
    pool._give_back(worker)
    assert len(read(pool, tmp_path / "a.mp4").frames) == 40  # the next file gets a new worker


def test_another_decoder_reads_where_one_hangs(tmp_path: Path, pool: Pool, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)
    index = pool.index(tmp_path / "a.mp4")
    assert index.reader == "decord"
    worker = pool._take()
    os.kill(worker._process.pid, signal.SIGSTOP)
    pool._give_back(worker)
    got = pool.decode(tmp_path / "a.mp4", replace(index, reader="decord"), np.arange(3), timeout=5)
    assert (got.decoder, len(got.frames)) == ("pyav", 3)


def test_a_decoder_that_crashes_takes_nothing_with_it(tmp_path: Path, pool: Pool, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)
    worker = pool._take()
    os.kill(worker._process.pid, signal.SIGSEGV)
    with pytest.raises(VideoError, match="crashed on it"):
        worker.index("index", tmp_path / "a.mp4", 20)
    pool._give_back(worker)
    assert len(read(pool, tmp_path / "a.mp4").frames) == 40


def test_a_decoder_that_is_killed_costs_no_video(tmp_path: Path, pool: Pool, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)
    index = pool.index(tmp_path / "a.mp4")
    expected = pool.decode(tmp_path / "a.mp4", index, np.arange(40))
    for number in (signal.SIGKILL, signal.SIGTERM):  # while it is idle
        (worker,) = pool._idle
        os.kill(worker._process.pid, number)
        worker._process.wait()
        got = pool.decode(tmp_path / "a.mp4", index, np.arange(40))
        assert (got.decoder, np.array_equal(got.frames, expected.frames)) == (expected.decoder, True)
    (worker,) = pool._idle
    os.kill(worker._process.pid, signal.SIGSTOP)
    killing = threading.Timer(0.3, worker._process.kill)  # while it is asked
    killing.start()
    got = pool.decode(tmp_path / "a.mp4", index, np.arange(40))
    killing.join()
    assert (got.decoder, np.array_equal(got.frames, expected.frames)) == (expected.decoder, True)


def test_a_file_whose_decoder_is_killed_again_is_given_up(
    tmp_path: Path, pool: Pool, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)
    index, made = pool.index(tmp_path / "a.mp4"), []

    class OutOfMemory(Worker):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)
            self._process.kill()

    pool.close()
    monkeypatch.setattr("far.data.decoding.pool.Worker", OutOfMemory)
    with pytest.raises(UndecidedError, match="crashed on it"):
        pool.decode(tmp_path / "a.mp4", replace(index, reader="pyav"), np.arange(40))
    assert len(made) == 2


def test_workers_retire(tmp_path: Path, pool: Pool, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("far.data.decoding.pool.RETIRE_AFTER", 2)
    write_video(tmp_path / "a.mp4", frames, 10)
    seen = set()
    for _ in range(4):
        worker = pool._take()
        seen.add(worker._process.pid)
        worker.index("index", tmp_path / "a.mp4", 20)
        pool._give_back(worker)
    assert len(seen) == 2


def test_threads_share_a_pool(tmp_path: Path, pool: Pool, frames: np.ndarray) -> None:
    for number in range(6):
        write_video(tmp_path / f"{number}.mp4", frames[number:], 10)
    counts: dict[int, int] = {}

    def count(number: int) -> None:
        counts[number] = len(read(pool, tmp_path / f"{number}.mp4").frames)

    threads = [threading.Thread(target=count, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {number: 40 - number for number in range(6)}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collection of odd files is not beside the checkout")
def test_odd_files_give_frames_or_a_typed_error(pool: Pool) -> None:
    with (SHARED / "manifest.tsv").open() as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if int(row["bytes"]) < 1_000_000]
    assert len(rows) > 40
    for row in rows:
        path = SHARED / row["path"]
        try:
            index = pool.confirm(path, pool.index(path))
            got = pool.decode(path, index, np.linspace(0, index.count - 1, 16).astype(int))
        except VideoError as error:
            assert row["decord_0.6.0"].startswith("ERROR"), error
        else:
            assert got.frames.shape[0] == 16
            if not index.truncated:
                assert f"len={index.count} shape={index.width}x{index.height}" in row["decord_0.6.0"]

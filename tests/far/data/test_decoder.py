from __future__ import annotations

import csv
import io
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from far.data import guard
from far.data.cache import CachedFrames, DecodedFrames
from far.data.decoder import DECODERS, CannotOpenError, VideoError, decode, first_able, verify
from far.data.generate import write_video
from far.data.guard import Pool
from far.data.layouts import read_listing
from far.data.prepare import prepare
from far.data.worker import receive, send

SHARED = Path(__file__).parents[4] / "shared" / "data" / "decode"


def everything(count: int) -> np.ndarray:
    return np.arange(count)


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
    got = decode(tmp_path / "a.mp4", lambda n: wanted, decoder)
    assert (got.count, got.fps, got.decoder) == (40, 10.0, decoder)
    np.testing.assert_allclose(got.frames.mean((1, 2, 3)), frames[wanted].mean((1, 2, 3)), atol=3)


@pytest.mark.parametrize("decoder", list(DECODERS))
@pytest.mark.parametrize("content", [b"", b"not a video", bytes(5000)], ids=["empty", "text", "zeros"])
def test_what_is_no_video_cannot_be_opened(tmp_path: Path, decoder: str, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(CannotOpenError, match=f"a.mp4: {decoder} cannot open it"):
        decode(tmp_path / "a.mp4", everything, decoder)


def test_both_decoders_agree(tmp_path: Path, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", frames, 10, preset="medium", g="12", bf="2")
    first, second = (decode(tmp_path / "a.mp4", everything, name).frames for name in ("decord", "pyav"))
    assert np.array_equal(first, second)


def test_pyav_stands_in_where_decord_cannot_open(tmp_path: Path, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", np.repeat(frames, 2, axis=1), 10, codec="libsvtav1", preset="12")
    with pytest.raises(CannotOpenError):
        decode(tmp_path / "a.mp4", everything, "decord")
    facts = first_able(tmp_path / "a.mp4", verify)
    assert (facts.decoder, facts.count, facts.width, facts.height) == ("pyav", 40, 64, 96)


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


def test_frames_that_decord_would_repeat_are_an_error(tmp_path: Path, frames: np.ndarray) -> None:
    import decord

    lose_frames(tmp_path / "a.mp4", frames, lambda number: number >= 30)
    silent = decord.VideoReader(str(tmp_path / "a.mp4"))
    batch = silent.get_batch(range(len(silent))).asnumpy()
    assert np.array_equal(batch[-1], batch[-2])  # decord alone repeats and says nothing
    with pytest.raises(VideoError, match="frames are lost"):
        first_able(tmp_path / "a.mp4", verify)
    with pytest.raises(VideoError, match="frames are lost"):
        decode(tmp_path / "a.mp4", lambda n: np.arange(1, n, 3), "decord")


def test_a_cache_answers_for_the_same_frames_as_decoding(tmp_path: Path, frames: np.ndarray) -> None:
    (tmp_path / "train" / "all").mkdir(parents=True)
    lose_frames(tmp_path / "train" / "all" / "a.mp4", frames, lambda number: number >= 30)
    (tmp_path / "train" / "all" / "whole.mp4").unlink()
    manifest = prepare(read_listing("folder", tmp_path), layout="folder", root=tmp_path, directory=tmp_path / "out")
    video, wanted = manifest.videos[0], np.arange(5, 15)
    decoded, cached = DecodedFrames(manifest), CachedFrames(manifest)
    assert np.array_equal(cached.read(video, lambda n: wanted), decoded.read(video, lambda n: wanted))
    for source in (decoded, cached):
        with pytest.raises(VideoError, match="frames are lost"):
            source.read(video, everything)


def test_a_message_that_breaks_off_is_the_end() -> None:
    whole = io.BytesIO()
    send(whole, ("frames", 1))
    for length in (0, 3, len(whole.getvalue()) - 1):
        with pytest.raises(EOFError):
            receive(io.BytesIO(whole.getvalue()[:length]))
    assert receive(io.BytesIO(whole.getvalue())) == ("frames", 1)


def test_a_worker_gives_the_same_frames(tmp_path: Path, frames: np.ndarray, pool: Pool) -> None:
    write_video(tmp_path / "a b,c.mp4", frames, 10)
    direct = decode(tmp_path / "a b,c.mp4", everything, "decord")
    for wanted in (np.arange(40), np.array([5]), np.array([9, 2, 2])):
        got = pool.decode(tmp_path / "a b,c.mp4", lambda n, wanted=wanted: wanted)
        assert np.array_equal(got.frames, direct.frames[wanted])
    for wanted in (np.arange(8000) % 40, np.arange(40), np.arange(9000) % 39):  # more than a worker keeps, and less
        got = pool.decode(tmp_path / "a b,c.mp4", lambda n, wanted=wanted: wanted)
        assert np.array_equal(got.frames, direct.frames[wanted])
    facts = pool.probe(tmp_path / "a b,c.mp4")
    assert (facts.count, facts.header, facts.width, facts.height) == (40, 40, 64, 48)


def test_a_missing_file_is_named(tmp_path: Path, pool: Pool) -> None:
    with pytest.raises(VideoError, match=r"gone.mp4: no such file"):
        pool.decode(tmp_path / "gone.mp4", everything)


def test_a_decoder_that_hangs_is_killed(tmp_path: Path, pool: Pool, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)
    pool.probe(tmp_path / "a.mp4")
    started = time.monotonic()
    worker = pool._take()
    os.kill(worker._process.pid, signal.SIGSTOP)  # a worker that does not answer, whatever the reason
    with pytest.raises(VideoError, match=r"did not end within 0\.5 s"):
        worker.decode(tmp_path / "a.mp4", everything, 0.5)
    assert time.monotonic() - started < 30
    assert worker._process.poll() is not None
    pool._give_back(worker)
    assert pool.decode(tmp_path / "a.mp4", everything).count == 40  # the next file gets a new worker


def test_a_decoder_that_crashes_takes_nothing_with_it(tmp_path: Path, pool: Pool, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)

    def crash(count: int) -> np.ndarray:
        os.kill(worker._process.pid, signal.SIGSEGV)
        return np.arange(count)

    worker = pool._take()
    with pytest.raises(VideoError, match="crashed on it"):
        worker.decode(tmp_path / "a.mp4", crash, 20)
    pool._give_back(worker)
    assert pool.decode(tmp_path / "a.mp4", everything).count == 40


def test_a_failure_of_the_caller_does_not_mix_up_answers(tmp_path: Path, pool: Pool, frames: np.ndarray) -> None:
    write_video(tmp_path / "a.mp4", frames, 10)

    def wrong(count: int) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pool.decode(tmp_path / "a.mp4", wrong)
    assert pool.decode(tmp_path / "a.mp4", lambda n: np.array([1])).frames.shape == (1, 48, 64, 3)


def test_workers_retire(tmp_path: Path, pool: Pool, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "RETIRE_AFTER", 2)
    write_video(tmp_path / "a.mp4", frames, 10)
    seen = set()
    for _ in range(4):
        worker = pool._take()
        seen.add(worker._process.pid)
        worker.decode(tmp_path / "a.mp4", everything, 20)
        pool._give_back(worker)
    assert len(seen) == 2


def test_threads_share_a_pool(tmp_path: Path, pool: Pool, frames: np.ndarray) -> None:
    for number in range(6):
        write_video(tmp_path / f"{number}.mp4", frames[number:], 10)
    counts: dict[int, int] = {}

    def read(number: int) -> None:
        counts[number] = pool.decode(tmp_path / f"{number}.mp4", everything).count

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
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
        try:
            got = pool.decode(SHARED / row["path"], lambda n: np.linspace(0, n - 1, 16).astype(int))
        except VideoError as error:
            assert row["decord_0.6.0"].startswith("ERROR"), error
        else:
            assert got.frames.shape[0] == 16
            assert f"len={got.count} shape={got.frames.shape[2]}x{got.frames.shape[1]}" in row["decord_0.6.0"]

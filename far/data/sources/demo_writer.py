"""Writes the demo data set as mp4 files: once, in parallel, atomically."""

from __future__ import annotations

import hashlib
import json
import re
import selectors
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from far.config.trial import DemoConfig
from far.cpus import whole_cpus
from far.data.decoding.worker import receive, send
from far.data.sources import demo
from far.data.sources.manifest import FILE_NAME, Manifest, Video, make_manifest, read_manifest, write_manifest
from far.errors import DataError
from far.interpreter import child_environment, python_command
from far.store.atomic import clear_abandoned, scratch_path, storage_errors

VERSION = 1
"""Part of the folder's name: raise it when the same configuration would draw other pixels."""

Progress = Callable[[int, int], None]
"""Called with the number of clips done and their total."""

GENERATED = re.compile(r"demo-[0-9a-f]{12}")
"""Names of the folders that ``directory_of`` returns."""
_CHUNK = 20


def directory_of(config: DemoConfig, root: Path) -> Path:
    """Return the folder of a demo set: named by a hash of everything that decides its pixels."""
    text = json.dumps({"version": VERSION, **config.model_dump(mode="json")}, sort_keys=True)
    return root / f"demo-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def open_demo(config: DemoConfig, root: Path, progress: Progress | None = None) -> Manifest:
    """Return the demo set's manifest, generating the videos first if they are not there.

    Two processes may do so at once: each writes into a folder of its own, and the first to finish wins. What a killed
    one has left is removed.

    Raises:
        StorageError: ``root`` cannot be written, e.g. because no space is left.
    """
    target = directory_of(config, root)
    if (target / FILE_NAME).is_file():
        return read_manifest(target)
    clear_abandoned(root)
    partial = scratch_path(target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}"))
    try:
        with storage_errors(root):
            partial.mkdir(parents=True)
            write_manifest(_generate(config, partial, progress or (lambda done, total: None)))
            try:
                partial.rename(target)
            except OSError:
                if not (target / FILE_NAME).is_file():
                    raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return read_manifest(target)


def _generate(config: DemoConfig, directory: Path, progress: Progress) -> Manifest:
    counts = {"train": config.train_clips, "val": config.val_clips}
    jobs = [
        (split, range(start, min(start + _CHUNK, count)))
        for split, count in counts.items()
        for start in range(0, count, _CHUNK)
    ]
    for split in counts:
        (directory / split).mkdir()
    # few clips are drawn sooner than processes start
    workers = min(whole_cpus(), len(jobs)) if sum(counts.values()) > 100 else 1
    videos: list[Video] = []
    requests = [(config, directory, *job) for job in jobs]
    chunks = _in_parallel(requests, workers) if workers > 1 else (write_clips(*request) for request in requests)
    for written in chunks:
        videos += written
        progress(len(videos), sum(counts.values()))
    return make_manifest(
        videos,
        list(demo.MOTIONS),
        media_root=directory,
        source="demo",
        directory=directory,
        note={"reversals": demo.reversals()},
    )


def _in_parallel(requests: list[Any], workers: int) -> Iterator[list[Video]]:
    """Yield what processes write, in any order. They end with this process, even if it is killed."""
    children = [
        subprocess.Popen(
            python_command("-m", "far.data.sources.clip_writer"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
        )
        for _ in range(workers)
    ]
    waiting = iter(requests)
    try:
        with selectors.DefaultSelector() as selector:
            for child in children:
                assert child.stdin and child.stdout
                send(child.stdin, next(waiting))
                selector.register(child.stdout, selectors.EVENT_READ, child)
            while selector.get_map():
                for key, _ in selector.select():
                    child = key.data
                    try:
                        answer = receive(child.stdout)
                    except EOFError:
                        raise DataError(
                            f"a process that writes demo clips has died (exit status {child.wait()})"
                        ) from None
                    if isinstance(answer, BaseException):
                        raise answer
                    request = next(waiting, None)
                    if request is None:
                        selector.unregister(child.stdout)
                    else:
                        send(child.stdin, request)
                    yield answer
    finally:
        for child in children:
            child.kill()
            child.communicate()


def write_clips(config: DemoConfig, directory: Path, split: str, indices: range) -> list[Video]:
    """Draw and encode some clips of a split, by number, and return what they are."""
    pool = demo.digit_pool(split)
    videos = []
    for index in indices:
        name = f"{split}/{index:05d}"
        path = directory / f"{name}.mp4"
        write_video(path, demo.render(config, split, index, pool), demo.FPS)
        videos.append(
            Video(
                id=name,
                split=split,
                path=f"{name}.mp4",
                label=demo.label_of(index),
                frames=demo.FRAMES,
                fps=float(demo.FPS),
                width=config.size,
                height=config.size,
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            )
        )
    return videos


def write_video(path: Path, frames: NDArray[np.uint8], fps: int, *, codec: str = "libx264", **options: Any) -> None:
    """Encode RGB frames (T, H, W, 3).

    By default every frame is coded for itself at a fixed quantiser: what the coder leaves in a frame then depends on
    that frame alone, and the middle frame of a demo clip cannot betray where the motion came from.
    """
    import av

    defaults = {
        "preset": "ultrafast",
        "qp": "26",
        "g": "1",
        "bf": "0",
        "x264-params": "scenecut=0:rc-lookahead=0:threads=1",
    }
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=options or defaults)
        assert isinstance(stream, av.VideoStream)
        _, stream.height, stream.width, _ = frames.shape
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())

"""What trials gain that read the same clips at once: ``python benchmarks/sharing.py [--trials 4] [--turns 3]``.

The decode-bound case: several processes read the same generated VP9 videos (4 s, 240 lines, 16 frames per clip) with
one seed, as trials of a sweep do, without a network, without a cache on disk. In turns, each of

- *unshared*: all of them with ``data.share: off``
- *shared*: all of them with ``data.share: auto``
- *alone*: one with ``off``, then one with ``auto``

reads one epoch that is not counted, in which batches are compared bit for bit, and then ``--epochs``. Medians:

- *decodings*: per distinct (video, epoch), shared (goal 1.0)
- *decode CPU*: seconds of the decoding processes per trial, shared ÷ alone (goal 1.15 ÷ trials)
- *clips/s*: of all together, shared ÷ unshared (goal 3); *per CPU second* is the same of CPU time, which other work on
  the machine disturbs less
- *alone*: CPU seconds with ``auto`` ÷ with ``off`` (goal 1.02)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from far.config import parse_override, resolve
from far.data.decoding.cache import DecodedFrames
from far.data.decoding.pool import POOL
from far.data.loader import TrainStream
from far.data.sharing.passes import open_passes
from far.data.sources.layouts import read_listing
from far.data.sources.manifest import read_manifest
from far.data.sources.prepare import prepare
from far.source import source_of

FRAMES, HEIGHT, WIDTH, RATE = 120, 240, 426, 30
"""Of a video: 4 s."""
SETTINGS = ("data.classes=1", "model.clip=[16,224,224]", "recipe.batch_size=8", "data.cache=0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--videos", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="further settings of the trials"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--read", nargs=2, metavar=("FOLDER", "OPTIONS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(Path(arguments.read[0]), **json.loads(arguments.read[1]))))
        return
    with tempfile.TemporaryDirectory(prefix="farlab-bench-") as folder:
        subprocess.run([sys.executable, "-c", WRITE, folder, str(arguments.videos)], check=True)
        turns = [turn(Path(folder), arguments) for _ in range(arguments.turns)]
    numbers = {name: statistics.median(each[name] for each in turns) for name in turns[0]}
    if arguments.json:
        print(json.dumps(numbers, indent=1))
        return
    for name, value in numbers.items():
        print(f"{name:44} {value:8.3f}")


WRITE = "import sys; from benchmarks.sharing import write; write(sys.argv[1], int(sys.argv[2]))"
"""In a process of its own: decord's libvpx would stand in for PyAV's, whose encoder then fails."""


def write(folder: str, videos: int) -> None:
    """Write videos of moving texture and prepare them as a data set."""
    rng, root = np.random.default_rng(0), Path(folder) / "set"
    canvas = rng.integers(0, 256, (HEIGHT // 8 + 20, WIDTH // 8 + 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    for number in range(videos + 1):
        path = root / ("val" if number == videos else "train") / "all" / f"{number}.webm"
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"deadline": "realtime", "cpu-used": "8", "crf": "34", "b": "0", "g": "128"}
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libvpx-vp9", rate=RATE, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for y, x in rng.integers(0, 3, (FRAMES, 2)).cumsum(0) % 100:
                picture = np.ascontiguousarray(canvas[y : y + HEIGHT, x : x + WIDTH])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
    prepare(read_listing("folder", root), layout="folder", root=root, directory=Path(folder) / "manifest")


def turn(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one turn."""
    many, how = arguments.trials, {"epochs": arguments.epochs, "overrides": arguments.set}
    unshared, shared = (together(folder, many, share=share, **how) for share in ("off", "auto"))
    off, auto = (together(folder, 1, share=share, **how) for share in ("off", "auto"))
    if len({each["batches"] for each in (*unshared, *shared, *off, *auto)}) != 1:
        raise SystemExit("the batches differ")
    distinct = arguments.videos * arguments.epochs

    def total(trials: list[dict[str, Any]], name: str) -> float:
        return float(sum(each[name] for each in trials))

    def seconds(trials: list[dict[str, Any]]) -> float:
        return float(max(each["ended"] for each in trials) - min(each["began"] for each in trials))

    return {
        "decodings per video and epoch, unshared": total(unshared, "decoded") / distinct,
        "decodings per video and epoch, shared": total(shared, "decoded") / distinct,
        "decode CPU per trial, shared / alone": total(shared, "decode_cpu") / many / total(off, "decode_cpu"),
        "clips/s in all, unshared": distinct * many / seconds(unshared),
        "clips/s in all, shared": distinct * many / seconds(shared),
        "clips/s in all, shared / unshared": seconds(unshared) / seconds(shared),
        "clips per CPU second, shared / unshared": total(unshared, "cpu") / total(shared, "cpu"),
        "CPU of a clip besides decoding, ms": 1000
        * (total(shared, "cpu") - total(shared, "decode_cpu"))
        / (distinct * many),
        "CPU of a clip's decoding, ms": 1000 * total(off, "decode_cpu") / distinct,
        "alone, CPU seconds, auto / off": total(auto, "cpu") / total(off, "cpu"),
        "alone, seconds, auto / off": seconds(auto) / seconds(off),
    }


def together(folder: Path, trials: int, **options: Any) -> list[dict[str, Any]]:
    """Run trials at the same time and return what each says."""
    options |= {"trials": trials, "turn": time.time_ns()}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--read", folder, json.dumps({**options, "trial": f"t{number}"})],
            stdout=subprocess.PIPE,
        )
        for number in range(trials)
    ]
    said = [process.communicate()[0] for process in processes]
    return [json.loads(each) for each in said]


def read(
    folder: Path, *, trial: str, trials: int, turn: int, share: str, epochs: int, overrides: list[str]
) -> dict[str, Any]:
    """Read as a trial does: an epoch that is not counted, then some that are."""
    import torch

    torch.set_num_threads(1)
    manifest = read_manifest(folder / "manifest")
    config = resolve([parse_override(text) for text in (*SETTINGS, f"data.share={share}", *overrides)])
    source = DecodedFrames(manifest)
    passes = open_passes(
        manifest, config, trial=trial, code=source_of(config).parts, versions=(), companions=trials - 1
    )
    stream = TrainStream(manifest, config, rank=0, world=1, micro_batch=8, frames=source, passes=passes)
    barrier(folder / f"{turn}-first", trial, trials)
    digest = hashlib.sha256()
    for batch in stream.epoch(0):
        digest.update(batch.clips.numpy().tobytes())
    barrier(folder / f"{turn}-second", trial, trials)
    decoded, before, began = source.decoded, cpu(), time.time()
    for epoch in range(1, 1 + epochs):
        for _ in stream.epoch(epoch):
            pass
    ended = time.time()
    own, decoding = (after - earlier for after, earlier in zip(cpu(), before, strict=True))
    barrier(folder / f"{turn}-third", trial, trials)
    if passes is not None:
        passes.close()
    POOL.close()
    return {
        "began": began,
        "ended": ended,
        "batches": digest.hexdigest(),
        "decoded": source.decoded - decoded,
        "decode_cpu": decoding,
        "cpu": own + decoding,
    }


def cpu() -> tuple[float, float]:
    """Return the seconds of processor time that this process and its decoders have taken."""
    this = psutil.Process()
    own, *decoders = (sum(each.cpu_times()[:2]) for each in (this, *this.children()))
    return own, sum(decoders)


def barrier(folder: Path, name: str, trials: int) -> None:
    """Wait for all trials."""
    folder.mkdir(exist_ok=True)
    (folder / name).touch()
    while len(list(folder.iterdir())) < trials:
        time.sleep(0.002)


if __name__ == "__main__":
    main()

"""Readers of shared clips under faults: ``python -m tests.orchestrator.chaos [--kills 30] [--seed 0] [--fault …]``.

Writes small videos, prepares them as a data set, and has ``farlab chaos`` kill and stop the processes of four trials
that read the same clips at the same time, and their decoders. Every result must be that of the undisturbed sweep, bit
for bit, and no shared memory may be left. It ends with the command's exit code.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from far.data.sources.demo_writer import write_video
from orchestrator.chaos.faults import SHARING

FRAMES, HEIGHT, WIDTH = 60, 240, 320
"""Of a video: decoding it takes longer than what is rather decoded again than shared."""
STUDY = """
study: shared
base:
  model: {depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8], attention: {global: 1}}
  data: {source: shared, classes: 2, cache: 0}
  recipe: {epochs: 16, batch_size: 6, warmup_epochs: 0, lr_reference_batch: 8, precision: fp32}
  run: {workers: 2, checkpoint_minutes: 0.05}
rows:
  one: {}
  two: {recipe.lr: 5.0e-4}
  three: {recipe.lr: 2.0e-3}
  four: {model.interaction: none}
seeds: 1
resources: {cpus: 0.5, concurrent: 4}
retry: {lost: 100, wait_seconds: 0.0}
"""


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--period", type=float, default=4.0)
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--fault", action="append", help="only these; default: those of sharing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="farlab-shared-") as name:
        folder = Path(name)
        write_set(folder / "videos", arguments.videos)
        (folder / "farlab.toml").write_text(f"data_root = '{folder / 'data'}'\n")
        (folder / "study.yaml").write_text(STUDY)
        farlab = [sys.executable, "-m", "farlab"]
        prepare = [*farlab, "data", "prepare", "folder", "videos", "--name", "shared"]
        subprocess.run(prepare, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        chosen = [word for fault in arguments.fault or SHARING for word in ("--fault", fault)]
        options = {name: str(getattr(arguments, name)) for name in ("kills", "seed", "period")}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return subprocess.run([*farlab, "chaos", "study.yaml", *chosen, *words], cwd=folder).returncode


def write_set(folder: Path, videos: int) -> None:
    """Write a data set of two classes, laid out in folders."""
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (HEIGHT // 8 + 20, WIDTH // 8 + 20, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    for split, count in (("train", videos), ("val", videos // 3)):
        for number in range(count):
            shifts = rng.integers(0, 3, (FRAMES, 2)).cumsum(0) % 150
            frames = np.stack([canvas[y : y + HEIGHT, x : x + WIDTH] for y, x in shifts])
            path = folder / split / ("up", "down")[number % 2] / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, frames, 30, preset="veryfast", g="60", crf="26")


if __name__ == "__main__":
    sys.exit(main())

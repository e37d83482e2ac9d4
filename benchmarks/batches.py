"""Hashes of batches: ``python benchmarks/batches.py FOLDER``. Two versions that print the same train and test the same.

Videos of several sizes, codecs and structures are written to the folder, unless they are there. One line for each way
of reading them: train and test, plain and augmented, as every floating type, with and without threads. On one machine,
or the codecs' own versions count as well.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from far.config import TrialConfig, parse_override, resolve
from far.data.decoding.cache import DecodedFrames
from far.data.loader import EvalStream, TrainStream
from far.data.sources.demo_writer import write_video
from far.data.sources.layouts import read_listing
from far.data.sources.manifest import Manifest
from far.data.sources.prepare import prepare
from orchestrator.study.profiles import find_profile, packaged_studies

SIZES = ((240, 426), (128, 170), (226, 150), (112, 112), (96, 300))
ENCODINGS = (
    {"preset": "veryfast", "g": "12"},
    {"preset": "medium", "g": "250", "bf": "3"},
    {"preset": "ultrafast", "g": "1"},
    {"codec": "libvpx-vp9", "g": "20", "cpu-used": "8", "deadline": "realtime"},
)
AUGMENTATIONS = {
    "plain": (),
    "crop": ("recipe.augment.crop=true",),
    "mixup": ("recipe.augment.mixup=0.8",),
    "paper": (
        "recipe.augment.repeats=2",
        "recipe.augment.randaug_ops=4",
        "recipe.augment.crop=true",
        "recipe.augment.erasing=0.5",
        "recipe.augment.mixup=0.8",
        "recipe.augment.cutmix=1.0",
    ),
    "bilinear": ("recipe.augment.randaug_ops=4", "recipe.augment.randaug_resampling=bilinear"),
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
EPOCHS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    manifest = videos(parser.parse_args().folder)
    for name, batches in readings(manifest):
        digest = hashlib.sha256()
        for clips in batches:
            digest.update(clips.contiguous().view(torch.uint8).numpy().data)
        print(f"{digest.hexdigest()[:16]}  {name}", flush=True)


def videos(folder: Path) -> Manifest:
    """Write the videos that are not there, and prepare them as a data set."""
    for number, ((height, width), encoding) in enumerate(itertools.product(SIZES, ENCODINGS)):
        for split in ("train", "val"):
            path = folder / "set" / split / "all" / f"{number:02}{'.webm' if 'codec' in encoding else '.mp4'}"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng(number)
                texture = (
                    rng.integers(0, 256, (height // 4 + 20, width // 4 + 20, 3), np.uint8).repeat(4, 0).repeat(4, 1)
                )
                frames = [texture[n % 17 :, n % 13 :][:height, :width] for n in range(30 + 5 * number)]
                write_video(path, np.stack(frames), 25, **encoding)
    root = folder / "set"
    return prepare(read_listing("folder", root), layout="folder", root=root, directory=folder / "manifest")


def profile(*overrides: str) -> TrialConfig:
    """Return the demo profile's configuration with overrides."""
    layers = find_profile("demo", [packaged_studies() / "profiles"]).layers
    return resolve([*layers, *(parse_override(text) for text in overrides)])


def readings(manifest: Manifest) -> Iterator[tuple[str, Iterable[torch.Tensor]]]:
    """Yield the name and the batches of each way of reading the videos."""
    count = len(manifest.split("train"))
    shape = ("data.classes=1", f"recipe.batch_size={count}")
    frames = DecodedFrames(manifest)
    for size, (name, overrides) in itertools.product(((16, 112, 112), (8, 96, 128)), AUGMENTATIONS.items()):
        for workers, micro_batch in ((0, count), (2, 2)):
            config = profile(*shape, f"model.clip={[*size]}", f"run.workers={workers}", *overrides)
            train = TrainStream(manifest, config, rank=0, world=1, micro_batch=micro_batch, frames=frames)
            yield (
                f"train {name} {size}, {workers} threads, {micro_batch} at once",
                (batch.clips for epoch in range(EPOCHS) for batch in train.epoch(epoch)),
            )
    for dtype in DTYPES:
        for name in ("plain", "paper"):
            config = profile(*shape, "model.clip=[8,64,64]", "run.workers=2", *AUGMENTATIONS[name])
            train = TrainStream(manifest, config, rank=0, world=1, micro_batch=4, frames=frames, dtype=dtype)
            yield f"train {name} {dtype}", (batch.clips for batch in train.epoch(0))
        views = ("data.views.clips=2", "data.views.crops=3")
        config = profile(*shape, "model.clip=[8,64,64]", "run.workers=2", *views)
        test = EvalStream(manifest, config, rank=0, world=1, micro_batch=6, frames=frames, dtype=dtype)
        yield f"test {dtype}", (batch.clips for batch in test)


if __name__ == "__main__":
    main()

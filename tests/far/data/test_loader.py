from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from far.config.trial import AugmentConfig, DataConfig, DemoConfig, RunConfig, TrialConfig, ViewsConfig
from far.data import Manifest, open_manifest
from far.data.batch import UNREADABLE
from far.data.decoding.cache import DecodedFrames
from far.data.loader import EvalStream, TrainStream
from far.errors import ConfigError


@pytest.fixture(scope="module")
def demo_set(demo_set: Manifest) -> Manifest:
    """Its first clips, which is enough for several steps."""
    return replace(demo_set, videos=(*demo_set.split("train")[:100], *demo_set.split("val")[:50]))


def collect(manifest: Manifest, trial: TrialConfig, world: int, micro: int, epoch: int = 0, start: int = 0) -> dict:
    """All clips of an epoch by (step, position), gathered over ranks."""
    found = {}
    per_step = trial.recipe.batch_size // (world * micro)
    for rank in range(world):
        stream = TrainStream(manifest, trial, rank=rank, world=world, micro_batch=micro)
        for number, batch in enumerate(stream.epoch(epoch, start)):
            for clip, target, name, position in zip(
                batch.clips, batch.targets, batch.ids, batch.positions, strict=True
            ):
                key = (start + number // per_step, position)
                assert key not in found
                found[key] = (name, int(target), clip)
    return found


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        first[k][:2] == second[k][:2] and torch.equal(first[k][2], second[k][2]) for k in first
    )


def test_an_epoch_is_the_same_for_any_world_and_micro_batch(demo_set: Manifest, trial: TrialConfig) -> None:
    reference = collect(demo_set, trial, world=1, micro=16)
    assert len(reference) == 100 // 16 * 16
    assert len({name for name, *_ in reference.values()}) == len(reference)
    assert same(reference, collect(demo_set, trial, world=1, micro=4))
    assert same(reference, collect(demo_set, trial, world=2, micro=2))


def test_an_epoch_can_be_entered_in_the_middle(demo_set: Manifest, trial: TrialConfig) -> None:
    whole, rest = collect(demo_set, trial, 1, 8, epoch=2), collect(demo_set, trial, 1, 8, epoch=2, start=4)
    assert same({k: v for k, v in whole.items() if k[0] >= 4}, rest)


def test_epochs_and_seeds_differ(demo_set: Manifest, trial: TrialConfig) -> None:
    first = [v[0] for v in collect(demo_set, trial, 1, 16, epoch=0).values()]
    assert first != [v[0] for v in collect(demo_set, trial, 1, 16, epoch=1).values()]
    other = trial.model_copy(update={"seed": 1})
    assert first != [v[0] for v in collect(demo_set, other, 1, 16, epoch=0).values()]


def test_clips_are_normalised_as_configured(demo_set: Manifest, trial: TrialConfig) -> None:
    data = trial.data.model_copy(update={"mean": [0.0] * 3, "std": [1.0] * 3})
    plain = next(
        iter(TrainStream(demo_set, trial.model_copy(update={"data": data}), rank=0, world=1, micro_batch=16).epoch(0))
    )
    batch = next(iter(TrainStream(demo_set, trial, rank=0, world=1, micro_batch=16).epoch(0)))
    assert batch.clips.shape == (16, 3, 16, 64, 64)
    assert batch.clips.dtype == torch.float32
    assert plain.clips.min() >= 0
    assert plain.clips.max() <= 1
    mean, std = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in (trial.data.mean, trial.data.std))
    torch.testing.assert_close(batch.clips, (plain.clips - mean) / std, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("world", [1, 3])
def test_evaluation_yields_every_view_once(demo_set: Manifest, trial: TrialConfig, world: int) -> None:
    data = trial.data.model_copy(update={"views": ViewsConfig(clips=2, crops=3)})
    config = trial.model_copy(update={"data": data})
    seen = []
    for rank in range(world):
        stream = EvalStream(demo_set, config, "val", rank=rank, world=world, micro_batch=4)
        assert stream.expected == 50
        for batch in stream:
            assert len(batch.clips) <= 4
            seen += list(zip(batch.ids, batch.clip, batch.crop, strict=True))
    assert len(seen) == len(set(seen)) == 50 * 6


def test_evaluation_is_deterministic(demo_set: Manifest, trial: TrialConfig) -> None:
    def once() -> torch.Tensor:
        return torch.cat([b.clips for b in EvalStream(demo_set, trial, "val", rank=0, world=1, micro_batch=50)])

    assert torch.equal(once(), once())


@pytest.fixture
def broken_set(tmp_path: Path) -> Manifest:
    """A demo set with two unreadable training clips and one unreadable validation clip."""
    manifest = open_manifest(DataConfig(demo=DemoConfig(train_clips=20, val_clips=10, size=64)), tmp_path)
    broken = {"train/00003", "train/00004", "val/00002"}
    for name in broken:
        (manifest.directory / f"{name}.mp4").write_bytes(b"no video")
    known = hashlib.sha256(b"no video").hexdigest()
    videos = [replace(each, sha256=known) if each.id in broken else each for each in manifest.videos]
    return replace(manifest, videos=tuple(videos))


def test_unreadable_videos_are_skipped_and_counted(broken_set: Manifest, trial: TrialConfig) -> None:
    config = trial.model_copy(update={"recipe": trial.recipe.model_copy(update={"batch_size": 20})})
    stream = TrainStream(broken_set, config, rank=0, world=1, micro_batch=10)
    batches = list(stream.epoch(0))
    ids = [name for batch in batches for name in batch.ids]
    assert sum(batch.failed for batch in batches) == 2
    assert set(stream.failures) == {"train/00003", "train/00004"}
    assert len(ids) == len(set(ids)) == 18  # nothing stands in for them
    assert stream.failures["train/00003"].startswith("not a video that can be read")


def test_a_micro_batch_of_nothing_trains_nothing(broken_set: Manifest, trial: TrialConfig) -> None:
    stream = TrainStream(broken_set, trial, rank=0, world=1, micro_batch=1)
    placeholders = [batch for epoch in range(3) for batch in stream.epoch(epoch) if batch.ids == [UNREADABLE]]
    assert placeholders
    logits = torch.randn(1, 10, requires_grad=True)
    torch.nn.functional.cross_entropy(logits, placeholders[0].targets).backward()
    assert torch.count_nonzero(logits.grad) == 0


def test_unreadable_videos_are_unanswered_in_evaluation(broken_set: Manifest, trial: TrialConfig) -> None:
    stream = EvalStream(broken_set, trial, "val", rank=0, world=1, micro_batch=4)
    ids = [name for batch in stream for name in batch.ids]
    assert stream.expected == 10
    assert len(ids) == 9
    assert list(stream.failures) == ["val/00002"]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_leaving_an_epoch_early_ends_the_threads(demo_set: Manifest, trial: TrialConfig, workers: int) -> None:
    config = trial.model_copy(update={"run": RunConfig(workers=workers)})
    iterator = TrainStream(demo_set, config, rank=0, world=1, micro_batch=8).epoch(0)
    next(iterator)
    iterator.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("far-data")]


def test_a_batch_that_does_not_divide_is_refused(demo_set: Manifest, trial: TrialConfig) -> None:
    with pytest.raises(ConfigError, match=r"run\.micro_batch"):
        TrainStream(demo_set, trial, rank=0, world=3, micro_batch=2)


# -- augmentation ------------------------------------------------------------------------------------------------

EVERYTHING = AugmentConfig(randaug_ops=2, crop=True, erasing=0.5, mixup=0.8, cutmix=1.0, mix_group=4, repeats=2)


def augmented(trial: TrialConfig, **changes: object) -> TrialConfig:
    augment = EVERYTHING.model_copy(update=changes)
    recipe = trial.recipe.model_copy(update={"augment": augment, "label_smoothing": 0.1})
    data = trial.data.model_copy(update={"flip": True})
    return trial.model_copy(update={"recipe": recipe, "data": data})


def first_step(manifest: Manifest, trial: TrialConfig, world: int, micro: int) -> dict:
    """Clips and targets of the first step by id."""
    found = {}
    for rank in range(world):
        stream = TrainStream(manifest, trial, rank=rank, world=world, micro_batch=micro)
        for batch, _ in zip(stream.epoch(3), range(16 // (world * micro)), strict=False):
            found |= {
                name: (clip, target) for name, clip, target in zip(batch.ids, batch.clips, batch.targets, strict=True)
            }
    return found


@pytest.mark.parametrize(("world", "micro"), [(1, 4), (2, 2), (1, 1), (2, 1)])
def test_augmentation_and_mixing_do_not_depend_on_the_division(
    demo_set: Manifest, trial: TrialConfig, world: int, micro: int
) -> None:
    config = augmented(trial)
    reference, other = first_step(demo_set, config, 1, 16), first_step(demo_set, config, world, micro)
    assert reference.keys() == other.keys()
    assert len(reference) == 32
    for name, (clip, target) in reference.items():
        assert torch.equal(clip, other[name][0])
        torch.testing.assert_close(target, other[name][1])


def test_rows_that_share_a_seed_share_their_draws(demo_set: Manifest, trial: TrialConfig) -> None:
    other = trial.model.model_copy(update={"attention": {"global": 2, "sparse-dense": 1}})
    config = augmented(trial)
    first = first_step(demo_set, config, 1, 16)
    second = first_step(demo_set, config.model_copy(update={"model": other}), 1, 16)
    assert all(torch.equal(first[name][0], second[name][0]) for name in first)


@pytest.mark.parametrize(
    "changes",
    [
        {"randaug_ops": 0},  # against operations that are drawn, but none of them applied
        {"crop": False},  # against a crop that is always the whole frame
        {"erasing": 0.0, "randaug_ops": 5},  # the last of the steps: all else stays
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_rows_that_differ_in_one_step_share_the_draws_of_the_others(
    demo_set: Manifest, trial: TrialConfig, changes: dict[str, object]
) -> None:
    still = {"randaug_probability": 0.0, "crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0]}
    first = first_step(demo_set, augmented(trial, **still), 1, 16)
    second = first_step(demo_set, augmented(trial, **still, **changes), 1, 16)
    same = [torch.equal(clip, second[name][0]) for name, (clip, _) in first.items()]
    assert first.keys() == second.keys()
    if "erasing" not in changes:
        assert all(same)
        return
    assert 0.05 < np.mean(same) < 0.6  # mixed with one another: both of a pair unerased
    kept = [(clip == second[name][0]).float().mean() for name, (clip, _) in first.items()]
    assert min(kept) > 0.2  # what lies outside of both boxes


def test_repeated_augmentation_gives_other_clips_of_the_same_video(demo_set: Manifest, trial: TrialConfig) -> None:
    stream = TrainStream(demo_set, augmented(trial, mixup=0.0, cutmix=0.0), rank=0, world=1, micro_batch=8)
    batch = next(stream.epoch(0))
    assert stream.steps_per_epoch == 6  # videos count, not their copies
    assert batch.ids[1] == f"{batch.ids[0]}#1"
    assert batch.positions[:4] == [0, 0, 1, 1]
    assert batch.targets.tolist()[:2] == [batch.targets[0]] * 2
    assert not torch.equal(batch.clips[0], batch.clips[1])


class Counting(DecodedFrames):
    """Notes which frames are asked for."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.asked: list[np.ndarray] = []

    def read(self, video, pick):  # type: ignore[no-untyped-def]
        def noted(count: int) -> np.ndarray:
            self.asked.append(pick(count))
            return self.asked[-1]

        return super().read(video, noted)


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_copies_share_their_frames_or_draw_their_own(demo_set: Manifest, trial: TrialConfig, repeats: int) -> None:
    """With nothing else that differs between copies, shared frames make equal clips, as in the ancestors' code."""
    plain = {"randaug_ops": 0, "crop": False, "erasing": 0.0, "mixup": 0.0, "cutmix": 0.0, "repeats": repeats}
    clips, frames = {}, {}
    for whose in ("shared", "own"):
        config = augmented(trial, **plain, repeat_frames=whose)
        config = config.model_copy(update={"data": config.data.model_copy(update={"flip": False})})
        source = Counting(demo_set)
        batches = TrainStream(demo_set, config, rank=0, world=1, micro_batch=4, frames=source).epoch(0)
        clips[whose] = next(batches).clips.unflatten(0, (4, repeats))
        batches.close()  # type: ignore[attr-defined]
        frames[whose] = {len(each) for each in source.asked}
    assert (clips["shared"] == clips["shared"][:, :1]).all()
    assert torch.equal(clips["shared"][:, 0], clips["own"][:, 0])  # the first copy is the same either way
    assert all(not torch.equal(clips["own"][:, 0], clips["own"][:, copy]) for copy in range(1, repeats))
    assert frames == {"shared": {16}, "own": {16 * repeats}}  # nothing is decoded twice


def test_all_of_a_clips_pixels_are_made_on_the_device(demo_set: Manifest, trial: TrialConfig) -> None:
    # a device without values: whatever came back to the CPU, or was made there, would be an error
    config = augmented(trial, randaug_ops=0, erasing=1.0)
    batch = next(TrainStream(demo_set, config, rank=0, world=1, micro_batch=4, device="meta").epoch(0))
    assert (batch.clips.device.type, batch.clips.dtype) == ("meta", torch.float32)
    assert batch.clips.shape == (8, 3, 16, 64, 64)
    assert batch.targets.device.type == "meta"
    view = next(iter(EvalStream(demo_set, config, "val", rank=0, world=1, micro_batch=4, device="meta")))
    assert (view.clips.device.type, view.clips.shape) == ("meta", (4, 3, 16, 64, 64))


@pytest.mark.parametrize("whose", ["shared", "own"])
def test_repeated_augmentation_decodes_once(demo_set: Manifest, trial: TrialConfig, whose: str) -> None:
    source, config = Counting(demo_set), augmented(trial, repeat_frames=whose)
    batches = TrainStream(demo_set, config, rank=0, world=1, micro_batch=4, frames=source).epoch(0)
    assert next(batches).clips.shape[0] == 8
    batches.close()  # type: ignore[attr-defined]
    assert len(source.asked) <= 4 * 4  # what was prefetched besides


def test_mixed_targets_sum_to_one_and_name_two_classes(demo_set: Manifest, trial: TrialConfig) -> None:
    batch = next(TrainStream(demo_set, augmented(trial), rank=0, world=1, micro_batch=16).epoch(0))
    assert batch.targets.shape == (32, 10)
    torch.testing.assert_close(batch.targets.sum(1), torch.ones(32))
    assert ((batch.targets > 0.011).sum(1) <= 2).all()


def test_the_neighbour_of_an_unreadable_video_stays_unmixed(broken_set: Manifest, trial: TrialConfig) -> None:
    recipe = trial.recipe.model_copy(update={"batch_size": 20})
    config = augmented(trial.model_copy(update={"recipe": recipe}), repeats=1)
    config = config.model_copy(update={"recipe": config.recipe.model_copy(update={"batch_size": 20})})
    batch = next(TrainStream(broken_set, config, rank=0, world=1, micro_batch=20).epoch(0))
    assert batch.failed == 2
    lonely = [n for n, p in enumerate(batch.positions) if p ^ 1 not in batch.positions]
    assert len(lonely) in (0, 2)
    assert all(float(batch.targets[n].max()) == pytest.approx(0.91) for n in lonely)

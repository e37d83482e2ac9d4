from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from far.architecture.sampling import SAMPLERS, MvdSegments
from far.config.trial import AugmentConfig, DataConfig, DemoConfig, TrialConfig
from far.data import Manifest, open_manifest
from far.data.decoding.cache import DecodedFrames
from far.data.loader import EvalStream, TrainStream
from far.data.sharing import clips as module
from far.data.sharing import leftovers
from far.data.sharing import passes as passes_module
from far.data.sharing.passes import Passes, open_passes
from far.source import source_of

AUGMENTED = AugmentConfig(
    repeats=2, randaug_ops=2, crop=True, erasing=0.5, mixup=0.8, cutmix=1.0, repeat_frames="shared"
)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return open_manifest(
        DataConfig(demo=DemoConfig(train_clips=16, val_clips=6, size=32)), tmp_path_factory.mktemp("few")
    )


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes_module, "places", lambda: [tmp_path])
    monkeypatch.setattr(module, "CHEAP", 0.0)


def opened(manifest: Manifest, trial: TrialConfig, key: str, **how: object) -> Passes:
    passes = open_passes(
        manifest,
        trial,
        trial=key,
        code=source_of(trial).parts,
        versions=["a 1"],
        companions=2,
        **how,  # type: ignore
    )
    assert passes is not None
    return passes


def batches(manifest: Manifest, trial: TrialConfig, passes: Passes | None, source: DecodedFrames) -> list[torch.Tensor]:
    """All that a trial sees in two epochs with their validation, and in its test."""
    rank: dict = {"rank": 0, "world": 1, "frames": source, "passes": passes}
    seen = []
    for epoch in range(2):
        for batch in TrainStream(manifest, trial, micro_batch=4, **rank).epoch(epoch):
            seen += [batch.clips, batch.targets]
        for is_test in (False, True) if epoch else (False,):
            stream = EvalStream(manifest, trial, micro_batch=4, after=(epoch + 1, is_test), **rank)
            seen += [batch.clips for batch in stream]
    return seen


def together(works: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)


@pytest.mark.parametrize(
    ("workers", "others"),
    [
        (2, {}),
        (0, {"augment": AUGMENTED.model_copy(update={"repeat_frames": "own"})}),
        (2, {"augment": AUGMENTED.model_copy(update={"repeats": 1, "mixup": 0.0, "cutmix": 0.0})}),
    ],
    ids=["alike", "other clips", "other clips of the same frames"],
)
def test_batches_are_the_same_bit_for_bit_with_and_without_sharing(
    few: Manifest, trial: TrialConfig, workers: int, others: dict[str, AugmentConfig]
) -> None:
    base = trial.model_copy(
        update={
            "recipe": trial.recipe.model_copy(update={"batch_size": 8}),
            "run": trial.run.model_copy(update={"workers": workers}),
        }
    )
    other = base.model_copy(update={"recipe": base.recipe.model_copy(update=others)})
    trials = [base, base, other]
    alone = [batches(few, each, None, DecodedFrames(few)) for each in trials]
    sources = [DecodedFrames(few) for _ in trials]
    opens = [opened(few, each, f"t{number}") for number, each in enumerate(trials)]
    seen: dict[int, list[torch.Tensor]] = {}

    def work(number: int) -> None:
        seen[number] = batches(few, trials[number], opens[number], sources[number])
        opens[number].close()

    together([lambda number=number: work(number) for number in range(3)])  # type: ignore[misc]
    for number, whole in enumerate(alone):
        assert len(seen[number]) == len(whole) > 12
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(seen[number], whole, strict=True))
    distinct = 2 * (16 + 6) + 6
    decoded = sum(source.decoded for source in sources)
    assert decoded == distinct + (2 * 16 if other.recipe.augment.repeats > 1 else 0)


def test_on_another_device_frames_are_shared(few: Manifest, trial: TrialConfig) -> None:
    sources, opens = [DecodedFrames(few) for _ in range(2)], [opened(few, trial, f"t{number}") for number in range(2)]
    config = trial.model_copy(update={"recipe": trial.recipe.model_copy(update={"batch_size": 8})})
    shapes: list[tuple[int, ...]] = []

    def work(number: int) -> None:
        rank: dict = {"rank": 0, "world": 1, "frames": sources[number], "passes": opens[number], "device": "meta"}
        shapes.extend(batch.clips.shape for batch in TrainStream(few, config, micro_batch=8, **rank).epoch(0))

    together([lambda number=number: work(number) for number in range(2)])  # type: ignore[misc]
    assert shapes == [(8, 3, 16, 64, 64)] * 4
    assert sum(source.decoded for source in sources) == 16
    for passes in opens:
        passes.close()


def test_nothing_is_shared_where_it_is_switched_off(few: Manifest, trial: TrialConfig, tmp_path: Path) -> None:
    off = trial.model_copy(update={"data": trial.data.model_copy(update={"share": "off"})})
    assert open_passes(few, off, trial="t", code={}, versions=[]) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        ({"recipe": {"augment": AugmentConfig(mixup=0.8)}}, (True, True)),
        ({"recipe": {"augment": AugmentConfig(erasing=0.5)}}, (True, True)),
        ({"recipe": {"lr": 1.0, "batch_size": 8}}, (True, True)),
        ({"recipe": {"augment": AugmentConfig(crop=True)}}, (True, False)),
        ({"recipe": {"augment": AugmentConfig(randaug_ops=2)}}, (True, False)),
        ({"data": {"flip": True}}, (True, False)),
        ({"seed": 1}, (False, False)),
        ({"data": {"sampling": "dense"}}, (False, False)),
        ({"recipe": {"augment": AugmentConfig(repeats=2)}}, (False, False)),
        ({"recipe": {"augment": AugmentConfig(repeats=2, repeat_frames="shared")}}, (True, False)),
    ],
    ids=str,
)
def test_what_trials_have_in_common_is_told_by_what_decides_the_bytes(
    few: Manifest, trial: TrialConfig, change: dict, alike: tuple[bool, bool]
) -> None:
    other = trial.model_copy(
        update={
            name: getattr(trial, name).model_copy(update=value) if isinstance(value, dict) else value
            for name, value in change.items()
        }
    )
    first, second = (opened(few, each, key) for each, key in ((trial, "a"), (other, "b")))
    one, two = (each.of_training(of, 0)[0] for each, of in ((first, trial), (second, other)))
    assert (one.frames == two.frames, one.clips == two.clips) == alike
    first.close()
    second.close()


def test_other_code_or_another_library_shares_nothing(few: Manifest, trial: TrialConfig) -> None:
    groups = []
    for code, versions in (({}, ["a 1"]), ({"far.data.loader": "x"}, ["a 1"]), ({}, ["a 2"])):
        passes = open_passes(few, trial, trial="t", code=code, versions=versions)
        assert passes is not None
        groups.append(passes.of_training(trial, 0)[0].frames)
        passes.close()
    assert len(set(groups)) == 3


def test_views_that_other_code_resizes_are_others(few: Manifest, trial: TrialConfig) -> None:
    passes = [
        open_passes(few, trial, trial=each, code={"far.data.transforms.geometry": each}, versions=[]) for each in "ab"
    ]
    one, two = (each.of_validation(trial, 1, False)[0] for each in passes if each is not None)
    assert one.frames == two.frames and one.clips != two.clips
    for each in passes:
        assert each is not None
        each.close()


def test_a_sampler_of_ones_own_may_read_any_setting(few: Manifest, trial: TrialConfig) -> None:
    @dataclass(frozen=True)
    class OfViews(MvdSegments):
        views: Any = None

    SAMPLERS.register("of-views")(OfViews)
    try:
        groups = set()
        for clips in (1, 2):
            views = trial.data.views.model_copy(update={"clips": clips})
            data = trial.data.model_copy(update={"sampling": "of-views", "views": views})
            passes = opened(few, trial.model_copy(update={"data": data}), "t")
            groups.add(passes.of_training(trial.model_copy(update={"data": data}), 0)[0].frames)
            passes.close()
        assert len(groups) == 2
    finally:
        SAMPLERS.unregister("of-views")


def test_clips_that_go_while_a_trial_joins_are_no_trouble(few: Manifest, trial: TrialConfig, tmp_path: Path) -> None:
    first = opened(few, trial, "t")
    (first.sharing.window.directory / leftovers.CLIPS / "gone").symlink_to(tmp_path / "nowhere")  # listed, and gone
    opened(few, trial, "u").close()
    first.close()


def test_a_small_memory_is_said_and_used(
    few: Manifest, trial: TrialConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 60 << 20, "total": 64 << 20})
    monkeypatch.setattr(passes_module.shutil, "disk_usage", lambda _: usage)
    passes = opened(few, trial, "t")
    assert passes.sharing.window.size == 30 << 20
    assert "(64.0MiB) has no room for data.share_memory (1.0GiB): half of what is free" in caplog.text
    passes.close()


def test_memory_that_is_full_is_said_in_one_line_and_nothing_is_left(
    few: Manifest,
    trial: TrialConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    for name, what in (("disk_usage", (passes_module.shutil, lambda _: type("Usage", (), {"free": 0}))),
                       ("write", (passes_module.os, full))):  # fmt: skip
        caplog.clear()
        with monkeypatch.context() as patch:
            patch.setattr(what[0], name, what[1])
            assert open_passes(few, trial, trial="t", code={}, versions=[]) is None
        (line,) = caplog.messages
        assert "clips are not shared with other trials" in line
        assert "No space left on device" in line
        assert not list(tmp_path.iterdir())


def test_no_memory_at_all_is_said_and_nothing_shared(
    few: Manifest, trial: TrialConfig, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes_module, "places", lambda: [tmp_path / "nowhere"])
    assert open_passes(few, trial, trial="t", code={}, versions=[]) is None
    assert "clips are not shared with other trials" in caplog.text


def test_nothing_is_left(few: Manifest, trial: TrialConfig, tmp_path: Path) -> None:
    passes = opened(few, trial, "t")
    assert [path.name.startswith(leftovers.PREFIX) for path in tmp_path.iterdir()] == [True]
    passes.close()
    passes.close()
    assert not list(tmp_path.iterdir())


def test_a_view_is_read_only_by_who_asked_for_it(few: Manifest, trial: TrialConfig) -> None:
    """Frames may come as a map of memory that others read too: what one trial writes there stays with it."""
    passes = opened(few, trial, "t")
    clip = np.zeros((2, 2), np.uint8)
    assert passes.sharing.window.publish("x-000000000000", clip, [passes.sharing.window.me], 0)
    taken = passes.sharing.window.take("x-000000000000")
    assert taken is not None
    torch.from_numpy(taken)[:] = 7
    again = passes.sharing.window.take("x-000000000000")
    assert again is not None
    assert not again.any()
    passes.close()

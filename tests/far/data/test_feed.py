"""The loader on a GPU, without one: tensors without values count who would wait for the device; threads, what is alive.

Meta tensors stand in for a GPU's: whatever looks at a value fails on them, and copies to and from them can be counted.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from far.config import TrialConfig, resolve
from far.config.layers import Layer
from far.data import feed
from far.data.loader import EvalStream, TrainStream
from far.data.prefetch import batches_ahead, loader_bytes, prefetched
from far.data.sources.manifest import Manifest, Video
from far.data.transforms import randaugment

GPU = torch.device("meta")


class Waits(TorchDispatchMode):
    """Counts copies that have the host wait for the device: all but those from pinned memory that say so."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            target = args[0].device if name == "copy_" else torch.device(kwargs.get("device") or source.device)
            without_wait = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
            crosses = {source.device.type, target.type} == {"cpu", "meta"} and source.ndim
            if crosses and not (without_wait and getattr(source, "is_in_pinned_memory", False)):
                self.found[f"{name} {source.device.type}->{target.type}"] += 1
        return func(*args, **kwargs)


class Made(TorchFunctionMode):
    """Counts tensors that are made on a device from numbers of the host, which are copied there with a wait."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = (kwargs or {}).get("device")
        if func in (torch.tensor, torch.as_tensor) and device is not None and torch.device(device).type == "meta":
            self.waits.found[func.__name__] += 1
        return func(*args, **(kwargs or {}))


class Stream:
    """A stream or an event that does nothing."""

    def __init__(self, *args: object) -> None:
        self.waited: list[object] = []

    def wait_event(self, event: object) -> None:
        self.waited.append(event)

    def record(self, stream: object) -> None:
        pass


@pytest.fixture
def main_stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """CUDA's streams and pinned memory on a machine without them; the stream that trains."""
    main = Stream()

    def pinned(tensor: torch.Tensor) -> torch.Tensor:
        copy = tensor.clone()
        copy.is_in_pinned_memory = True  # type: ignore[attr-defined]
        return copy

    monkeypatch.setattr(feed, "STREAMED", {"meta"})
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: main)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    return main


class Frames:
    """Thirty grey frames of every video, decoded at once."""

    def read(self, video: Video, pick: Any) -> np.ndarray:
        return np.full((len(pick(30)), 48, 64, 3), 99, np.uint8)

    def decoders(self) -> dict[str, int]:
        return {}


@pytest.fixture
def manifest(tmp_path: Any) -> Manifest:
    videos = tuple(
        Video(f"{s}/{n}", s, f"{s}/{n}", n % 4, 30, 8.0, 64, 48, "") for s in ("train", "val") for n in range(64)
    )
    return Manifest(videos, ("a", "b", "c", "d"), tmp_path, "tests", tmp_path)


def config_of(**changes: Any) -> TrialConfig:
    augment = {"randaug_ops": 3, "randaug_probability": 1.0, "crop": True, "erasing": 1.0, "repeats": 2}
    settings = {
        "model": {"backbone": "tiny", "clip": [8, 32, 32], "tubelet": [2, 8, 8], "drop_path": 0.1},
        "data": {"classes": 4, "flip": True, "views": {"clips": 2, "crops": 3}},
        "recipe": {"batch_size": 16, "label_smoothing": 0.1, "augment": augment | {"mixup": 0.8, "cutmix": 1.0}},
        "run": {"workers": 0, "micro_batch": 8},
    }
    for section, values in changes.items():
        settings[section] |= values
    return resolve([Layer(settings, lambda keys: "tests")])


def test_nobody_waits_for_the_device(manifest: Manifest, main_stream: Stream) -> None:
    """Every operation of RandAugment, crops, erasing, mixing and targets; then the test views."""
    config, waits = config_of(recipe={"batch_size": 4}, run={"micro_batch": 2}), Waits()
    place: dict[str, Any] = {"rank": 0, "world": 1, "micro_batch": 2, "device": GPU, "frames": Frames()}
    with Made(waits), waits:
        stream = TrainStream(manifest, config, **place, dtype=torch.bfloat16)
        batches = [batch for batch, _ in zip(stream.epoch(0), range(2), strict=False)]
        assert waits.found == {}
        for operation in randaugment.OPERATIONS.values():
            operation(torch.empty(3, 2, 8, 8, dtype=torch.uint8, device=GPU), 0.5)
        assert waits.found == {}
        for batch in batches:
            assert (batch.clips.device, batch.clips.dtype, batch.clips.shape) == (
                GPU,
                torch.bfloat16,
                (4, 3, 8, 32, 32),
            )
            assert (batch.targets.device, batch.targets.shape) == (GPU, (4, 4))
        assert len(main_stream.waited) >= 2  # the stream that trains waits for each batch
        view = next(iter(EvalStream(manifest, config, "val", **place, dtype=torch.bfloat16)))
        assert (view.clips.device, view.clips.dtype, len(view.ids)) == (GPU, torch.bfloat16, 2)
        assert waits.found == {}
        torch.tensor([1.0], device=GPU)
        torch.ones(3).to(GPU)
        torch.empty(3, device=GPU).copy_(torch.ones(3), non_blocking=True)
    assert waits.found == {"tensor": 1, "_to_copy cpu->meta": 1, "copy_ cpu->meta": 1}  # it would have been seen


def test_as_many_batches_are_alive_as_the_estimate_counts(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads there are, and however slowly the network takes the batches."""
    config = config_of(run={"workers": 6}, recipe={"batch_size": 16})
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0
    join = TrainStream._batch_of

    def noted(self: TrainStream, *args: Any) -> Any:
        nonlocal most
        batch = join(self, *args)
        alive.add(batch.clips)
        most = max(most, len(alive))
        return batch

    monkeypatch.setattr(TrainStream, "_batch_of", noted)
    stream = TrainStream(manifest, config, rank=0, world=1, micro_batch=16, frames=Frames())  # type: ignore[arg-type]
    for _ in stream.epoch(0):
        time.sleep(0.05)
    assert batches_ahead(6, 16) == 2
    assert 2 <= most <= 3 + 1  # two ahead, the one in hand, and the one before it until it is let go


def test_many_threads_share_the_work_of_few_results() -> None:
    together = threading.Barrier(4, timeout=20)
    made = prefetched(range(2), lambda item: [together.wait] * 4, lambda item, read: (item, len(read)), workers=4)
    assert list(made) == [(0, 4), (1, 4)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_is_raised_at_its_place(workers: int) -> None:
    def part(item: int) -> int:
        if item == 2:
            raise ValueError("the third")
        return item

    def results() -> Iterator[int]:
        yield from prefetched(range(5), lambda item: [lambda: part(item)], lambda item, read: read[0], workers=workers)

    seen = []
    with pytest.raises(ValueError, match="the third"):
        for each in results():
            seen.append(each)
    assert seen == [0, 1]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("far-data")]


def test_the_loaders_bytes_grow_with_what_it_keeps() -> None:
    paper = config_of(model={"clip": [16, 224, 224], "tubelet": [2, 16, 16]}, run={"workers": 8})
    batch = 32 * 3 * 16 * 224 * 224
    assert 2 * 2 * batch < loader_bytes(paper, 16, 2) < 2 * 2 * batch + 4 * batch + 2**30
    assert loader_bytes(paper, 16, 4) - loader_bytes(paper, 16, 2) == 2 * 2 * batch
    one = config_of(model={"clip": [16, 224, 224], "tubelet": [2, 16, 16]}, run={"workers": 1})
    assert loader_bytes(one, 16, 2) < loader_bytes(paper, 16, 2)

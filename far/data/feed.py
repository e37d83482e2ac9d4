"""Tensors made on the training device by several threads at once, while the device is busy with something else.

On CUDA each thread has a stream of its own, memory goes there from pinned pages, and an event says when a result is
ready: no thread waits for the device, and the training stream waits for its next batch alone.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

STREAMED = {"cuda"}
"""Kinds of devices with streams, for which memory must be pinned."""


@dataclass(frozen=True)
class Made(Generic[T]):
    """A result whose tensors may still be in the making on their device."""

    value: T
    tensors: tuple[torch.Tensor, ...] = ()
    ready: torch.cuda.Event | None = None

    def take(self) -> T:
        """Have the stream of this thread wait for the result, and return it at once."""
        if self.ready is not None:
            import torch

            stream = torch.cuda.current_stream(self.tensors[0].device)
            stream.wait_event(self.ready)
            for tensor in self.tensors:
                tensor.record_stream(stream)  # its memory must not go back to the stream that made it before
        return self.value


def taken(made: Generator[Made[T], None, None]) -> Iterator[T]:
    """Yield results as their turn comes; closing this closes what makes them."""
    with contextlib.closing(made):
        for each in made:
            yield each.take()


class Feed:
    """What threads make tensors on a device with.

    Args:
        device: a CPU, a CUDA device, or one without values (``meta``).
    """

    def __init__(self, device: str | torch.device) -> None:
        import torch

        self.device = torch.device(device)
        self._mine = threading.local()

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy a CPU tensor to the device; on CUDA from pinned memory, without blocking."""
        return send(tensor, self.device)

    def make(self, work: Callable[[], T], tensors: Callable[[T], Iterable[torch.Tensor]]) -> Made[T]:
        """Do work in the stream of this thread.

        Args:
            work: makes the result.
            tensors: which tensors of the result lie on the device.
        """
        if self.device.type not in STREAMED:
            return Made(work())
        import torch

        if not hasattr(self._mine, "stream"):
            self._mine.stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(self._mine.stream):
            value = work()
            found = tuple(tensors(value))
            if not found:
                return Made(value)
            ready = torch.cuda.Event()
            ready.record(self._mine.stream)
        return Made(value, found, ready)


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to a device; on CUDA from pinned memory, without blocking."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type in STREAMED else tensor.to(device)

"""Running sums of an epoch's training: what its record needs, and what a checkpoint in its middle carries."""

from __future__ import annotations

from typing import Any

from far.collectives import gathered, mean_over_ranks, sum_over_ranks
from far.distributed import World


class Tally:
    """Sums over the micro-batches of one process since the epoch began, whoever began it.

    Args:
        world: this process's place.
        accumulation: micro-batches of an optimiser step.

    Attributes:
        step: optimiser steps done.
        failed: videos that could not be read.
        seconds: wall clock of the epoch in attempts before this one, writing included.
        writing: wall clock of checkpoints, of the ``seconds`` and since.
    """

    def __init__(self, world: World, accumulation: int) -> None:
        import torch

        self.world, self.accumulation = world, accumulation
        self.loss = torch.zeros((), device=world.device)
        self.step = self.failed = 0
        self.seconds = self.writing = 0.0

    def add(self, loss: Any, failed: int) -> None:
        """Count a micro-batch in."""
        self.loss += loss.detach()
        self.failed += failed

    def mean_loss(self, micro_batches: int) -> float:
        """Return this process's mean loss; it waits for the device."""
        return float(self.loss) / max(micro_batches, 1)

    def totals(self) -> tuple[float, int]:
        """Return the mean loss, and how many videos could not be read, over all processes."""
        mean = self.mean_loss(self.step * self.accumulation)
        return mean_over_ranks(mean, self.world), sum_over_ranks(self.failed, self.world)

    def state(self, seconds: float) -> dict[str, Any]:
        """Return plain data from which ``restore`` goes on; all processes call this together.

        Args:
            seconds: wall clock of the epoch so far.
        """
        return {
            "step": self.step,
            "accumulation": self.accumulation,
            "losses": gathered(float(self.loss), self.world),
            "failed": gathered(self.failed, self.world),
            "seconds": seconds,
            "writing": self.writing,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned; bit for bit if processes and micro-batch are the same."""
        self.step, self.seconds, self.writing = state["step"], state["seconds"], state["writing"]
        losses, failed = state["losses"], state["failed"]
        if (len(losses), state["accumulation"]) == (self.world.size, self.accumulation):
            self.loss.fill_(losses[self.world.rank])
            self.failed = failed[self.world.rank]
        else:  # as many sums of another length: what they had in common is the mean
            self.loss.fill_(sum(losses) / len(losses) / state["accumulation"] * self.accumulation)
            self.failed = sum(failed) if self.world.is_main else 0

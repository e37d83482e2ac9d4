"""Validation of the network in training: after each epoch on one view, at the end on all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from far.config.trial import TrialConfig
from far.data import Manifest
from far.data.decoding.cache import FrameSource
from far.data.loader import EvalStream
from far.data.sharing.passes import Passes
from far.distributed import World
from far.errors import DataError, DivergedError
from far.evaluate.predict import Evaluation, Predictions, predict, score_everywhere


class Validation:
    """Evaluates the network of a trial; all ranks make the same calls in the same order.

    Args:
        manifest: the data set.
        config: the trial.
        world: this process's place.
        micro_batch: clips at once.
        source: where frames come from.
        dtype: the floating type of the clips that the network takes.

    Attributes:
        failures: why videos could not be read by this process, by id.
        passes: what is shared with other trials.
        delivered: videos read so far.
    """

    def __init__(
        self,
        manifest: Manifest,
        config: TrialConfig,
        world: World,
        *,
        micro_batch: int,
        source: FrameSource,
        dtype: Any,
    ) -> None:
        self.manifest, self.config, self.world = manifest, config, world
        self.micro_batch, self.source, self.dtype = micro_batch, source, dtype
        self.failures: dict[str, str] = {}
        self.passes: Passes | None = None
        self.delivered = 0

    def on_one_view(self, engine: Any, epochs: int, on_batch: Callable[[int, int], None]) -> Evaluation:
        """Return how the network does on each video's central view; see ``on_all_views``."""
        one_view = {"views": self.config.data.views.model_copy(update={"clips": 1, "crops": 1})}
        data = self.config.data.model_copy(update=one_view)
        config = self.config.model_copy(update={"data": data})
        return self._evaluate(config, engine, epochs, on_batch, is_test=False)[1]

    def on_all_views(
        self, engine: Any, epochs: int, on_batch: Callable[[int, int], None]
    ) -> tuple[Predictions, Evaluation]:
        """Return every view's scores, of all processes on the first one, and the merged ones on all.

        Args:
            engine: the network.
            epochs: how many it was trained for.
            on_batch: called after each batch with this process's views so far, and all that it will see.

        Raises:
            DataError: no video can be read.
            DivergedError: the network's answers are not finite.
        """
        return self._evaluate(self.config, engine, epochs, on_batch, is_test=True)

    def _evaluate(
        self, config: TrialConfig, engine: Any, epochs: int, on_batch: Callable[[int, int], None], *, is_test: bool
    ) -> tuple[Predictions, Evaluation]:
        place: dict[str, Any] = {"rank": self.world.rank, "world": self.world.size, "micro_batch": self.micro_batch}
        form = {"device": self.world.device, "dtype": self.dtype}
        shared: dict[str, Any] = {"passes": self.passes, "after": (epochs, is_test)}
        stream = EvalStream(self.manifest, config, "val", **place, **form, **shared, frames=self.source)
        engine.eval()
        views = stream.expected * config.data.views.clips * config.data.views.crops // self.world.size
        predictions = predict(
            engine,
            stream,
            self.world,
            dtype=self.dtype,
            on_batch=lambda done: on_batch(done, max(views, done)),
            filler=self._filler(),
        )
        scores = score_everywhere(predictions, stream.expected, self.world)
        if not scores.evaluated:
            why = next(iter(stream.failures.values()), "nothing was decoded")
            raise DataError(f"none of the {stream.expected} validation videos could be read, e.g. {why}")
        if not math.isfinite(scores.loss):
            raise DivergedError(f"the network's answers are not finite after epoch {epochs}")
        self.failures |= stream.failures
        self.delivered += stream.delivered
        return predictions, scores

    def _filler(self) -> Any:
        """Return an empty clip where every forward pass needs all ranks, else None."""
        import torch

        together = self.world.size > 1 and self.config.recipe.zero_stage == 3
        return torch.zeros(1, 3, *self.config.model.clip) if together else None

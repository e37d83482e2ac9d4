"""The records of a trial: what one start of it was, what an epoch was, what the whole came to."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from far.architecture import costs
from far.config.trial import TrialConfig
from far.data import Manifest
from far.data.decoding.frame_index import VERSION as FRAME_INDEX
from far.data.decoding.indexes import misread
from far.evaluate.predict import Evaluation
from far.source import Source, source_of
from far.store.attempts import Attempt, Code
from far.store.environment import code_version, environment
from far.train.system_usage import sample

if TYPE_CHECKING:
    import torch

LISTED = 100
"""Unreadable videos that a result names; it counts all."""

Record = dict[str, Any]


@dataclass
class Account:
    """What is known of a trial when it begins, and what was counted since.

    Attributes:
        key: the trial's key.
        config: the resolved configuration.
        identity: the trial's scientific identity (``far.config.identity``).
        attempts: every start of the trial so far.
        code: the code of this start.
    """

    key: str
    config: TrialConfig
    identity: Record
    attempts: list[Attempt] = field(default_factory=list)
    code: Code = field(default_factory=code_version)

    @cached_property
    def source(self) -> Source:
        """The source that decides the numbers of this start."""
        return source_of(self.config)

    def begin_attempt(self, *, epoch: int, step: int, micro_batch: int) -> None:
        """Append this start to the attempts.

        Args:
            epoch: finished epochs that it goes on from.
            step: optimiser steps of the next one that it goes on from.
            micro_batch: videos at once on one device.
        """
        began: Attempt = {"started_at": utc_now(), "host": socket.gethostname(), "pid": os.getpid(), "code": self.code}
        began["source"] = self.source.digest
        self.attempts.append(
            {**began, "epoch": epoch, "step": step, "micro_batch": micro_batch, "frame_index": FRAME_INDEX}
        )

    def finished(
        self,
        scores: Evaluation,
        manifest: Manifest,
        *,
        device: torch.device,
        execution: Record,
        unreadable: dict[str, str],
        decoders: dict[str, int],
        **measured: Any,
    ) -> Record:
        """Return what ``result.json`` says of a trial that was trained to its end and tested.

        Args:
            scores: of the test.
            manifest: the data set.
            device: where it ran.
            execution: how it was run: processes, micro-batch, precision, ZeRO stage.
            unreadable: why videos could not be read, by id.
            decoders: how many videos each decoder reads.
            **measured: further entries, e.g. ``seconds`` and ``params``.
        """
        views = self.config.data.views
        return {
            "key": self.key,
            "state": "finished",
            "metrics": scores.metrics,
            "answers": scores.answers,
            "evaluated": scores.evaluated,
            "expected": scores.expected,
            "unreadable": dict(sorted(unreadable.items())[:LISTED]),
            "views": {"frames": self.config.model.clip[0], "clips": views.clips, "crops": views.crops},
            "flops": costs.flops(self.config.model, manifest.classes),
            **measured,
            "data_hash": manifest.content_hash,
            "decoders": decoders,
            "misread_before": len(misread(manifest.directory)[1]),
            "execution": execution,
            "code": self.code,
            "env": environment(device),
            "error": None,
            "finished_at": utc_now(),
        }


def epoch_record(epoch: int, scores: Evaluation, **measured: Any) -> Record:
    """Return a line of ``metrics.jsonl``.

    Args:
        epoch: from 0.
        scores: of the validation after it.
        **measured: of its training: ``train_loss``, ``lr``, ``failed_videos``, ``skipped_steps``, and seconds.
    """
    return {
        "epoch": epoch,
        "time": utc_now(),
        "train_loss": measured.pop("train_loss"),
        "lr": measured.pop("lr"),
        **{f"val_{name}": value for name, value in scores.metrics.items()},
        "evaluated": scores.evaluated,
        "expected": scores.expected,
        **measured,
        "system": sample(),
    }


def utc_now() -> str:
    """Return the time of day, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")

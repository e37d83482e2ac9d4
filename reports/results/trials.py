"""A trial as a report sees it: planned, and with its result once there is one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from far.store.paths import TrialPaths
from far.store.records import read_spec
from reports.results.state import State

STATE_OF = {
    "finished": State.FINISHED,
    "done": State.FINISHED,
    "failed": State.FAILED,
    "diverged": State.DIVERGED,
    "partial": State.PARTIAL,
    "running": State.RUNNING,
}
"""States of trials as the store names them; whatever is not here has no result yet."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a row: planned, and with its result once there is one."""

    row: str
    seed: int
    key: str
    state: State
    result: Mapping[str, Any] = field(default_factory=dict, repr=False)
    directory: Path | None = None
    identity: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The scientific identity that was planned (see ``far.config.identity``)."""
    link: str | None = None
    """Address of the trial's run in the tracking UI."""
    why: str = ""
    """Why a trial that has finished stands in no number: it is stale, invalid or not comparable."""
    accepted: str = ""
    """What has changed and was accepted as changing no number, and by whom."""

    def metric(self, name: str) -> float | None:
        """Return a metric of a finished trial (``top1`` and ``top5`` in percent), else None."""
        if self.state is not State.FINISHED:
            return None
        value = (self.result.get("metrics") or {}).get(name)
        return None if value is None else float(value)

    @property
    def flops(self) -> int | None:
        """Multiply-accumulates of one clip through the model that ran."""
        return self.result.get("flops")

    @property
    def params(self) -> int | None:
        """Parameters of the model that ran."""
        return self.result.get("params")

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration that ran; empty where it is not known."""
        return (read_spec(TrialPaths(self.directory)).get("config") if self.directory and self.result else None) or {}

    def setting(self, *path: str) -> Any:
        """Return a setting of the resolved configuration, e.g. ``setting("data", "views", "clips")``."""
        node: Any = self.config
        for part in path:
            node = node.get(part) if isinstance(node, Mapping) else None
        return node

    @cached_property
    def views(self) -> tuple[int, int, int] | None:
        """Frames a clip, clips and crops at test time."""
        own = self.result.get("views")
        if own:
            return own["frames"], own["clips"], own["crops"]
        clip, views = self.setting("model", "clip"), self.setting("data", "views")
        try:  # of results that do not say it, whose configuration may be anything
            return int(clip[0]), int(views["clips"]), int(views["crops"])
        except (KeyError, TypeError, ValueError):
            return None


def name_trials(trials: Iterable[TrialRecord]) -> str:
    """Name trials, the seeds of a row together: ``1:1 seed 0, 2:1 seeds 0–2, 5``."""
    seeds: dict[str, list[int]] = {}
    for trial in trials:
        seeds.setdefault(trial.row, []).append(trial.seed)
    return ", ".join(f"{row} {name_seeds(own)}" for row, own in seeds.items())


def name_seeds(seeds: Iterable[int]) -> str:
    """Name seeds, from three on in a run by its ends: ``seed 3``, ``seeds 0, 1`` or ``seeds 0–39``."""
    ordered = sorted(set(seeds))
    parts: list[str] = []
    for _, run in itertools.groupby(enumerate(ordered), key=lambda each: each[1] - each[0]):
        ends = [seed for _, seed in run]
        parts += map(str, ends) if len(ends) < 3 else [f"{ends[0]}–{ends[-1]}"]
    return f"seed{'s' if len(ordered) > 1 else ''} {', '.join(parts)}"

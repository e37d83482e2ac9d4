"""A trial that is killed every two epochs' time trains hardly anything twice, and its records say how much."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from far.config import TrialConfig
from far.distributed import join_world
from far.store.atomic import read_json, write_json
from far.train import heartbeat
from far.train.trial import TrialRun
from orchestrator.chaos import lost_work
from orchestrator.chaos.lost_work import epochs_of
from orchestrator.executors.base import Job
from orchestrator.executors.trial_runner import TrialRunner, Watcher
from orchestrator.store.store import Store
from orchestrator.study.schema import RetryConfig

pytestmark = pytest.mark.slow  # importing DeepSpeed alone takes seconds


class Killed(BaseException):
    """Stands for kill -9."""


class Killer(Watcher):
    """Kills a trial after so many micro-batches, each time that it is started."""

    def __init__(self, after: int) -> None:
        self.after, self.trained = after, 0

    def built(self, run: TrialRun) -> None:
        batches, left = run.stream.epoch, iter(range(self.after))

        def counted(epoch: int, start_step: int = 0) -> Iterator[Any]:
            for batch in batches(epoch, start_step):
                if next(left, None) is None:
                    raise Killed
                self.trained += 1
                yield batch

        run.stream.epoch = counted  # type: ignore[method-assign]


def test_a_kill_every_two_epochs_costs_next_to_nothing(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.0)  # epochs are shorter than it
    monkeypatch.setattr(lost_work, "INTERVAL", 0.0)
    recipe = tiny_config.recipe.model_copy(update={"batch_size": 4, "epochs": 5})
    often = tiny_config.run.model_copy(update={"micro_batch": 2, "checkpoint_minutes": 1e-9})
    config = tiny_config.model_copy(update={"recipe": recipe, "run": often})
    store = Store(tmp_path / "runs")
    paths = store.paths("trial")
    spec = {"key": "trial", "identity": {}, "config": config.model_dump(mode="json"), "attempts": [], "before": 0}
    write_json(paths.trial, spec)
    job = Job(paths.directory, tiny_data, 1, 1, retry=RetryConfig(lost=1))  # in a row: it comes farther each time
    killer = Killer(after=41)  # two epochs and the first half of a step
    host, kills = TrialRunner(join_world(), capture=False, watcher=killer), 0
    ended = False
    while not ended:
        host.start(job)
        try:
            while not host.step():
                pass
            ended = True
        except Killed:
            kills += 1
            host.close()
    assert (kills, read_json(paths.result)["state"]) == (2, "finished")
    epochs = epochs_of(store, store.keys())
    assert (epochs.needed, epochs.trained) == (5, pytest.approx(killer.trained / 20, abs=0.001))
    assert 1 < epochs.ratio <= 1.05

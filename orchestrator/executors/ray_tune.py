"""Trials on Ray Tune: a class Trainable that is rank 0 of its trial and owns the other ranks.

``setup`` starts the processes of a slot, ``reset_config`` hands them the next trial (0.3 s instead of a new start),
``step`` is an epoch, ``cleanup`` reaps. Tune's own checkpoints and restore are not used: the store knows what is done,
and a trial resumes from its own checkpoint wherever it is started again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from far.errors import FarError
from orchestrator.executors.base import Job
from orchestrator.executors.host import TrialHost, write_failure


class Rank:
    """A further process of a trial; it does what rank 0 tells it to."""

    def __init__(self, rank: int, size: int, rendezvous: tuple[str, int], cpus: int) -> None:
        self._place = (rank, size, rendezvous, cpus)
        self._host: TrialHost | None = None

    def begin(self, directory: Path, data_root: Path) -> None:
        """Build or resume a trial; the first call joins the process group."""
        if self._host is None:
            from far.train.world import join_world

            rank, size, rendezvous, cpus = self._place
            self._host = TrialHost(join_world(rank, size, rendezvous=rendezvous, cpus=cpus))
        self._host.begin(directory, data_root)

    def advance(self) -> bool:
        """Take part in an epoch or in the finish."""
        assert self._host is not None
        return self._host.advance()


class TrialTrainable(tune.Trainable):
    """One slot of the machine: runs one trial after another in warm processes."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start the slot's processes."""
        from far.train.world import Rendezvous, join_world

        config = config["trial"]
        size, cpus = config["devices"], config["cpus"]
        rendezvous = Rendezvous(size) if size > 1 else None
        self._peers: list[Any] = []
        group: Any = get_current_placement_group()
        for rank in range(1, size):
            strategy = PlacementGroupSchedulingStrategy(
                placement_group=group, placement_group_bundle_index=rank
            )
            actor: Any = ray.remote(Rank).options(
                num_cpus=cpus, num_gpus=config["gpus"], scheduling_strategy=strategy, max_concurrency=1
            )
            assert rendezvous is not None
            self._peers.append(actor.remote(rank, size, rendezvous.address, cpus))
        self._begin_peers(config)
        self._host = TrialHost(join_world(0, size, rendezvous=rendezvous, cpus=cpus))
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Hand the warm processes the next trial."""
        self._begin_peers(new_config["trial"])
        self._begin(new_config["trial"])
        return True

    def step(self) -> dict[str, Any]:
        """Run an epoch. A failure that a retry cannot mend becomes the trial's result."""
        if self._failed:
            return {"done": True}
        pending = [peer.advance.remote() for peer in self._peers]
        try:
            with _watch(pending):
                done = self._host.advance()
            ray.get(pending)
        except Exception as error:
            self._fail_or_retry(error)
            done = True
        return {"done": done}

    def cleanup(self) -> None:
        """Reap the slot's processes."""
        self._host.close()
        for peer in self._peers:
            ray.kill(peer)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: the trial's own checkpoint is in the store."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: ``setup`` has resumed the trial from the store."""

    def _begin_peers(self, config: dict[str, Any]) -> None:
        self._beginning = [
            peer.begin.remote(Path(config["directory"]), Path(config["data_root"])) for peer in self._peers
        ]

    def _begin(self, config: dict[str, Any]) -> None:
        self._directory, self._failed = Path(config["directory"]), False
        try:
            with _watch(self._beginning):
                self._host.begin(self._directory, Path(config["data_root"]))
            ray.get(self._beginning)
        except Exception as error:
            self._fail_or_retry(error)

    def _fail_or_retry(self, error: Exception) -> None:
        """Make the error the trial's result, unless it may come from a lost peer: then Tune starts it again."""
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if self._peers and not isinstance(cause, FarError):
            raise error
        write_failure(self._directory, cause)
        self._failed = True


class _watch:  # noqa: N801
    """While rank 0 computes, end its process if a peer dies: a collective would wait for the dead one forever.

    Tune then sees the actor die, gives the resources back, and starts the trial again from its checkpoint.
    """

    def __init__(self, pending: list[Any]) -> None:
        self._pending = list(pending)
        self._over = threading.Event()

    def __enter__(self) -> None:
        if self._pending:
            threading.Thread(target=self._look, daemon=True).start()

    def __exit__(self, *exc: object) -> None:
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(0.5) and self._pending:
            ready, self._pending = ray.wait(self._pending, num_returns=1, timeout=0.5)
            for future in ready:
                try:
                    ray.get(future)
                except ray.exceptions.RayTaskError:
                    return  # it raised; rank 0 meets the same error or a broken collective and reports it
                except ray.exceptions.RayError:
                    os._exit(1)


class RayTuneExecutor:
    """Runs jobs on a Ray cluster through Tune, as many at once as it has room for.

    Args:
        scratch: a folder for Tune's own files, deleted afterwards by the caller.
        address: of an existing cluster; None starts one on this machine and stops it at the end.
        retries: how often a trial whose process was lost is started again.
    """

    def __init__(self, scratch: Path, *, address: str | None = None, retries: int = 3) -> None:
        self.scratch, self.address, self.retries = scratch, address, retries

    def run(self, jobs: Sequence[Job]) -> None:
        """Run every job to its end; see ``Executor.run``."""
        from orchestrator.executors.cluster import cluster

        with cluster(self.address, self.scratch) as resources:
            gpus = 1 if resources.get("GPU", 0) >= 1 else 0
            by_directory = {str(job.directory): job for job in jobs}
            configs = [
                {
                    "directory": directory,
                    "data_root": str(job.data_root),
                    "devices": job.devices,
                    "cpus": job.cpus,
                    "gpus": gpus,
                }
                for directory, job in by_directory.items()
            ]
            tuner = tune.Tuner(
                tune.with_resources(TrialTrainable, lambda config: _bundles(config["trial"])),
                param_space={"trial": tune.grid_search(configs)},
                tune_config=tune.TuneConfig(reuse_actors=True),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=str(self.scratch),
                    failure_config=tune.FailureConfig(max_failures=self.retries),
                    verbose=0,
                ),
            )
            results: Any = tuner.fit()
            for outcome in results:
                if outcome.error is not None and outcome.config is not None:
                    write_failure(Path(outcome.config["trial"]["directory"]), outcome.error)


def _bundles(trial: dict[str, Any]) -> tune.PlacementGroupFactory:
    bundle = {"CPU": float(trial["cpus"])}
    if trial["gpus"]:
        bundle["GPU"] = float(trial["gpus"])
    return tune.PlacementGroupFactory([bundle] * trial["devices"], strategy="PACK")

"""One slot of the cluster: a class Trainable that is rank 0 of its trial and owns the other ranks.

``setup`` starts the slot's processes, ``reset_config`` hands them the next trial (0.3 s instead of a new start),
``step`` is an epoch, ``cleanup`` reaps. Tune's own checkpoints and restore are not used: the store records what is
done, and a trial resumes from its own checkpoint wherever it is started again.
"""

from __future__ import annotations

import gc
import os
import threading
from typing import Any

import ray
from ray import tune
from ray.util.placement_group import get_current_placement_group, placement_group_table
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from far.distributed import LOOPBACK, Rendezvous, join_world
from far.errors import ConfigError, FarError, LostError, OutOfMemoryError, StorageError, TrialInterruptedError
from far.train.interruption import Interruption
from orchestrator.executors.attempts import note_loss, reduce_micro_batch, wait_for_retry
from orchestrator.executors.base import Job
from orchestrator.executors.failure import write_failure
from orchestrator.executors.ray.losses import reason
from orchestrator.executors.ray.notice import Notice
from orchestrator.executors.trial_runner import Readiness, TrialRunner

GRACE = 5.0
"""Seconds that rank 0 has to meet an error itself after a peer has raised one."""


class Worker:
    """A further process of a trial, driven by rank 0."""

    def __init__(self, rank: int, size: int, rendezvous: tuple[str, int]) -> None:
        self._place = (rank, size, rendezvous)
        self._host: TrialRunner | None = None
        self._interruption = Interruption()
        self._notice = Notice(self._interruption)

    def start(self, job: Job) -> None:
        """Take over a trial; the first call joins the process group."""
        if self._host is None:
            rank, size, rendezvous = self._place
            world = join_world(rank, size, rendezvous=rendezvous, cpus=job.threads, gpus=_has_gpu())
            self._host = TrialRunner(world, interruption=self._interruption)
            gc.freeze()
        self._host.start(job)

    def step(self) -> bool:
        """Take part in building, an epoch or the finish."""
        assert self._host is not None
        return self._host.step()


class TrialTrainable(tune.Trainable):
    """Runs one trial after another in warm processes."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what a trial takes: the same for each of its processes."""
        return tune.PlacementGroupFactory([config["bundle"]] * config["job"].devices, strategy="PACK")

    def setup(self, config: dict[str, Any]) -> None:
        """Start the slot's processes."""
        job: Job = config["job"]
        interruption = Interruption()
        self._notice = Notice(interruption)
        wait_for_retry(job)
        size = job.devices
        group: Any = get_current_placement_group()
        host = LOOPBACK if _is_on_one_node(group) else ray.util.get_node_ip_address()
        rendezvous = Rendezvous(size, host) if size > 1 else None
        self._peers: list[Any] = []
        for rank in range(1, size):
            strategy = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=rank)
            bundle = group.bundle_specs[rank]
            actor: Any = ray.remote(Worker).options(
                num_cpus=bundle.get("CPU", 0), num_gpus=bundle.get("GPU", 0), scheduling_strategy=strategy
            )
            assert rendezvous is not None
            self._peers.append(actor.remote(rank, size, rendezvous.address))
        pending = self._start_peers(job)
        with _Watch(pending, job):
            try:
                world = join_world(0, size, rendezvous=rendezvous, cpus=job.threads, gpus=_has_gpu())
            except ConfigError as error:  # a GPU that torch cannot use: no retry mends it
                write_failure(job.directory, error)
                raise
            self._host = TrialRunner(world, interruption=interruption)
        gc.freeze()  # what is imported stays: it is not searched after each trial
        self._start(job, pending)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Hand the warm processes the next trial."""
        wait_for_retry(new_config["job"])
        self._start(new_config["job"], self._start_peers(new_config["job"]))
        return True

    def step(self) -> dict[str, Any]:
        """Run an epoch. A failure that a retry cannot mend is the trial's result; a store that cannot be written stops
        the sweep; a process that was asked to end ends, and the trial goes on in another.
        """
        try:
            ready = self._host.prepare()
            if ready is not Readiness.GO:
                return {"done": ready is Readiness.ENDED, "record": None, "stop": None}
            pending = [peer.step.remote() for peer in self._peers]
            with _Watch(pending, self._job):
                done = self._host.step()
                if self._host.failed and self._peers:
                    raise RuntimeError("the trial has failed; its further processes are replaced")
                ray.get(pending)
        except StorageError as error:
            return {"done": True, "record": None, "stop": error}
        except LostError:
            os._exit(1)  # a process whose GPU has failed would fail every trial that it is handed
        except TrialInterruptedError:
            self._notice.busy(None)
            raise
        if done:
            self._notice.busy(None)
        return {"done": done, "record": self._host.record, "stop": None}

    def cleanup(self) -> None:
        """Reap the slot's processes."""
        self._notice.close()
        self._host.close()
        for peer in self._peers:
            ray.kill(peer)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: the trial's own checkpoint is in the store."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: the trial resumes from the store."""

    def _start_peers(self, job: Job) -> list[Any]:
        return [peer.start.remote(job) for peer in self._peers]

    def _start(self, job: Job, pending: list[Any]) -> None:
        self._job = job
        self._notice.busy(job.key)
        self._host.start(job)
        ray.get(pending)


def _has_gpu() -> bool:
    """Return whether Ray has given this process a GPU, or a part of one."""
    return bool(ray.get_gpu_ids())


def _is_on_one_node(group: Any) -> bool:
    return len(set(placement_group_table(group)["bundles_to_node_id"].values())) == 1


class _Watch:
    """While rank 0 computes, end its process if a peer fails: a collective would wait for the dead one forever.

    Tune then sees the actor die, gives the resources back, and starts the trial again from its checkpoint; an error
    that a retry cannot mend has become the trial's result before.
    """

    def __init__(self, pending: list[Any], job: Job) -> None:
        self._pending, self._job = list(pending), job
        self._over = threading.Event()

    def __enter__(self) -> None:
        if self._pending:
            threading.Thread(target=self._look, daemon=True).start()

    def __exit__(self, *exc: object) -> None:
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(0.2) and self._pending:
            ready, self._pending = ray.wait(self._pending, num_returns=1, timeout=0.3)
            for future in ready:
                try:
                    ray.get(future)
                except ray.exceptions.RayTaskError as error:
                    if not self._over.wait(GRACE):
                        _record(self._job, error.cause)
                        os._exit(1)
                except ray.exceptions.RayError as error:
                    note_loss(self._job, reason(error))
                    os._exit(1)


def _record(job: Job, cause: BaseException) -> None:
    """Write what a peer met, before all processes of the trial are restarted."""
    if (isinstance(cause, OutOfMemoryError) and reduce_micro_batch(job, cause)) or isinstance(
        cause, StorageError | TrialInterruptedError
    ):
        return
    if isinstance(cause, LostError):
        note_loss(job, cause)
    elif isinstance(cause, FarError):
        write_failure(job.directory, cause)

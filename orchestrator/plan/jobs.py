"""From a planned trial to a job: what is written into the store before it runs, and what it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from far.config import TrialConfig
from far.errors import OutOfMemoryError
from far.plugins.kept import keep
from far.source import plugins_of
from far.store.attempts import Attempt
from far.store.lock import LockedError
from far.store.records import Spec
from orchestrator.executors.base import Job
from orchestrator.plan.plan import PlannedTrial
from orchestrator.plan.rerun import set_aside
from orchestrator.store.store import DONE
from orchestrator.study.schema import ResourcesConfig, RetryConfig
from orchestrator.workspace.workspace import Workspace


def submit(workspace: Workspace, trial: PlannedTrial) -> None:
    """Write what is to be run; a result that is not final makes way, and all there is if it is to be run again.

    A trial whose lock is held is being run by another sweep, or still by one that was just killed: it is left alone,
    and whoever runs it next finds its description, or its result.
    """
    store = workspace.store
    paths = store.paths(trial.key)
    lock = store.lock_trial(trial.key)
    try:
        lock.acquire(timeout=0.2)
    except LockedError:
        if paths.trial.exists():
            return
    try:
        if trial.again:
            number = set_aside(paths)
            if workspace.remote_store is not None:
                workspace.remote_store.set_aside(paths.key, number)
        if store.state(trial.key) in DONE:
            return  # another sweep, of a study that shares this trial, has finished it since the plan was made
        write_submission(workspace, trial.key, identity=trial.identity, config=trial.config, profile=trial.profile)
    finally:
        lock.release()


def write_submission(
    workspace: Workspace, key: str, *, identity: dict[str, Any], config: TrialConfig, profile: str
) -> None:
    """Write the description of a trial that is to be run; what an earlier try left of a result makes way.

    Whoever calls holds the trial's lock.

    Args:
        workspace: where trials are kept, and weights are looked for.
        key: the trial's key.
        identity: that the key is the hash of.
        config: the resolved configuration.
        profile: the profile's name.
    """
    paths, before = workspace.store.paths(key), workspace.store.trial(key)
    paths.result.unlink(missing_ok=True)
    paths.cancel.unlink(missing_ok=True)
    attempts = before.get("attempts") or []
    workspace.store.write_trial(
        key,
        {
            "key": key,
            "identity": identity,
            "config": _remembered(config.model_dump(mode="json"), before, attempts),
            "profile": profile,
            "weights_root": str(workspace.settings.weights_root),
            "plugins": list(keep((plugin.code for plugin in plugins_of(config)), paths.plugins)),
            "attempts": attempts,
            "before": len(attempts),
            "sources": before.get("sources") or {},
        },
    )
    if workspace.remote_store is not None:
        workspace.remote_store.submit(paths)


def make_job(workspace: Workspace, trial: PlannedTrial, retry: RetryConfig | None = None) -> Job:
    """Return the job that runs a trial, with what its study says about resources and retries."""
    run = trial.config.run
    job = Job(
        directory=workspace.store.paths(trial.key).directory.absolute(),
        data_root=workspace.settings.data_root,
        devices=run.devices,
        cpus=run.cpus,
        retry=retry or RetryConfig(),
        remote_store=workspace.settings.remote_store,
        plugins=tuple(plugin.code for plugin in plugins_of(trial.config)),
    )
    return _with(job, trial.resources)


def _with(job: Job, resources: ResourcesConfig) -> Job:
    """Apply a study's resources, which are a trial's, to a job's, which are a process's."""
    gpus = resources.gpu_number
    if gpus is not None:
        devices = max(1, int(gpus)) if gpus else job.devices
        job = replace(job, devices=devices, gpus=gpus / devices)
    if resources.cpus is not None:
        job = replace(job, cpus=resources.cpus / job.devices)
    return job


def _remembered(config: dict[str, Any], before: Spec, attempts: list[Attempt]) -> dict[str, Any]:
    """Keep a micro-batch that was halved until it fitted, unless the user now names one that has not been tried."""
    too_large = {attempt.get("micro_batch") for attempt in attempts if attempt.get("ended") == OutOfMemoryError.kind}
    if too_large and config["run"]["micro_batch"] in {None, *too_large}:
        config["run"]["micro_batch"] = (before.get("config") or config)["run"]["micro_batch"]
    return config

"""A sweep: what the plan asks for and the store does not have yet, run to its end, mirrored, and shown."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.executors import Executor, Job
from orchestrator.frozen import freeze
from orchestrator.plan import Plan, PlannedTrial
from orchestrator.progress import Progress, Watched
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.tracking import Mirror, Sweep, TrackedTrial

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended.

    Attributes:
        finished: trials of the plan that are finished, those of earlier sweeps included.
        bad: trials that failed or diverged, with why.
        left: trials that have no result.
        interrupted: whether the user stopped it.
        untracked: why the tracking store could not be brought up to date, if it could not.
    """

    finished: int
    bad: list[str]
    left: int
    interrupted: bool
    untracked: str | None

    @property
    def exit_code(self) -> int:
        """0 complete, 3 some trials failed, 130 interrupted."""
        return 130 if self.interrupted else 3 if self.bad or self.left else 0


def run_sweep(plan: Plan, store: Store, settings: Settings, executor: Executor, console: Console) -> Outcome:
    """Run what is missing of a plan.

    Raises:
        Locked: another process drives one of the studies.
        FarError: nothing can be run at all.
    """
    with ExitStack() as stack:
        for name in sorted({trial.study for trial in plan.trials}):
            stack.enter_context(store.lock_study(name))
        for change in freeze(plan, store):
            console.print(f"note: {change}", highlight=False, markup=False)
        todo = plan.missing()
        for trial in todo:
            submit(store, trial, settings)
        mirror = Mirror(settings.tracking_uri, _sweeps(plan, store))
        mirror.start()
        interrupted = False
        try:
            if todo:
                _run(todo, store, settings, executor, console, mirror)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            with _uninterrupted():
                synced = mirror.close()
    return _outcome(plan, store, interrupted, None if synced else mirror.problem or "it did not answer")


def _run(
    todo: Sequence[PlannedTrial],
    store: Store,
    settings: Settings,
    executor: Executor,
    console: Console,
    mirror: Mirror,
) -> None:
    watched = [
        Watched(trial.row, trial.seed, trial.config.recipe.epochs, store.paths(trial.key).directory) for trial in todo
    ]
    jobs = [
        Job(
            directory=store.paths(trial.key).directory.absolute(),
            data_root=settings.data_root,
            devices=trial.config.run.devices,
            cpus=trial.config.run.cpus,
        )
        for trial in todo
    ]

    def note() -> str | None:
        return f"tracking store not reached, will catch up: {mirror.problem}" if mirror.problem else None

    with _terminable(), Progress(watched, console, note):
        executor.run(jobs)


def submit(store: Store, trial: PlannedTrial, settings: Settings) -> None:
    """Write what is to be run; a result that is not final makes way."""
    paths, before = store.paths(trial.key), store.trial(trial.key)
    paths.result.unlink(missing_ok=True)
    store.write_trial(
        trial.key,
        {
            "key": trial.key,
            "identity": trial.identity,
            "config": trial.config.model_dump(mode="json"),
            "profile": trial.profile,
            "weights_root": str(settings.weights_root),
            "attempts": before.get("attempts", []),
        },
    )


def _sweeps(plan: Plan, store: Store) -> list[Sweep]:
    sweeps = []
    for study in plan.studies:
        rows: dict[str, list[PlannedTrial]] = {}
        for trial in plan.cells(study.name):
            rows.setdefault(trial.key, []).append(trial)
        tags = {"farlab.study": study.name, **({"farlab.table": str(study.table)} if study.table else {})}
        sweeps.append(
            Sweep(
                study=study.name,
                profile=study.profile.name,
                trials=[
                    TrackedTrial(key, " = ".join(cell.row for cell in cells), cells[0].seed, store.paths(key).directory)
                    for key, cells in rows.items()
                ],
                state=store.study(study.name).directory / f"mlflow-{study.profile.name}.json",
                artifacts=store.root / "mlartifacts",
                tags=tags,
            )
        )
    return sweeps


def _outcome(plan: Plan, store: Store, interrupted: bool, untracked: str | None) -> Outcome:
    finished, left, bad = 0, 0, []
    for trial in plan.unique():
        result = store.result(trial.key)
        if result is None:
            left += 1
        elif result["state"] == "finished":
            finished += 1
        else:
            error = result.get("error") or {"kind": "", "message": ""}
            bad.append(f"{trial.row}, seed {trial.seed}: {result['state']} ({error['kind']}): {error['message']}")
    return Outcome(finished, bad, left, interrupted, untracked)


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: the same clean stop."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let the books be closed in peace: a second Ctrl-C within these seconds is not heard."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def make_executor(name: str, store: Store, settings: Settings, retries: int) -> tuple[Executor, ExitStack]:
    """Return an executor by name (``ray`` or ``local``) and what to close after it."""
    stack = ExitStack()
    if name == "local":
        from orchestrator.executors.local import LocalExecutor

        return LocalExecutor(), stack
    from orchestrator.executors.cluster import prepare_environment

    prepare_environment(settings.ray_address)
    from orchestrator.executors.ray_tune import RayTuneExecutor

    scratch = store.root / "ray"
    stack.callback(shutil.rmtree, scratch / "tune", ignore_errors=True)
    return RayTuneExecutor(scratch, address=settings.ray_address, retries=retries), stack

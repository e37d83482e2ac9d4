"""A sweep: what the plan asks for and the store does not have yet, run to its end, mirrored, and shown."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from far.errors import ConfigError, FarError, StorageError, StorageFullError
from orchestrator.estimate import estimate_plan, find_target
from orchestrator.estimate.estimate import select_within_budget
from orchestrator.executors.base import ChainedQueue, Executor, Job, ListQueue, Queue, StopRequest, most_together
from orchestrator.executors.signals import STOPS, WAKE, ignore_stops
from orchestrator.monitor.live import Progress, Watched
from orchestrator.plan.jobs import make_job, submit
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.order import Together, priority_order, side_by_side, with_companions
from orchestrator.plan.plan import Plan, PlannedTrial
from orchestrator.store.remote import RemoteStoreError
from orchestrator.store.store import Store
from orchestrator.study.schema import BudgetConfig
from orchestrator.tracking.base import Tracker, make_tracker
from orchestrator.tracking.mirror import HURRY, LONGEST_HURRY, PATIENCE
from orchestrator.tracking.selection import sweeps_of
from orchestrator.tracking.tracked import TrackedTrial
from orchestrator.workspace.workspace import Workspace

if TYPE_CHECKING:
    from orchestrator.cli.console import PlainConsole
    from orchestrator.search.queue import SearchOutcome, SearchQueue


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended.

    Attributes:
        finished: trials of the plan and of its searches that are finished, those of earlier sweeps included.
        bad: trials that failed or diverged, with why.
        left: trials that have no result.
        interrupted: whether the user stopped it.
        untracked: why the tracking store could not be brought up to date, if it could not.
        over_budget: whether trials were left because the budget was used up.
        total: trials that there are to be.
        pruned: of the finished ones, those that a search stopped early.
    """

    finished: int
    bad: list[str]
    left: int
    interrupted: bool
    untracked: str | None
    over_budget: bool = False
    total: int = 0
    pruned: int = 0

    @property
    def exit_code(self) -> int:
        """0 complete, 3 some trials failed, 4 budget reached, 130 interrupted."""
        if self.interrupted:
            return 130
        if self.bad:
            return 3
        return 4 if self.over_budget else 3 if self.left else 0


def run_sweep(
    plan: Plan,
    workspace: Workspace,
    executor: Executor,
    console: PlainConsole,
    budget: BudgetConfig | None = None,
) -> Outcome:
    """Run what is missing of a plan.

    Args:
        plan: studies and what the store has of them.
        workspace: where trials are kept, and how they are tracked.
        executor: who runs the trials.
        console: where progress is shown.
        budget: where to stop starting trials; None: never.

    Raises:
        ConfigError: a trial can never run on the cluster, there is none, or the store cannot be written.
        LockedError: another process drives one of the studies.
        StorageError: results can no longer be written; what had finished is kept.
        FarError: nothing can be run at all.
    """
    stop, ran, store = StopRequest(), _SweepState(), workspace.store
    unkept, untracked, noted = None, None, list[str]()
    with ExitStack() as stack:
        for name in sorted(study.name for study in plan.studies):
            stack.enter_context(_locked(store, name))
        stack.enter_context(_stoppable(stop))
        todo, left_out = _affordable(plan, workspace, budget)
        try:
            with ExitStack() as running:
                jobs = _jobs(plan, todo, workspace)
                if todo or any(study.search for study in plan.studies):
                    running.enter_context(executor.opened(stop))
                    executor.check(jobs)  # before anything is written
                todo, jobs = _neighbours(plan, todo, jobs, partial(most_together, executor), budget)
                for change in write_lockfile(plan, store):
                    console.print(f"note: {change}")
                _refuse_removed(plan, store)
                for trial in todo:
                    submit(workspace, trial)
                ran.synchronise = _synchronisation(stack, workspace, todo)
                ran.mirror = mirror = make_tracker(
                    workspace.settings.tracking_uri, sweeps_of(plan, store, workspace.settings)
                )
                mirror.start()
                _run(plan, todo, jobs, workspace, executor, console, mirror, stop, budget, ran)
        except KeyboardInterrupt:
            stop.request(KeyboardInterrupt())
        except FarError as error:
            stop.request(error)
        finally:
            ignore_stops()  # until the handlers are put back
            unkept = ran.synchronise([*todo, *ran.proposed])
            patience, longest = (HURRY, LONGEST_HURRY) if stop else (PATIENCE, PATIENCE)
            if ran.mirror is not None and not ran.mirror.close(timeout=patience, at_most=longest, on_note=noted.append):
                untracked = ran.mirror.reason
    if isinstance(stop.reason, FarError):
        raise stop.reason
    for text in noted:
        console.print(f"note: {text}")
    if unkept:
        console.print(f"note: {unkept}; the next sweep, or `farlab status`, makes up for it")
    over = bool(left_out) or ran.over_budget
    interrupted = isinstance(stop.reason, KeyboardInterrupt)
    return _outcome(plan.unique(), ran.searches, store, interrupted, untracked, over)


@contextmanager
def _locked(store: Store, study: str) -> Iterator[None]:
    """Hold a study's lock: a store that cannot be written before anything has begun is a wrong setting.

    Raises:
        ConfigError: the store cannot be written.
        LockedError: another process drives the study.
    """
    lock = store.lock_study(study)
    try:
        lock.acquire()
    except StorageFullError:
        raise
    except StorageError as error:
        raise ConfigError(str(error), key="store") from error
    with lock:
        yield


def _refuse_removed(plan: Plan, store: Store) -> None:
    """Refuse a plan of which `farlab gc` has removed what it takes for done, before the study named it.

    Raises:
        ConfigError: naming the trials.
    """
    gone = [trial.key for trial in plan.unique() if trial.done and not store.paths(trial.key).directory.is_dir()]
    if gone:
        raise ConfigError(
            f"finished when this sweep began, and removed from the store since: {', '.join(gone[:3])}"
            f"{f' and {len(gone) - 3} more' if len(gone) > 3 else ''}; run the same command again"
        )


def _jobs(plan: Plan, todo: Sequence[PlannedTrial], workspace: Workspace) -> list[Job]:
    retry = {study.name: study.retry for study in plan.studies}
    return [make_job(workspace, trial, retry[trial.study]) for trial in todo]


def _neighbours(
    plan: Plan, todo: list[PlannedTrial], jobs: list[Job], together: Together, budget: BudgetConfig | None
) -> tuple[list[PlannedTrial], list[Job]]:
    """Put trials next to those that they can share frames with, where the order decides nothing but who runs when.

    It stays as it is where trials run one after another, and where a clock decides how many of them are started.
    """
    job_of = {trial.key: job for trial, job in zip(todo, jobs, strict=True)}
    if (budget is None or budget.hours is None) and any(together(job) > 1 for job in jobs):
        todo = side_by_side(plan, todo)
    proposals = sum(study.search.trials for study in plan.studies if study.search is not None)
    return todo, with_companions(todo, [job_of[trial.key] for trial in todo], together, proposals)


def _synchronisation(
    stack: ExitStack, workspace: Workspace, todo: Sequence[PlannedTrial]
) -> Callable[[Sequence[PlannedTrial]], str | None]:
    """Tell a store at a URL what is to run, and follow what comes back.

    Returns:
        A function that brings both sides up to date at the end and returns what is wrong, if it could not.
    """
    remote_store, store = workspace.remote_store, workspace.store
    if remote_store is None:
        return lambda trials: None

    remote_store.push(store, [])
    stack.enter_context(remote_store.polled(store, lambda: [t.key for t in todo if store.result(t.key) is None]))

    def settle(trials: Sequence[PlannedTrial]) -> str | None:
        try:
            remote_store.push(store, [trial.key for trial in trials])
            remote_store.pull(store)
        except RemoteStoreError as error:
            return str(error)
        return None

    return settle


@dataclass
class _SweepState:
    """What a run did beyond the plan's own trials."""

    proposed: list[PlannedTrial] = field(default_factory=list)
    """Trials that searches proposed and that had to run."""
    searches: list[SearchOutcome] = field(default_factory=list)
    """How far each search has come."""
    over_budget: bool = False
    """Whether the clock or a count kept something from starting."""
    synchronise: Callable[[Sequence[PlannedTrial]], str | None] = lambda trials: None
    """Brings the store and its copy at a URL up to date; returns what is wrong, if it could not."""
    mirror: Tracker | None = None


def _run(
    plan: Plan,
    todo: Sequence[PlannedTrial],
    jobs: Sequence[Job],
    workspace: Workspace,
    executor: Executor,
    console: PlainConsole,
    mirror: Tracker,
    stop: StopRequest,
    budget: BudgetConfig | None,
    ran: _SweepState,
) -> None:
    """Run the executor over the trials, and then over what searches propose."""
    watched = [
        Watched(trial.row, trial.seed, trial.config.recipe.epochs, workspace.store.paths(trial.key).directory)
        for trial in todo
    ]

    def note() -> str | None:
        return f"tracking store not reached, will catch up: {mirror.problem}" if mirror.problem else None

    may_start = _clock(budget)
    queue = ListQueue(jobs, may_start)
    progress = Progress(watched, console, note, executor.waiting)
    queues: list[Queue] = [queue]
    searches: list[SearchQueue] = []
    for study in plan.studies:
        if study.search is not None:
            from orchestrator.search.queue import SearchQueue

            show = _shown(progress, mirror, study.name)
            may_propose = _counted(may_start, budget, searches, len(jobs))
            searches.append(SearchQueue(study, workspace, show, may_propose, stop, partial(most_together, executor)))
    queues += searches
    whole = queue if len(queues) == 1 else ChainedQueue(queues)
    try:
        if not whole.is_empty():
            with progress:
                executor.run(whole, stop)
    finally:
        ran.proposed = [trial for search in searches for trial in search.proposed]
        ran.searches = [search.outcome() for search in searches]
        ran.over_budget = not stop and (queue.started < len(todo) or any(search.over_budget for search in searches))


def _counted(
    may_start: Callable[[], bool], budget: BudgetConfig | None, searches: Sequence[SearchQueue], planned: int
) -> Callable[[], bool]:
    """Return whether a search may propose another trial: by the clock, and by the budget's number of trials.

    GPU-hours cannot be estimated before a proposal is known; a search with such a budget proposes nothing.
    """

    def may() -> bool:
        proposed = planned + sum(len(search.proposed) for search in searches)
        if budget is not None and (budget.gpu_hours is not None or proposed >= (budget.trials or float("inf"))):
            return False
        return may_start()

    return may


def _shown(progress: Progress, mirror: Tracker, study: str) -> Callable[[PlannedTrial, TrackedTrial], None]:
    """Return what shows and mirrors a trial that a search has just proposed."""

    def show(trial: PlannedTrial, tracked: TrackedTrial) -> None:
        progress.add(Watched(trial.row, trial.seed, trial.config.recipe.epochs, tracked.directory))
        mirror.add(study, tracked)

    return show


def _affordable(plan: Plan, workspace: Workspace, budget: BudgetConfig | None) -> tuple[list[PlannedTrial], int]:
    """Return what is to be run, most useful first, and how many trials the budget leaves out."""
    todo = priority_order(plan)
    if budget is None or budget == BudgetConfig() or not todo:
        return todo, 0

    settings = workspace.settings
    target = find_target(settings.device, settings.devices, settings.tflops)
    costs = estimate_plan(plan, workspace.store, target, workspace.video_counts)
    selected = select_within_budget(plan, costs, budget)
    return selected, len(todo) - len(selected)


def _clock(budget: BudgetConfig | None) -> Callable[[], bool]:
    """Return whether the budget's wall clock still allows a start: estimates may be wrong, the clock is not."""
    if budget is None or budget.hours is None:
        return lambda: True
    end = time.monotonic() + budget.hours * 3600
    return lambda: time.monotonic() < end


def _outcome(
    trials: Sequence[PlannedTrial],
    searches: Sequence[SearchOutcome],
    store: Store,
    interrupted: bool,
    untracked: str | None,
    over: bool,
) -> Outcome:
    finished, left, bad = 0, 0, []
    for trial in trials:
        result = store.result(trial.key)
        if result is None:
            left += 1
        elif result["state"] == "finished":
            finished += 1
        elif result["state"] == "partial":
            continue  # stopped on purpose, by a search's pruner
        else:
            error = result.get("error") or {"kind": "", "message": ""}
            bad.append(f"{trial.row}, seed {trial.seed}: {result['state']} ({error['kind']}): {error['message']}")
    for search in searches:
        finished += search.finished
        left += max(0, search.wanted - search.finished - len(search.bad))
        bad += search.bad
    total = len(trials) + sum(search.wanted for search in searches)
    pruned = sum(search.pruned for search in searches)
    return Outcome(finished, bad, left, interrupted, untracked, over, total, pruned)


@contextmanager
def _stoppable(stop: StopRequest) -> Iterator[None]:
    """Treat Ctrl-C, SIGTERM and a closed terminal alike: one clean stop.

    The request is also noted, because an exception raised by a signal is lost where it meets a callback or a finaliser.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        stop.request(KeyboardInterrupt())
        raise KeyboardInterrupt

    def wake(number: int, frame: object) -> None:
        if stop:
            raise KeyboardInterrupt

    woken = signal.signal(WAKE, wake)
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, handle)
        yield
    finally:
        signal.signal(WAKE, woken)
        if isinstance(stop.reason, KeyboardInterrupt):
            ignore_stops()  # the command is about to end; its last lines are not cut off
        else:
            for number, handler in before.items():
                signal.signal(number, handler)

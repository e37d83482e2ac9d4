"""Studies from Python: planned, run, looked at while they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import ConfigError
from farlab.arguments import Overrides, Seeds, Studies, assignments, console, load_plugins, seed_text, texts
from orchestrator.cli import plans
from orchestrator.cli.options import chosen, load_targets, plan_targets
from orchestrator.cli.sweeps import locked_plan
from orchestrator.estimate import estimate_plan, find_target, parse_budget
from orchestrator.estimate.capacity import with_gpu_packing
from orchestrator.executors.registry import DEFAULT, find_executor
from orchestrator.executors.signals import handlers_restored
from orchestrator.monitor.status import TrialStatus, statuses
from orchestrator.plan.lockfile import refuse_namesake
from orchestrator.plan.rerun import run_again
from orchestrator.plan.starts import with_starts
from orchestrator.study import submitted_name
from orchestrator.sweep import run_sweep
from orchestrator.workspace.trust import trusting
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.estimate import CostEstimate
    from orchestrator.plan.plan import Plan
    from orchestrator.study import Study
    from orchestrator.study.schema import BudgetConfig
    from orchestrator.sweep import Outcome
    from orchestrator.workspace.workspace import Workspace


@dataclass(frozen=True)
class Planned:
    """What a sweep would run, and what the store has already.

    Attributes:
        plan: studies, and rows × seeds with their keys and states.
        workspace: where it was planned.
    """

    plan: Plan
    workspace: Workspace

    @property
    def warnings(self) -> list[str]:
        """What a user should know before running it; lines that begin with ``problem`` keep a sweep from starting."""
        return plans.warnings(self.plan)

    def __len__(self) -> int:
        """Distinct trials."""
        return len(self.plan.unique())

    def estimate(
        self, *, device: str | None = None, devices: int | None = None, tflops: float | None = None
    ) -> CostEstimate:
        """Return what the rest costs: seconds, device hours, memory, disk.

        Args:
            device: for this GPU, e.g. ``a100-80g``; default: as in ``farlab.toml``, then this machine's.
            devices: how many.
            tflops: stated dense 16-bit peak of one GPU that is not in the table of cards.

        Raises:
            ConfigError: the device is not known.
        """
        own = self.workspace.settings
        target = find_target(device or own.device, devices or own.devices, tflops or own.tflops)
        return estimate_plan(self.plan, self.workspace.store, target, self.workspace.video_counts)

    def as_dict(self) -> dict[str, Any]:
        """Return the whole as plain values: what ``farlab plan --json`` prints."""
        return plans.as_json(self.plan)

    def to_frame(self) -> pd.DataFrame:
        """Return a line a trial: study, row, seed, key (None until the data are there), state, done."""
        import pandas as pd

        columns = ["study", "row", "seed", "key", "state", "done"]
        return pd.DataFrame(self.as_dict()["trials"], columns=columns)

    def __repr__(self) -> str:
        return str(self.to_frame().to_string(index=False))

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))


def validate(
    studies: Studies,
    *,
    profile: str | None = None,
    seeds: Seeds | None = None,
    overrides: Overrides | None = None,
    plugins: Sequence[str | Path] = (),
) -> list[Study]:
    """Load studies and check them, without data or device.

    Args:
        studies: names, files or folders.
        profile: at what scale; default: the workspace's.
        seeds: a number or which; default: the studies' own.
        overrides: settings of every trial.
        plugins: files or modules to be loaded first; they stay loaded.

    Raises:
        ConfigError: one is invalid; with file, line and key.
    """
    load_plugins(plugins)
    return load_targets([*texts(studies), *assignments(overrides)], profile, seed_text(seeds))


def plan(
    studies: Studies,
    *,
    profile: str | None = None,
    seeds: Seeds | None = None,
    overrides: Overrides | None = None,
    rerun: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
) -> Planned:
    """Return what ``sweep`` with the same arguments would run; see there.

    Raises:
        ConfigError, WeightsError: a study is invalid, or its initial weights cannot be what its rows start from.
    """
    load_plugins(plugins)
    targets = [*texts(studies), *assignments(overrides)]
    with trusting(trust):
        made, workspace = plan_targets(targets, profile, seed_text(seeds), generate=False, trust=trust)
        return Planned(run_again(made, list(rerun)), workspace)


def sweep(
    studies: Studies,
    *,
    profile: str | None = None,
    seeds: Seeds | None = None,
    overrides: Overrides | None = None,
    executor: str = DEFAULT,
    address: str | None = None,
    tracking_uri: str | None = None,
    budget: str | None = None,
    rerun: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    progress: bool = True,
) -> Outcome:
    """Run the trials of studies that are not done yet; the same call goes on after any interruption.

    In a notebook, interrupting the kernel stops cleanly: what had finished is kept. Ray is started and stopped within
    the call, and signal handlers are put back.

    Args:
        studies: names, files or folders.
        profile: at what scale; default: the workspace's.
        seeds: a number or which; default: the studies' own.
        overrides: settings of every trial.
        executor: who runs the trials: ``ray``, or ``local`` for one after another in this process.
        address: of an existing Ray cluster.
        tracking_uri: MLflow server or data base.
        budget: stop starting trials after ``40gpuh``, ``8h``, ``2d`` or ``12trials``.
        rerun: ``changed``, rows or keys that are run again although they are done.
        plugins: files or modules to be loaded first; they stay loaded, and are known to the workers.
        trust: run what others could have written: plug-ins, another user's ``farlab.toml``.
        progress: print a line whenever something happens.

    Returns:
        How it ended. A trial that failed is no exception: it stands in ``bad``.

    Raises:
        ConfigError: nothing of it can be run as asked.
        KeyboardInterrupt: it was interrupted, and has stopped cleanly.
        LockedError: another process runs one of the studies.
        StorageError: results can no longer be written; what had finished is kept.
    """
    limit = parse_budget(budget) if budget else None
    load_plugins(plugins)
    targets, seed_words = [*texts(studies), *assignments(overrides)], seed_text(seeds)

    def planned(*, generate: bool) -> tuple[Plan, Workspace]:
        made, workspace = plan_targets(targets, profile, seed_words, generate=generate, trust=trust)
        return run_again(made, list(rerun)), workspace

    with trusting(trust):
        made, workspace = planned(generate=False)
        workspace = chosen(workspace, tracking_uri=tracking_uri, address=address, executor=executor)
        if not made.refused and not all(trial.is_known for trial in made.trials):
            made, _ = planned(generate=True)
        return _run(made, workspace, executor, limit, shown=progress)


def resume(
    study: str,
    *,
    profile: str | None = None,
    executor: str = DEFAULT,
    address: str | None = None,
    tracking_uri: str | None = None,
    trust: bool = False,
    progress: bool = True,
) -> Outcome:
    """Go on with a study as it was submitted, whatever its file says now; see ``sweep``.

    Raises:
        ConfigError: it never was, or nothing of it can be run as asked.
    """
    with trusting(trust):
        workspace = chosen(open_workspace(trust=trust), tracking_uri=tracking_uri, address=address, executor=executor)
        return _run(locked_plan(study, profile, workspace), workspace, executor, None, shown=progress)


def _run(plan: Plan, workspace: Workspace, executor: str, budget: BudgetConfig | None, *, shown: bool) -> Outcome:
    """Run what a plan has left, with everything in this process as it was before."""
    spec, settings = find_executor(executor), workspace.settings
    plan = plan if plan.starts else with_starts(plan, workspace)
    for study in plan.studies:
        refuse_namesake(study, workspace.store)
    target = find_target(settings.device, settings.devices, settings.tflops)
    plan = with_gpu_packing(plan, workspace.store, target, workspace.video_counts)
    if problems := [*plan.problems, *plan.unusable, *spec.refused(plan, settings)]:
        raise ConfigError("; ".join(problems))
    screen = console(shown=shown)
    for line in plans.warnings(plan):
        screen.print(line)
    if budget is None:
        limits = [study.budget for study in plan.studies]
        budget = limits[0] if all(limit == limits[0] for limit in limits) else None
    with handlers_restored():
        outcome = run_sweep(plan, workspace, spec.make(plan, workspace), screen, budget)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome


def status(studies: Studies | None = None, *, profile: str | None = None) -> pd.DataFrame:
    """Return where submitted studies stand, a line a trial; from any process, while a sweep runs or after.

    Args:
        studies: names; default: all that were submitted to the store.
        profile: only what was submitted with this profile.

    Raises:
        ConfigError: there is no such submission.
    """
    import pandas as pd

    store = open_workspace().store
    names = [submitted_name(text, store.studies(), store.root) for text in (texts(studies) if studies else ())]
    return pd.DataFrame([_line(t) for study in statuses(store, names, profile) for t in study.trials])


def _line(trial: TrialStatus) -> dict[str, Any]:
    line = asdict(trial)
    clips = line.pop("clips") or {}
    return {**line, **{name: clips.get(name) for name in ("delivered", "decoded")}}

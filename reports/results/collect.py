"""Joining a study's plan with the store: the look-up that a sweep makes, so table and sweep cannot disagree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from far.redaction import redacted
from far.store.atomic import read_json
from orchestrator.plan.other_frames import misread_sets, told_by_results, trials_with_other_frames
from orchestrator.plan.plan import make_plan
from orchestrator.study import StudyFile, load_study, refuse_same_name
from orchestrator.study.scales import OtherScaleError
from orchestrator.tracking.remembered import Remembered
from orchestrator.workspace.settings import load_settings
from orchestrator.workspace.workspace import open_workspace
from reports.paper.protocol import deviations
from reports.paper.studies import before_shipped, submitted
from reports.results.cached_store import ReadOnce
from reports.results.changed_code import with_stale
from reports.results.closest import other_settings
from reports.results.fingerprints import DataContent, WeightsContent
from reports.results.mlflow import read_runs, run_address
from reports.results.results import Results
from reports.results.search import read_search
from reports.results.state import State
from reports.results.trials import STATE_OF, TrialRecord

if TYPE_CHECKING:
    from orchestrator.plan.other_frames import Misread
    from orchestrator.plan.plan import PlannedTrial
    from orchestrator.store.store import Store
    from orchestrator.study import Study
    from orchestrator.workspace.workspace import Workspace


def collect(
    studies: Sequence[Path | str],
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | int | None = None,
    store: Path | None = None,
    tracking: str | None = None,
    of_tables: Collection[Path | str] = (),
    optional: Collection[Path | str] = (),
    everything: bool = False,
) -> list[Results]:
    """Load studies, plan them, and read what has finished.

    Args:
        studies: files or names.
        profile: the scale; default as for ``farlab sweep``.
        overrides: ``dotted.key=value`` as given to the sweep.
        seeds: instead of the studies' own.
        store: instead of the workspace's own.
        tracking: read this MLflow server instead; ``mlflow`` is the workspace's own.
        of_tables: studies that were asked for by the number of their table.
        optional: studies that are left out where they do not run at this profile.
        everything: add all others that were submitted to the store.

    Raises:
        ConfigError: a study is invalid, or two have one name.
        TrackingError: the server cannot be read.
    """
    settings = load_settings()
    if store is not None:
        settings = settings.model_copy(update={"store": store.resolve(), "remote_store": None})
    workspace = replace(open_workspace(settings), store=ReadOnce(settings.store))
    place = workspace.store
    loaded = []
    for each in studies:
        try:
            loaded.append(load_study(each, profile=profile, overrides=overrides, seeds=seeds))
        except OtherScaleError:
            if each not in optional:
                raise
    refuse_same_name(loaded)
    if everything:
        names = [study.name for study in loaded]
        loaded += submitted(place, profile=profile, overrides=overrides, seeds=seeds, known=names)
    content, weights = DataContent(workspace), WeightsContent(workspace)
    found = []
    for study in loaded:
        plan = make_plan(study, place, manifest_hash=content, weights_hash=weights)
        problems = [*plan.problems, *plan.damaged]
        if plan.trials and all(trial.state == "missing" for trial in plan.trials):
            problems += other_settings(plan.trials[0].identity, place)
        remark = before_shipped(study.path) if study.path in of_tables else ""
        joined = join(study, plan.trials, workspace, problems=problems)
        found.append(replace(joined, remarks=(remark,) if remark else ()))
    if tracking is not None:
        uri = settings.tracking_uri if tracking == "mlflow" else tracking
        found = [read_runs(results, uri, settings.store / "mlflow-cache") for results in found]
    return [with_stale(results) for results in found]


def join(
    study: Study,
    trials: Sequence[PlannedTrial],
    workspace: Workspace,
    *,
    problems: Sequence[str] = (),
) -> Results:
    """Put each planned trial's result beside it."""
    store, settings = workspace.store, workspace.settings
    differ = deviations(study) if study.profile.comparable else []
    by_row: dict[str, list[TrialRecord]] = {row.name: [] for row in study.rows}
    links = run_links(store, study.name, study.profile.name, settings.tracking_uri)
    for trial in trials:
        by_row[trial.row].append(_record(trial, store, links.get(trial.key)))
    return Results(
        study=study.name,
        title=study.title,
        profile=study.profile.name,
        collected=by_row,
        table=study.table,
        row_header="" if study.row_header == StudyFile.model_fields["row_header"].default else study.row_header,
        baseline=study.baseline,
        compare=study.compare,
        baseline_asked=not study.compare or study.file is None or study.file.baseline is not None,
        equal_within=study.equal_within,
        placebo=study.placebo,
        control=study.control,
        quoted=study.quoted,
        components=study.components,
        present={row.name: row.present for row in study.rows if row.present is not None},
        comparable=study.profile.comparable and not differ,
        deviations=tuple(differ),
        path=study.path,
        store=store.root,
        home=store.root,
        overrides=study.overrides,
        varied=frozenset(key for row in study.rows for key in row.settings),
        configs={row.name: row.config for row in study.rows},
        problems=tuple(problems),
        tracking_uri=redacted(settings.tracking_uri),
        search=read_search(study, store),
        other_frames=_other_frames(study, by_row, workspace),
        submitted=store.study(study.name).lockfile(study.profile.name).exists(),
    )


def _other_frames(
    study: Study, by_row: Mapping[str, Sequence[TrialRecord]], workspace: Workspace
) -> Mapping[str, Misread]:
    finished = [trial for trials in by_row.values() for trial in trials if trial.state is State.FINISHED]
    store = workspace.store
    sets = told_by_results((trial.result for trial in finished), store.root)
    sets |= misread_sets((row.config.data.source for row in study.rows), workspace)
    return trials_with_other_frames(store, (trial.key for trial in finished), sets)


def run_links(store: Store, study: str, profile: str, uri: str) -> dict[str, str]:
    """Return the address of each trial's run in the tracking UI: the server's, or that of ``farlab ui``."""
    known = read_json(store.study(study).directory / f"mlflow-{profile}.json", Remembered) or {"runs": {}}
    return {key: run_address(uri, str(known.get("experiment")), run["run_id"]) for key, run in known["runs"].items()}


def _record(trial: PlannedTrial, store: Store, link: str | None) -> TrialRecord:
    state = STATE_OF.get(trial.state, State.MISSING)
    result: Mapping[str, Any] = {}
    if state not in (State.MISSING, State.RUNNING):
        result = cast("Mapping[str, Any]", store.result(trial.key) or {})
    directory = store.paths(trial.key).directory
    return TrialRecord(trial.row, trial.seed, trial.key, state, result, directory, trial.identity, link)

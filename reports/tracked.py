"""What a finished study's run in MLflow gets: its tables and figures as files, and the means of its rows as metrics."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from far.store.atomic import write_atomic
from orchestrator.plan.lockfile import load_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.workspace.workspace import Workspace
from reports.figures import Options
from reports.page.build import FIGURES, picture
from reports.renderers import RENDERERS
from reports.results.cached_store import ReadOnce
from reports.results.changed_code import with_stale
from reports.results.collect import join
from reports.results.fingerprints import DataContent, WeightsContent
from reports.tables.registry import build_all
from reports.verification.record import sealed

if TYPE_CHECKING:
    from orchestrator.workspace.settings import Settings
    from reports.results.results import Results

FORMATS = {"md": "table.md", "csv": "table.csv", "latex": "table.tex", "html": "table.html", "json": "table.json"}
METRICS = ("top1", "top5", "loss")


def summarise(settings: Settings, study: str, profile: str, folder: Path) -> Mapping[str, float]:
    """Write the tables and figures of a study as it was submitted; return the means of its rows.

    Args:
        settings: of the workspace.
        study: its name.
        profile: at which it ran.
        folder: gets the files.

    Returns:
        By ``mean_METRIC/ROW``: over the seeds whose numbers stand in the table.

    Raises:
        FarError: the submission or its results cannot be read.
    """
    results = _results(settings, study, profile)
    tables = build_all([], [results])
    for format_, name in FORMATS.items():
        write_atomic(folder / name, sealed(RENDERERS[format_](tables), format_, tables))
    options = Options(data_root=settings.data_root, weights_root=settings.weights_root)
    for name in FIGURES if results.finished else ():
        drawn = picture(name, results, options)
        if not drawn.problem:
            write_atomic(folder / f"{name}.svg", base64.b64decode(drawn.data))
    return {
        f"mean_{metric}/{row.name}": fmean(values.values())
        for row in results.rows
        for metric in METRICS
        if (values := row.by_seed(metric))
    }


def _results(settings: Settings, study: str, profile: str) -> Results:
    store = ReadOnce(settings.store)
    workspace = Workspace(settings, store)
    loaded = load_lockfile(store.study(study).lockfile(profile))
    plan = make_plan(loaded, store, manifest_hash=DataContent(workspace), weights_hash=WeightsContent(workspace))
    return with_stale(join(loaded, plan.trials, workspace, problems=[*plan.problems, *plan.damaged]))

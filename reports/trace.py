"""Where a cell comes from: the runs, seeds, files and commands behind one number."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence

from far.errors import ConfigError
from far.files import TrialPaths
from reports import paper
from reports.comparability import findings, incomparable
from reports.results import Results, TrialRecord
from reports.table import State

METRICS = ("top1", "top5", "loss", "flops", "params", "seconds", "peak_memory_bytes")
"""What can be traced."""


def trace(all_results: Sequence[Results], row: str, metric: str) -> str:
    """Return an account of one cell of each study that has the row.

    Raises:
        ConfigError: there is no such row, or no such metric.
    """
    if metric not in METRICS:
        raise ConfigError(f"unknown metric '{metric}'", key="--explain", choices=METRICS, got=metric)
    having = [r for r in all_results if any(paper.normal(x.name) == paper.normal(row) for x in r.rows)]
    if not having:
        names = [x.name for results in all_results for x in results.rows]
        raise ConfigError(f"no row '{row}'", key="--explain", choices=names, got=row)
    return "\n\n".join(_of_study(results, row, metric) for results in having) + "\n"


def _of_study(results: Results, row: str, metric: str) -> str:
    results = results.without(incomparable(findings(results)))
    line = results.row(row)
    values = [value for t in line.finished if (value := _value(t, metric)) is not None]
    number = f"Table {results.table}" if results.table else results.study
    lines = [f"{number}, row {line.name}, {metric}, profile {results.profile}"]
    if values:
        spread = f" ± {statistics.stdev(values):.4g} (sample standard deviation)" if len(values) > 1 else ""
        lines.append(f"  {statistics.fmean(values):.6g}{spread} = mean over {len(values)} of {len(line.trials)} seeds")
    else:
        lines.append(f"  no number: {line.state.value}")
    printed = paper.paper_table(results.table) if results.table in paper.paper_tables()[1:] else None
    about = printed.row(line.name) if printed else None
    if about and about.numbers.get(metric) is not None:
        lines.append(f"  the paper prints {about.numbers[metric]}")
    lines.append(f"  study {results.path}; store {results.store}")
    for trial in line.trials:
        lines += ["", *_of_trial(trial, metric)]
    lines += ["", f"  run or resume all of it: {command(results)}"]
    return "\n".join(lines)


def _of_trial(trial: TrialRecord, metric: str) -> list[str]:
    value = _value(trial, metric)
    used = "" if trial.state is State.FINISHED else "  (not in the average)"
    lines = [f"  seed {trial.seed}: {trial.state.value if value is None else format(value, '.6g')}{used}"]
    lines.append(f"    trial {trial.key}")
    result = trial.result
    if result:
        code = result.get("code") or {}
        lines += [
            f"    finished {result.get('finished_at')}; {result.get('epochs')} epochs, {result.get('seconds')} s",
            f"    evaluated {result.get('evaluated')}/{result.get('expected')} videos; data {result.get('data_hash')}",
            f"    code {code.get('version')} at {code.get('git')}{' with changes' if code.get('dirty') else ''}",
        ]
        if result.get("error"):
            lines.append(f"    error: {result['error'].get('kind')}: {result['error'].get('message')}")
    if trial.directory is not None:
        paths = TrialPaths(trial.directory)
        files = (paths.trial, paths.metrics, paths.predictions, paths.result)
        lines += [f"    {'file' if file.exists() else 'no file'} {file}" for file in files]
    if trial.link:
        lines.append(f"    run {trial.link}")
    return lines


def command(results: Results) -> str:
    """The command that runs what is missing of these results."""
    seeds = sorted({trial.seed for row in results.rows for trial in row.trials})
    counted = seeds == list(range(len(seeds)))
    shown = str(len(seeds)) if counted else ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")
    parts = ["farlab", "sweep", str(results.path or results.study), *results.overrides]
    return shlex.join([*parts, "--profile", results.profile, "--seeds", shown])


def _value(trial: TrialRecord, metric: str) -> float | None:
    if metric in ("top1", "top5", "loss"):
        value = (trial.result.get("metrics") or {}).get(metric)
    else:
        value = trial.result.get(metric)
    return None if value is None else float(value)

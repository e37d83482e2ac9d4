"""Where a cell comes from: the runs, seeds, files and commands behind one number."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from far.errors import ConfigError
from far.evaluate import metrics
from far.store.paths import TrialPaths
from orchestrator.study.names import find_name
from reports import paper
from reports.analysis.comparison import asked_pairs, compare_rows
from reports.results.results import Results, RowResults
from reports.results.state import State
from reports.results.trials import TrialRecord
from reports.shown import can_be_opened_elsewhere, command
from reports.tables.cells import COSTS
from reports.tables.differences import verdict
from reports.tables.footnotes import scale_warning
from reports.tables.quoted import source_of
from reports.text import number

if TYPE_CHECKING:
    from reports.analysis.comparison import Comparison
    from reports.statistics import Difference

SHOWN: Mapping[str, Callable[[float], str]] = {
    "top1": lambda value: f"{value:.6g} %",
    "top5": lambda value: f"{value:.6g} %",
    "loss": lambda value: f"{value:.6g}",
    "flops": lambda value: f"{value:,.0f} multiply-accumulates ({_scaled(value)})",
    "params": lambda value: f"{value:,.0f} parameters ({_scaled(value)})",
    "seconds": lambda value: f"{value:,.1f} s",
    "peak_memory_bytes": lambda value: f"{value / 2**30:.2f} GiB",
}
"""What can be traced, and how a value of it is written."""
DELTA = "delta"
DELTA_NAMES = (DELTA, "Δ", "delta_top1", "Δ Top-1", "Δ top-1")
METRICS = (*SHOWN, DELTA)
PRINTED = {"top1": "%", "top5": "%", "flops": "G", "params": "M"}
"""Units of the paper's numbers."""


def trace(all_results: Sequence[Results], row: str, metric: str) -> str:
    """Return an account of one cell of each study that has the row.

    Args:
        all_results: of the studies that were asked for.
        row: its name.
        metric: a column by its identifier; the difference to the baseline is ``delta`` or ``Δ``.

    Raises:
        ConfigError: there is no such row, or no such metric; or the row is the baseline itself.
    """
    metric = DELTA if metric in DELTA_NAMES else metric
    if metric not in METRICS:
        raise ConfigError(f"unknown metric '{metric}'", key="--explain", choices=METRICS, got=metric)
    names = list(dict.fromkeys(line.name for results in all_results for line in results.rows))
    found = find_name(row, names, key="--explain")
    if found is None and (quoted := {study.study: study.quoted[row] for study in all_results if row in study.quoted}):
        return "\n".join(_of_quoted(study, row, each) for study, each in quoted.items()) + "\n"
    if found is None:
        raise ConfigError(f"no row '{row}'", key="--explain", choices=names, got=row)
    having = [results for results in all_results if found in [line.name for line in results.rows]]
    if metric == DELTA:
        against = [results for results in having if any(row == found for row, _ in asked_pairs(results))]
        if not against:
            others = [line.name for results in having for line in results.rows if line.name != found]
            text = f"row '{found}' is the baseline, which the Δ of the other rows is against"
            raise ConfigError(text, key="--explain", choices=others)
        having = against
    return "\n\n".join(_of_study(results, found, metric) for results in having) + "\n"


def _of_quoted(study: str, row: str, said: Mapping[str, Any]) -> str:
    numbers = ", ".join(f"{name} {said[name]:g} {unit}" for name, unit in PRINTED.items() if name in said)
    return f"{study}, row {row}: quoted, nothing of it was run here\n  {numbers}\n  as reported by {source_of(said)}"


def _of_study(results: Results, row: str, metric: str) -> str:
    line = results.row(row)
    where = f"Table {results.table}" if results.table else results.study
    if metric == DELTA:
        lines = _of_difference(results, line, where)
    else:
        lines = [f"{where}, row {line.name}, {metric}, profile {results.profile}", *_number(results, line, metric)]
        for trial in line.planned:
            lines += ["", *_of_trial(trial, metric)]
    lines += ["", f"  study {results.path}; store {results.store}"]
    return "\n".join([*lines, f"  run or resume all of it: {command(results)}"])


def _number(results: Results, line: RowResults, metric: str) -> list[str]:
    """Return the mean over seeds and, marked as what it is, the number that the paper prints."""
    show = SHOWN[metric]
    values = [value for t in line.finished if (value := _value(t, metric)) is not None]
    if values:
        varies = len(values) > 1 and (metric not in COSTS or len(set(values)) > 1)
        spread = f" ± {statistics.stdev(values):.4g} (sample standard deviation)" if varies else ""
        mean = show(statistics.fmean(values))
        lines = [f"  {mean}{spread} = mean over {len(values)} of {len(line.planned)} seeds"]
    else:
        lines = [f"  no number: {line.state.value}"]
    printed, papers = paper.rows_printed(results.table, [row.name for row in results.rows])
    about = papers.get(line.name)
    if printed and about and about.numbers.get(metric) is not None:
        text = f"{about.numbers[metric]} {PRINTED.get(metric, '')}".strip()
        lines.append(f"  the paper prints {text} ({printed.facts.setting})")
        warning = scale_warning(results)
        lines += [f"  {warning}"] if warning else []
    return lines


def _of_trial(trial: TrialRecord, metric: str) -> list[str]:
    value = _value(trial, metric)
    used = "" if trial.state is State.FINISHED else "  (not in the average)"
    lines = [f"  seed {trial.seed}: {trial.state.value if value is None else SHOWN[metric](value)}{used}"]
    return [*lines, *_record(trial)]


def _record(trial: TrialRecord) -> list[str]:
    """Return what a trial's number stands on: its key, what ran, when, on which code and data, and its files."""
    lines = [f"    trial {trial.key}"]
    result = trial.result
    if result:
        code = result.get("code") or {}
        lines += [
            f"    finished {result.get('finished_at')}; {result.get('epochs')} epochs{_seconds(result.get('seconds'))}",
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
        local = "" if can_be_opened_elsewhere(trial.link) else " (on this machine, while `farlab ui` runs)"
        lines.append(f"    run {trial.link}{local}")
    return lines


def _of_difference(results: Results, line: RowResults, where: str) -> list[str]:
    """Return the account of a row's differences: pairs, how they were computed, all rows' trials."""
    comparison = compare_rows(results)
    lines = [f"problem: {text}" for text in comparison.problems] if comparison else []
    for pair in asked_pairs(results):
        if pair[0] == line.name:
            lines += [f"{where}, row {line.name}, Δ top-1 against {pair[1]}, profile {results.profile}"]
            lines += [*_of_pair(results, pair, comparison), ""]
    return lines[:-1]


def _of_pair(results: Results, pair: tuple[str, str], comparison: Comparison | None) -> list[str]:
    line, base = results.row(pair[0]), results.row(pair[1])
    found = comparison.differences.get(pair) if comparison else None
    if comparison is None or found is None:
        states = f"{line.name} is {line.state.value}, {base.name} is {base.state.value}"
        lines = [f"  no number: no seed of both rows has finished with answers to compare ({states})"]
    else:
        lines = _how_computed(comparison, pair, found)
    for seed in dict.fromkeys(t.seed for t in (*line.planned, *base.planned)):
        if found is not None and seed in found.per_seed:
            gained, lost = found.counts[seed]
            said = (
                f"{_points(found.per_seed[seed])} points: of {found.videos} videos {gained} gained, "
                f"{lost} lost (McNemar's exact p = {found.mcnemar[seed]:.3g})"
            )
        else:
            said = "not a pair (not in the mean)"
        lines += ["", f"  seed {seed}: {said}"]
        for row in (line, base):
            for trial in (t for t in row.planned if t.seed == seed):
                value = _value(trial, "top1")
                state = trial.state.value if value is None else SHOWN["top1"](value)
                lines += [f"   {row.name}: {state}", *_record(trial)]
    return lines


def _how_computed(comparison: Comparison, pair: tuple[str, str], found: Difference) -> list[str]:
    interval = f" [{', '.join(_points(end) for end in found.interval)}]" if found.interval else ""
    lines = [
        f"  {_points(found.mean)} points{interval} = mean over {found.seeds} shared seeds, {found.videos} videos",
        "  computed: for each shared seed and video +1 if only the row answers it, -1 if only the other does, else 0;",
        f"    the mean is Δ; its standard error {found.se:.3g} has {found.df:.3g} degrees of freedom, by the variances "
        f"between seeds of {comparison.rows} rows",
    ]
    if found.p is not None:
        standing = comparison.standing
        lines.append(
            f"    p = {found.p:.3g} at look {standing.look} (t test; what is 0.05 here has level {standing.level:g}); "
            f"{comparison.adjusted[pair]:.3g} by Holm over the table"
        )
    if found.p_equal is not None:
        lines.append(
            f"    p = {found.p_equal:.3g} for equality within {comparison.margin:g} points (two one-sided tests); "
            f"{comparison.equal[pair]:.3g} by Holm"
        )
    why = comparison.standing.withheld or comparison.unclaimed.get(pair)
    return [*lines, f"  verdict: {verdict(comparison, pair)}{f' ({why})' if why else ''}"]


def _seconds(value: Any) -> str:
    return f", {SHOWN['seconds'](value)}" if isinstance(value, int | float) else ""


def _points(value: float) -> str:
    return number(value, 2, signed=True)


def _scaled(count: float) -> str:
    """Write a count in the paper's units: thousand millions (G), or millions (M)."""
    size, letter = (1e9, "G") if count >= 1e9 else (1e6, "M")
    return f"{count / size:.3g} {letter}" if count < 1000 * size else f"{count / size:,.0f} {letter}"


def _value(trial: TrialRecord, metric: str) -> float | None:
    found = (trial.result.get("metrics") or {}) if metric in metrics.METRICS else trial.result
    value = found.get(metric)
    return None if value is None else float(value)

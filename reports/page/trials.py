"""What a page prints of every trial and of every row's configuration, so that each number can be found again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from far.config import TrialConfig
from far.config.differences import leaves, shown
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import TrialRecord


@dataclass(frozen=True)
class RowSettings:
    """The configurations of a study's rows: both together are the whole of each.

    Attributes:
        shared: dotted settings that all rows have, with their values as the command line takes them.
        differing: by row, the others.
    """

    shared: Mapping[str, str]
    differing: Mapping[str, Mapping[str, str]]


def trial_lines(results: Results) -> list[dict[str, str]]:
    """Return a line per trial: row, seed, key, state, and the values that the table averages."""
    return [_line(trial) for row in results.rows for trial in row.planned]


def _line(trial: TrialRecord) -> dict[str, str]:
    result = trial.result
    finished = trial.state is State.FINISHED
    values = {title: trial.metric(name) for title, name in (("top-1", "top1"), ("top-5", "top5"), ("loss", "loss"))}
    return {
        "row": trial.row,
        "seed": str(trial.seed),
        "trial": trial.key,
        "state": trial.state.value,
        **{title: "–" if value is None else f"{value:.6g}" for title, value in values.items()},
        "evaluated": f"{result.get('evaluated')}/{result.get('expected')}" if finished else "–",
        "code": str((result.get("code") or {}).get("git") or "–")[:12],
        "finished at": str(result.get("finished_at") or "–"),
    }


def row_settings(results: Results) -> RowSettings | None:
    """Return what the rows' configurations share and in what they differ; None where they are not known."""
    if not results.configs:
        return None
    flat = {name: _flat(config) for name, config in results.configs.items()}
    first = next(iter(flat.values()))
    keys = list(dict.fromkeys(key for settings in flat.values() for key in settings))
    shared = {key for key in keys if all(settings.get(key) == first.get(key) for settings in flat.values())}
    return RowSettings(
        {key: first[key] for key in keys if key in shared},
        {name: {k: v for k, v in settings.items() if k not in shared} for name, settings in flat.items()},
    )


def _flat(config: TrialConfig) -> dict[str, str]:
    """Return every setting but the seed by its dotted key, as JSON, which is also YAML."""
    settings = leaves(config.model_dump(mode="json", exclude={"seed"}))
    return {key: shown(value) for key, value in settings.items()}

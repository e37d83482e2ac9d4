"""Results as data frames: a line a trial, a line an epoch, a line a video.

Numbers of a trial that must not be averaged are left out unless they are asked for, so that a mean over a frame is the
mean of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from far.config.differences import leaves, shown
from far.errors import ConfigError, DataError
from far.evaluate.metrics import METRICS
from far.store.paths import TrialPaths
from far.store.records import read_epochs
from reports.results.state import State
from reports.results.trials import TrialRecord

if TYPE_CHECKING:
    import pandas as pd

    from reports.results.results import Results

OF_RESULT = (
    "evaluated", "expected", "flops", "params", "epochs", "seconds", "peak_memory_bytes", "starts", "finished_at",
)  # fmt: skip
"""What a line of a trial takes from its result as it stands there."""
OF_EPOCH = ("train_loss", "val_loss", *(f"val_{name}" for name in METRICS if name != "loss"), "lr", "seconds")
OF_VIDEO = ("video", "label", "answer", "score", "label_score", "rank", "correct")
"""Answer and score are the likeliest class and its probability; ``label_score`` and ``rank`` (from 1) are the label's
own."""
Numbers = Callable[[TrialRecord], Iterator[dict[str, Any]]]


def to_frame(results: Results, by: str = "trial", *, every: bool = False) -> pd.DataFrame:
    """Return results as a data frame; see ``farlab.reporting.StudyResults.to_frame``.

    Raises:
        ConfigError: there are no such lines.
        DataError: a trial's predictions cannot be read.
    """
    import pandas as pd

    if by not in LINES:
        raise ConfigError(f"no frame has a line a '{by}'", key="by", choices=LINES, got=by)
    numbers, own = LINES[by]
    settings = sorted(results.varied) if by == "trial" else []
    columns = ["study", "profile", "row", "seed", "key", "state", "used", "why", *own, *settings]
    lines = []
    for row in results.rows:
        config = leaves(results.configs[row.name].model_dump(mode="json")) if row.name in results.configs else {}
        varied = {key: _plain(config.get(key)) for key in settings}
        for trial in row.planned:
            used = trial.state is State.FINISHED
            about = dict(zip(columns, (results.study, results.profile, row.name, trial.seed, trial.key,
                                       trial.state.value, used, trial.why), strict=False))  # fmt: skip
            found = numbers(trial) if used or every else iter([{}] if by == "trial" else [])
            lines += [{**about, **line, **varied} for line in found]
    return pd.DataFrame(lines, columns=columns)


def _of_trial(trial: TrialRecord) -> Iterator[dict[str, Any]]:
    metrics = trial.result.get("metrics") or {}
    yield {name: metrics.get(name) for name in METRICS} | {name: trial.result.get(name) for name in OF_RESULT}


def _of_epochs(trial: TrialRecord) -> Iterator[dict[str, Any]]:
    """Yield the epochs that are done, counted from 1."""
    for record in read_epochs(TrialPaths(trial.directory)) if trial.directory is not None else ():
        yield {"epoch": int(record["epoch"]) + 1} | {name: record.get(name) for name in OF_EPOCH}


def _of_videos(trial: TrialRecord) -> Iterator[dict[str, Any]]:
    """Yield the videos that were answered; one that could not be read is wrong, and has no line."""
    from reports.statistics.outcomes import read_scores

    if trial.directory is None:
        raise DataError(f"trial {trial.key} was read from a tracking server; its predictions are in the store alone")
    path = TrialPaths(trial.directory).predictions
    if trial.state is not State.FINISHED and not path.is_file():
        return
    scores = read_scores(path)
    best, ranks = scores.probabilities.argmax(axis=1), scores.ranks
    for index, name in enumerate(scores.ids):
        label, answer, likely = int(scores.labels[index]), int(best[index]), scores.probabilities[index]
        values = (name, label, answer, float(likely[answer]), float(likely[label]), int(ranks[index]))
        yield dict(zip(OF_VIDEO, (*values, bool(ranks[index] == 1)), strict=True))


LINES: dict[str, tuple[Numbers, tuple[str, ...]]] = {
    "trial": (_of_trial, (*METRICS, *OF_RESULT)),
    "epoch": (_of_epochs, ("epoch", *OF_EPOCH)),
    "video": (_of_videos, OF_VIDEO),
}
"""What a trial's lines say, and their columns."""


def _plain(value: Any) -> Any:
    return shown(value) if isinstance(value, dict | list) else value

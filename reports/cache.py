"""Answers of finished trials, read once from their predictions and kept in one small file beside the store.

A convenience: deleting it costs time, never a number. A store that cannot be written to is read without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from far.errors import DataError
from far.files import TrialPaths
from reports.results import Results, RowResults, TrialRecord
from reports.statistics.outcomes import Bits, Outcomes, read_scores, stack

FILE = "answers.sqlite"
SCHEMA = """
create table if not exists videos (hash text primary key, ids text);
create table if not exists answers (key text, metric text, stamp text, hash text, n integer, bits blob,
                                    primary key (key, metric));
"""
TOP = {"top1": 1, "top5": 5}
Answer = tuple[Sequence[str], Bits]


def row_outcomes(results: Results, metric: str = "top1") -> tuple[dict[str, Outcomes], list[str]]:
    """Return each row's answers by seed, and what was wrong with files that could not be read.

    Args:
        results: only finished trials are read.
        metric: ``top1`` or ``top5``.
    """
    trials = {trial.key: trial for trial in results.finished if trial.directory is not None}
    problems: list[str] = []
    answers = _answers(results.store, trials, metric, problems)
    return {row.name: _of_row(row, answers) for row in results.rows}, problems


def _of_row(row: RowResults, answers: Mapping[str, Answer]) -> Outcomes:
    expected = max((int(trial.result.get("expected") or 0) for trial in row.finished), default=0)
    return stack({t.seed: answers[t.key] for t in row.finished if t.key in answers}, expected)


def _answers(
    root: Path | None, trials: Mapping[str, TrialRecord], metric: str, problems: list[str]
) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    with _open(root) as base:
        known = _known(base, metric) if base else {}
        stale: dict[str, tuple[str, Path]] = {}
        for key, trial in trials.items():
            assert trial.directory is not None
            path = TrialPaths(trial.directory).predictions
            try:
                status = path.stat()
            except OSError:
                problems.append(f"{path}: missing, so that {trial.row} has no paired comparison")
                continue
            stamp = f"{status.st_size}-{status.st_mtime_ns}"
            if key in known and known[key][0] == stamp:
                found[key] = known[key][1]
            else:
                stale[key] = (stamp, path)
        fresh = _read(stale, metric, problems)
        found |= {key: answer for key, (_, answer) in fresh.items()}
        if base and fresh:
            _remember(base, metric, fresh)
    return found


def _read(stale: Mapping[str, tuple[str, Path]], metric: str, problems: list[str]) -> dict[str, tuple[str, Answer]]:
    """Read predictions, several files at once: most of the time is spent outside Python."""

    def one(path: Path) -> Answer | str:
        try:
            scores = read_scores(path)
        except DataError as error:
            return str(error)
        ids = same.setdefault(scores.ids, scores.ids)  # thousands of trials have the same videos: keep them once
        return ids, scores.correct(TOP[metric])

    same: dict[Sequence[str], Sequence[str]] = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        answers = list(pool.map(one, [path for _, path in stale.values()]))
    fresh: dict[str, tuple[str, Answer]] = {}
    for (key, (stamp, _)), answer in zip(stale.items(), answers, strict=True):
        if isinstance(answer, str):
            problems.append(answer)
        else:
            fresh[key] = (stamp, answer)
    return fresh


@contextlib.contextmanager
def _open(root: Path | None) -> Iterator[sqlite3.Connection | None]:
    """Open the cache; None where it cannot be made or is in other hands."""
    base = None
    with contextlib.suppress(sqlite3.Error, OSError):
        if root is not None and root.is_dir():
            base = sqlite3.connect(root / FILE, timeout=2.0)
            base.executescript(SCHEMA)
    try:
        yield base
    finally:
        if base:
            base.close()


def _known(base: sqlite3.Connection, metric: str) -> dict[str, tuple[str, Answer]]:
    try:
        ids = {name: tuple(json.loads(text)) for name, text in base.execute("select hash, ids from videos")}
        rows = base.execute("select key, stamp, hash, n, bits from answers where metric = ?", (metric,))
        return {key: (stamp, (ids[h], _unpack(bits, n))) for key, stamp, h, n, bits in rows if h in ids}
    except (sqlite3.Error, ValueError):
        return {}


def _unpack(bits: bytes, n: int) -> Bits:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=n).astype(bool)


def _remember(base: sqlite3.Connection, metric: str, fresh: Mapping[str, tuple[str, Answer]]) -> None:
    texts: dict[Sequence[str], tuple[str, str]] = {}
    rows = []
    for key, (stamp, (ids, bits)) in fresh.items():
        if ids not in texts:
            text = json.dumps(ids)
            texts[ids] = (hashlib.sha256(text.encode()).hexdigest(), text)
        rows.append((key, metric, stamp, texts[ids][0], len(bits), np.packbits(bits).tobytes()))
    with contextlib.suppress(sqlite3.Error), base:
        base.executemany("insert or ignore into videos values (?, ?)", texts.values())
        base.executemany("insert or replace into answers values (?, ?, ?, ?, ?, ?)", rows)

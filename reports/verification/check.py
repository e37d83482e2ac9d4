"""Whether a table that FARLab wrote still says what its trials say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from far.config import TrialConfig
from far.errors import ConfigError, DataError, FarError
from far.store import correctness
from far.store.environment import code_version
from far.store.paths import TrialPaths
from orchestrator.plan.lockfile import load_lockfile, locked_keys
from orchestrator.store.store import Store
from orchestrator.study.paper import paper_facts
from orchestrator.workspace.plugins import load_trial_plugins, load_where_they_were
from reports.renderers import RENDERERS, SUFFIXES
from reports.results.cached_store import ReadOnce
from reports.results.changed_code import with_stale
from reports.results.results import Results
from reports.results.search import read_search
from reports.results.state import State
from reports.results.trials import STATE_OF, TrialRecord
from reports.results.validity import contradiction
from reports.tables.columns import with_columns
from reports.tables.model import Table, folded
from reports.tables.registry import BUILDERS, build_tables
from reports.verification.printed import READERS, PrintedDocument, PrintedTable
from reports.verification.record import (
    DIGEST,
    VERSION,
    Record,
    digest_of,
    listed_trials,
    lock_digest,
    parts,
    short,
    trial_digest,
)
from reports.verification.verdict import Finding, Kind, Verdict

SAME = 1e-9
"""Relative difference of numbers that count as equal."""
MOST_SHOWN = 60
"""Characters of a text in a message."""


def verify(path: Path, store: Path) -> list[Verdict]:
    """Verify every table of a file.

    Args:
        path: a file that ``farlab report`` wrote.
        store: where its trials lie; nothing is written into it.

    Raises:
        ConfigError: the file cannot be read, or is of no format that has tables to verify.
    """
    document = _read(path)
    place = ReadOnce(store)
    return [_verify(printed, document, place) for printed in document.tables]


def _read(path: Path) -> PrintedDocument:
    format_ = SUFFIXES.get(path.suffix.lower(), "")
    if format_ not in READERS:
        suffixes = [suffix for suffix, name in SUFFIXES.items() if name in READERS]
        raise ConfigError("no table of this format can be verified", where=str(path), choices=suffixes, got=path.suffix)
    try:
        document = READERS[format_](path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise ConfigError(f"cannot be read as {format_}: {error}", where=str(path)) from None
    if not document.tables:
        raise ConfigError("holds no table of farlab report", where=str(path))
    return document


def _verify(printed: PrintedTable, document: PrintedDocument, store: Store) -> Verdict:
    verdict = Verdict(" ".join(printed.title)[:MOST_SHOWN] or "a table")
    record = _record(printed, verdict)
    if record is None:
        return verdict
    found = record.get("results") or {}
    where = ", ".join(str(found[name]) for name in ("study", "profile") if found.get(name))
    verdict.title = f"table {record['table']}" + (f" ({where})" if where else "")
    edited = _edited(printed, document, record, verdict)
    try:
        results = _results(record, store, verdict) if record.get("results") else None
        table = _made_again(record, results, store)
    except (FarError, ValueError, TypeError, KeyError) as error:
        verdict.found(Kind.UNTRACEABLE, f"cannot be made again: {error}")
        return verdict
    if table is not None:
        _compare(printed, table, record, edited, verdict)
    if results is not None:
        _since(record, results, store, verdict)
    _code(record, results, verdict)
    return verdict


def _record(printed: PrintedTable, verdict: Verdict) -> Record | None:
    """Return a table's record as far as it can be used."""
    if printed.record is None:
        verdict.found(
            Kind.UNTRACEABLE, "it has no record of its trials: an earlier FARLab wrote it, or the record was removed"
        )
        return None
    try:
        record: Record = json.loads(printed.record)
        version = record["version"]
        held = record[DIGEST]
        assert isinstance(record["trials"], dict) and isinstance(record["rows"], dict)
    except (ValueError, KeyError, TypeError, AssertionError):
        verdict.found(Kind.EDITED, "its record is damaged")
        return None
    if version != VERSION:
        verdict.found(Kind.UNTRACEABLE, f"its record is of version {version}, and this FARLab reads {VERSION}")
        return None
    if held != digest_of(record):
        verdict.found(Kind.EDITED, "its record does not match its own digest")
    return record


def _edited(printed: PrintedTable, document: PrintedDocument, record: Record, verdict: Verdict) -> set[str]:
    """Note what no longer is as it was written; return the names of rows that are not."""
    now = parts(printed, document)
    for name, said in (("title", "the title or what stands above the table"), ("columns", "the headings")):
        if now[name] != record.get(name):
            verdict.found(Kind.EDITED, said)
    rows: Mapping[str, str] = record["rows"]
    lost = [name for name in rows if name not in now["rows"]]
    new = [name for name in now["rows"] if name not in rows]
    for name in lost:
        verdict.found(Kind.EDITED, f"row '{name}' is no longer there under this name")
    for name in new:
        verdict.found(Kind.EDITED, f"row '{name}' was not there under this name")
    if not lost and not new and now["order"] != record.get("order"):
        verdict.found(Kind.EDITED, "the order of the rows")
    changed = {name for name, digest in now["rows"].items() if rows.get(name, digest) != digest}
    for name, listed in printed.trials.items():
        if listed != listed_trials(record, name.partition("#")[0] if name not in rows else name):
            verdict.found(Kind.EDITED, f"row '{name}', trials: '{_cut(listed)}'")
    notes: Sequence[str] = record.get("notes") or ()
    if len(notes) != len(now["notes"]):
        verdict.found(Kind.EDITED, f"{len(now['notes'])} lines under the table, where {len(notes)} were written")
    for number, (before, text) in enumerate(zip(notes, printed.notes, strict=False), start=1):
        if before != short(text):
            verdict.found(Kind.EDITED, f"line {number} under the table: '{_cut(text)}'")
    if now["rest"] != record.get("rest"):
        verdict.found(Kind.EDITED, "the document outside of its tables")
    for name in changed:
        verdict.found(Kind.EDITED, f"row '{name}'")
    return {*changed, *new}


def _results(record: Record, store: Store, verdict: Verdict) -> Results:
    """Return the table's results again: its trials, with numbers that come from their predictions."""
    known: dict[str, TrialRecord] = {}
    collected: dict[str, list[TrialRecord]] = {}
    for name, trials in record["trials"].items():
        collected[name] = []
        for seed, (key, digest) in trials.items():
            if key not in known:
                known[key] = _trial(name, int(seed), key, digest, store, verdict)
            collected[name].append(replace(known[key], row=name, seed=int(seed)))
    for key in known:
        load_where_they_were(store.trial(key).get("plugins") or [])
        load_trial_plugins(store.paths(key).directory)
    plain = {key: _as_field(value) for key, value in record["results"].items()}
    configs = {}
    for name, found in collected.items():
        config = next((trial.config for trial in found if trial.config), None)
        if config is not None:
            configs[name] = TrialConfig.model_validate(dict(config))
    if "varied" in plain:
        plain["varied"] = frozenset(plain["varied"])
    results = Results(
        collected=collected, store=store.root, home=store.root, recorded_claims=True, configs=configs, **plain
    )
    then = {key for trials in record["trials"].values() for key, digest in trials.values() if digest == State.STALE}
    results = with_stale(replace(results, search=_search(results, store)), only=then)
    for trial in (t for row in results.rows for t in row.planned if t.key in then and t.state is not State.STALE):
        verdict.found(
            Kind.STALE,
            f"trial {trial.key} ('{trial.row}', seed {trial.seed}) was left out when the table was written, since the "
            "code had changed; now it counts",
        )
    return results


def _as_field(value: Any) -> Any:
    """Return a value as results hold it: sequences as tuples."""
    if isinstance(value, dict):
        return {key: _as_field(inner) for key, inner in value.items()}
    return tuple(_as_field(inner) for inner in value) if isinstance(value, list) else value


def _search(results: Results, store: Store) -> Any:
    path = store.study(results.study).lockfile(results.profile)
    return (
        read_search(load_lockfile(path), store)
        if path.exists() and store.study(results.study).search.exists()
        else None
    )


def _trial(row: str, seed: int, key: str, digest: str, store: Store, verdict: Verdict) -> TrialRecord:
    """Return a trial of the store with its numbers recomputed, and note how it differs from the one of the table."""
    state = STATE_OF.get(store.states([key])[key], State.MISSING)
    directory = store.paths(key).directory
    result: Any = store.result(key) if state not in (State.MISSING, State.RUNNING) else None
    trial = TrialRecord(row, seed, key, state, result or {}, directory, store.trial(key).get("identity") or {})
    now = trial_digest(trial)
    if now != digest and digest != State.STALE:
        before = f"was {digest}" if digest in {each.value for each in State} else "had other numbers or other code"
        if state is State.MISSING:
            verdict.found(Kind.UNTRACEABLE, f"trial {key} ('{row}', seed {seed}) is not in the store {store.root}")
        else:
            verdict.found(
                Kind.STALE, f"trial {key} ('{row}', seed {seed}) {before} when the table was written; now it is {state}"
            )
    if state is not State.FINISHED:
        return trial
    verdict.trials += 1
    recomputed = _recomputed(trial, verdict)
    return trial if contradiction(trial.result) else replace(trial, result=recomputed)  # what is invalid stays so


def _recomputed(trial: TrialRecord, verdict: Verdict) -> dict[str, Any]:
    """Return a trial's result with accuracies, answers and the number of videos from its predictions."""
    from reports.statistics.outcomes import read_scores

    assert trial.directory is not None
    result = dict(trial.result)
    try:
        scores = read_scores(TrialPaths(trial.directory).predictions)
    except DataError as error:
        verdict.found(Kind.UNTRACEABLE, f"the predictions of trial {trial.key} ('{trial.row}'): {error}")
        return result
    expected = max(int(result.get("expected") or 0), len(scores.ids), 1)
    metrics = dict(result.get("metrics") or {})
    for name, k in correctness.TOP.items():
        value = 100 * float(np.count_nonzero(scores.correct(k))) / expected
        if metrics.get(name) is None or abs(metrics[name] - value) > SAME * 100:
            verdict.found(
                Kind.WRONG,
                f"trial {trial.key} ('{trial.row}', seed {trial.seed}): result.json says {name} {metrics.get(name)}, "
                f"and its predictions give {value:g}",
            )
            metrics[name] = value
    answers = correctness.pack(scores.ids, scores.ranks, scores.classes)
    if result.get("answers") and dict(result["answers"]) != answers:
        verdict.found(
            Kind.WRONG, f"trial {trial.key} ('{trial.row}'): result.json has other answers than its predictions"
        )
    return {**result, "metrics": metrics, "answers": answers, "evaluated": len(scores.ids)}


def _made_again(record: Record, results: Results | None, store: Store) -> Table | None:
    """Return the table that these trials give now."""
    if results is None:
        number = int(record["table"])
        table: Table | None = BUILDERS[paper_facts()[number].kind](number, None)
    else:
        table = next((table for table in build_tables(results) if table.key == record["table"]), None)
    chosen = record.get("chosen")
    return with_columns(table, chosen) if table is not None and chosen else table


def _compare(printed: PrintedTable, table: Table, record: Record, edited: set[str], verdict: Verdict) -> None:
    """Note every text that differs from the one that its trials give."""
    again = _drawn(table, record)
    if again.columns != printed.columns:  # a page folds columns that say the same everywhere
        again = _drawn(folded(table), record)
    for name, texts in again.rows.items():
        own = printed.rows.get(name)
        if own is None:
            if name in record["rows"]:
                continue  # said already
            verdict.found(Kind.STALE, f"row '{name}' is missing")
            continue
        for column, text in texts.items():
            verdict.compared += 1
            if column not in own:
                if name not in edited:
                    verdict.found(Kind.STALE, f"row '{name}' has no '{column}'")
            elif not _same(own[column], text):
                kind = Kind.EDITED if name in edited else Kind.WRONG
                if kind is Kind.EDITED:
                    whole = Finding(Kind.EDITED, f"row '{name}'")
                    verdict.findings = [each for each in verdict.findings if each != whole]
                verdict.found(
                    kind, f"row '{name}', {column}: '{_cut(own[column])}', and its trials give '{_cut(text)}'"
                )


def _drawn(table: Table, record: Record) -> PrintedTable:
    """Return what a table says in the format, and in the style, of the record."""
    name = record["format"]
    return READERS[name](RENDERERS[name]([table], **record.get("style", {}))).tables[0]


def _same(printed: str, again: str) -> bool:
    if printed == again:
        return True
    try:
        a, b = float(printed), float(again)
    except ValueError:
        return False
    return abs(a - b) <= SAME * max(abs(a), abs(b), 1.0)


def _since(record: Record, results: Results, store: Store, verdict: Verdict) -> None:
    """Note what was submitted since the table was written."""
    if record.get("lock") in (None, lock_digest(results)):
        return
    keys = locked_keys(store.study(results.study).lockfile(results.profile))
    before = len(verdict.findings)
    for name, trials in record["trials"].items():
        if name not in keys:
            verdict.found(Kind.STALE, f"row '{name}' is not in the study as it was submitted since")
            continue
        other = [seed for seed, (key, _) in trials.items() if keys[name].get(int(seed), key) != key]
        more = [seed for seed in keys[name] if str(seed) not in trials]
        if other:
            text = f"row '{name}' has other trials in the study as it was submitted since (seeds {_list(other)})"
            verdict.found(Kind.STALE, text)
        if more:
            verdict.found(Kind.STALE, f"row '{name}' has more seeds now: {_list(more)}")
    if len(verdict.findings) == before:
        verdict.found(Kind.STALE, "the study was submitted again since, with other rows or seeds")


def _code(record: Record, results: Results | None, verdict: Verdict) -> None:
    """Say which code made the table and its trials, where it is not the code that verifies."""
    here = code_version()
    if record.get("by") != here:
        verdict.remarks.append(f"the table was laid out by {_version(record.get('by'))}; this is {_version(here)}")
    by_code: dict[str, list[str]] = {}
    for trial in results.finished if results is not None else ():
        if trial.result.get("code") != here:
            by_code.setdefault(_version(trial.result.get("code")), []).append(trial.key)
    for code, keys in by_code.items():
        verdict.remarks.append(f"{len(set(keys))} of its trials were trained by {code}; this is {_version(here)}")


def _version(code: Any) -> str:
    if not isinstance(code, Mapping):
        return "unknown code"
    commit = f" at {str(code['git'])[:10]}" if code.get("git") else ""
    return f"farlab {code.get('version')}{commit}" + (" with uncommitted changes" if code.get("dirty") else "")


def _list(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"

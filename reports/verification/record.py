"""The record of a table: which trials it shows, in which version, and digests of what it says.

Written into the file as a comment (LaTeX, Markdown), an attribute (HTML), a key (JSON) or columns (CSV). It holds no
secret: whoever forges it as well is found out by making the table again from the predictions.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

from pydantic_core import from_json, to_json

from far.store.environment import code_version
from orchestrator.plan.lockfile import locked_keys
from orchestrator.store.store import Store
from reports.renderers.csv_ import quoted
from reports.renderers.templates import as_html
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import TrialRecord
from reports.tables.model import Origin, Table
from reports.verification.printed import ATTRIBUTE, MARK, READERS, TRIALS, PrintedDocument, PrintedTable

VERSION = 1
DIGEST = "sha256"
SHORT = 8
"""Hexadecimal digits of the digest of a part."""
LINE = 110
"""Characters of a record on a line of LaTeX."""
NOT_RECORDED = ("collected", "configs", "problems", "path", "store", "home", "tracking_uri", "other_frames", "search")
"""What results hold beside the plain facts that a table is laid out by."""
Record = dict[str, Any]


def sealed(text: str, format_: str, tables: Sequence[Table], style: Mapping[str, Any] | None = None) -> str:
    """Return a document with a record in each of its tables; formats that nobody reads back stay as they are.

    Args:
        text: as it was rendered from the tables.
        format_: name of the renderer.
        tables: in the order of the document.
        style: what the renderer was given beside the tables.
    """
    if format_ not in READERS:
        return text
    document = READERS[format_](text)
    if len(document.tables) < len(tables):
        tables = [table for table in tables if table.rows]  # CSV has no line for a table without rows
    records = [
        make_record(table, printed, document, format_, style)
        for table, printed in zip(tables, document.tables, strict=True)
    ]
    return _WRITERS[format_](text, records)


def make_record(
    table: Table,
    printed: PrintedTable,
    document: PrintedDocument,
    format_: str,
    style: Mapping[str, Any] | None = None,
) -> Record:
    """Return the record of one table."""
    results = table.source
    record: Record = {
        "version": VERSION,
        "by": code_version(),
        "format": format_,
        "table": table.key,
        "results": facts(results) if results is not None else None,
        "trials": trials_of(results) if results is not None else {},
        **({"chosen": table.chosen} if table.chosen else {}),
        **({"style": style} if style else {}),
        "lock": lock_digest(results) if results is not None else None,
        **parts(printed, document),
    }
    record[DIGEST] = digest_of(record)
    return record


def parts(printed: PrintedTable, document: PrintedDocument) -> dict[str, Any]:
    """Return the digests of what a table says, part by part."""
    return {
        "title": short(printed.title),
        "columns": short(printed.columns),
        "order": short(list(printed.rows)),
        "rows": {name: short(texts) for name, texts in printed.rows.items()},
        "notes": [short(note) for note in printed.notes],
        "rest": short(document.rest),
    }


def digest_of(record: Mapping[str, Any]) -> str:
    """Return the digest of a record, which it holds itself."""
    text = json.dumps({key: value for key, value in record.items() if key != DIGEST}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def short(value: object) -> str:
    """Return a digest of plain data, to tell whether it is still the same."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:SHORT]


def facts(results: Results) -> dict[str, Any]:
    """Return what a table is laid out by, beside its trials."""
    found = {}
    for each in fields(results):
        value = getattr(results, each.name)
        if each.name in NOT_RECORDED or value == _default(each):
            continue
        found[each.name] = _plain(value)
    return found


def _default(described: Field[Any]) -> Any:
    return described.default if described.default_factory is MISSING else described.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return value


def trials_of(results: Results) -> dict[str, dict[str, list[str]]]:
    """Return key and digest of each row's trials by seed; of a trial without a result, key and state."""
    return {
        row.name: {str(trial.seed): [trial.key, trial_digest(trial)] for trial in row.planned} for row in results.rows
    }


def trial_digest(trial: TrialRecord) -> str:
    """Return a digest of a trial's numbers, answers and code; its state where it has none."""
    if trial.state not in (State.FINISHED, State.INCOMPARABLE, State.INVALID) or not trial.result:
        return trial.state.value
    return short([trial.result.get("metrics"), trial.result.get("answers"), trial.result.get("code")])


def lock_digest(results: Results) -> str | None:
    """Return a digest of the keys with which the study was submitted; None where it was not."""
    if results.store is None:
        return None
    path = Store(results.store).study(results.study).lockfile(results.profile)
    keys = locked_keys(path) if path.exists() else {}
    return (
        short({row: {str(seed): key for seed, key in trials.items()} for row, trials in keys.items()}) if keys else None
    )


def as_text(record: Mapping[str, Any]) -> str:
    """Return a record on one line, in ASCII."""
    return json.dumps(record, separators=(",", ":"))


def _into_markdown(text: str, records: Sequence[Record]) -> str:
    pieces = re.split(r"(?m)^(?=### )", text)
    sealed_pieces = [
        f"{piece.rstrip()}\n\n<!-- {MARK}: {as_text(record).replace('--', chr(45) + chr(92) + 'u002d')} -->\n"
        for piece, record in zip(pieces[1:], records, strict=True)
    ]
    return pieces[0] + "\n".join(sealed_pieces)


def _into_latex(text: str, records: Sequence[Record]) -> str:
    def comment(record: Record) -> str:
        line = as_text(record)
        return "".join(f"% {MARK}: {line[at : at + LINE]}\n" for at in range(0, len(line), LINE))

    return _before_each(text, r"(?m)^\\end\{table\*?\}", map(comment, records))


def _into_html(text: str, records: Sequence[Record]) -> str:
    attributes = (f' {ATTRIBUTE}="{as_html(as_text(record))}"' for record in records)
    return _before_each(text, r'(?<=<section class="table")(?= id=)', attributes)


def _before_each(text: str, pattern: str, inserted: Iterable[str]) -> str:
    found = iter(inserted)
    return re.sub(pattern, lambda hit: next(found) + hit[0], text)


def _into_csv(text: str, records: Sequence[Record]) -> str:
    buffer, left = io.StringIO(), iter(records)
    lines = csv.DictReader(io.StringIO(text))
    writer = csv.DictWriter(buffer, [*(lines.fieldnames or ()), TRIALS, MARK], lineterminator="\n")
    writer.writeheader()
    record: Record = {}
    last = None
    for line in lines:
        first = line["table"] != last
        record, last = next(left) if first else record, line["table"]
        trials = listed_trials(record, line["row"]) if line["origin"] == Origin.MEASURED else ""
        writer.writerow({**line, TRIALS: trials, MARK: as_text(record) if first else ""})
    return buffer.getvalue()


def listed_trials(record: Record, name: str) -> str:
    """Return the trials of a row as CSV lists them; empty for a row that has none.

    Args:
        record: of the table.
        name: the row's, as it stands in the file.
    """
    trials = {quoted(row): found for row, found in record["trials"].items()}.get(name, {})
    return " ".join(f"{seed}:{key}" for seed, (key, _) in trials.items())


def _into_json(text: str, records: Sequence[Record]) -> str:
    whole = from_json(text)
    for each, record in zip(whole if isinstance(whole, list) else [whole], records, strict=True):
        each[MARK] = record
    return to_json(whole, indent=2, inf_nan_mode="null").decode() + "\n"


_WRITERS: Mapping[str, Callable[[str, Sequence[Record]], str]] = {
    "md": _into_markdown,
    "latex": _into_latex,
    "html": _into_html,
    "csv": _into_csv,
    "json": _into_json,
}

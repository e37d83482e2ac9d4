"""What a network says of videos, in the formats of ``farlab predict``."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from far.errors import ConfigError
from far.registry import Registry
from far.store.atomic import write_atomic
from far.text import printable, rounded
from orchestrator.cli.inputs import COMMAND_LINE
from orchestrator.cli.quiet import talk

if TYPE_CHECKING:
    from far.trained.classifier import Answers

FORMATS: Registry[Callable[[Answers, int], str | bytes]] = Registry("format", "--format")
"""Each maps answers, and how many classes a video are wanted, to the content of a file."""
SUFFIXES = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "term"}
BINARY = {"parquet"}
"""Formats that are for files alone."""
ONE_CLASS = {"answers"}
"""Formats that have room for one class a video."""


@FORMATS.register("term")
def as_text(answers: Answers, top: int) -> str:
    """A line a video and class, in columns: probability in percent, name of the class, video."""
    records = answers.best(top)
    width = max((len(printable(each["class"])) for each in records), default=0)
    lines = (
        f"{rounded(100 * r['score'], 1):5} %  {printable(r['class']):{width}}  {printable(r['video'])}\n"
        for r in records
    )
    return "".join(lines)


@FORMATS.register("csv")
def as_csv(answers: Answers, top: int) -> str:
    """A line a video and class: video, rank, label, class, score."""
    from far.trained.classifier import COLUMNS

    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(answers.best(top))
    return buffer.getvalue()


@FORMATS.register("json")
def as_json(answers: Answers, top: int) -> str:
    """The same records as of CSV, the views, and the videos that could not be read."""
    clips, crops = answers.views
    whole = {
        "views": {"clips": clips, "crops": crops},
        "classes": list(answers.classes),
        "predictions": answers.best(top),
        "unreadable": dict(answers.unreadable),
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


@FORMATS.register("parquet")
def as_parquet(answers: Answers, top: int) -> bytes:
    """The same columns as of CSV."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [("video", pa.string()), ("rank", pa.int32()), ("label", pa.int32()), ("class", pa.string()),
             ("score", pa.float64())]  # fmt: skip
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(answers.best(top), pa.schema(kinds)), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@FORMATS.register("answers")
def as_answers(answers: Answers, top: int) -> str:
    """``id;class`` a line, without a header: as Something-Something V2's own ``test-answers.csv`` is written."""
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";", lineterminator="\n").writerows(
        (each["video"], each["class"]) for each in answers.best(1)
    )
    return buffer.getvalue()


def chosen_format(name: str | None, output: Path | None, top: int) -> str:
    """Return the format that is asked for, by the file's ending where ``--format`` is not given; asked early.

    Raises:
        ConfigError: there is none, or it cannot be had.
    """
    if name is None and output is not None and output.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            "no format has this ending; say --format", key="--output", choices=SUFFIXES, got=output.suffix
        )
    chosen = name or (SUFFIXES[output.suffix.lower()] if output is not None else "term")
    if chosen not in FORMATS:
        raise ConfigError(f"unknown format '{chosen}'", key="--format", choices=FORMATS, got=chosen)
    if chosen in BINARY and output is None:
        raise ConfigError(f"{chosen} is no text: name a file with -o", key="--format", where=COMMAND_LINE)
    if chosen in ONE_CLASS and top != 1:
        raise ConfigError(f"has no effect with --format {chosen}", key="--top", where=COMMAND_LINE)
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        what = "is a folder" if output.is_dir() else f"no folder {output.parent} to write into"
        raise ConfigError(what, key="--output", where=str(output))
    return chosen


def written(answers: Answers, top: int, name: str, output: Path | None) -> None:
    """Print answers, or write them into a file and say so."""
    content = FORMATS[name](answers, top)
    if output is None:
        sys.stdout.write(str(content))
        return
    write_atomic(output, content)
    talk(f"wrote {output}: {len(answers)} videos")

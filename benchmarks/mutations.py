"""How surely ``farlab verify`` catches a table that was tampered with: ``python -m benchmarks.mutations [--seed S]``.

A store is filled with trials as training writes them, reports are written in every format, and each is changed in one
place: a digit, a sign, two rows' names swapped, a cell from an older run, a cell from another number of seeds. Goals:
199 of 200 changes caught, no alarm for a table as it was written, 5 s for a file.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report_speed import STUDY, fill
from far.errors import ConfigError
from orchestrator.store.store import Store
from reports.renderers import RENDERERS
from reports.results.collect import collect
from reports.tables.registry import build_all
from reports.verification.check import verify
from reports.verification.printed import MARK, READERS
from reports.verification.record import sealed

SUFFIXES = {"md": ".md", "latex": ".tex", "html": ".html", "csv": ".csv", "json": ".json"}
SEEDS, FEWER = 3, 2
Documents = Mapping[str, str]
"""Text by format."""
Mutation = Callable[[str, str, random.Random], str | None]
"""From a document, its format and a source of chance to a changed document; None where there is nothing to change."""


def documents(workspace: Path, seeds: int) -> Documents:
    """Return the report on a workspace's trials in every format."""
    with inside(workspace):
        tables = build_all([], collect([STUDY], seeds=seeds, store=workspace / "runs"))
        return {name: sealed(RENDERERS[name](tables), name, tables) for name in SUFFIXES}


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in another directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def numbers(text: str, format_: str) -> list[re.Match[str]]:
    """Return the numbers that stand in a document's rows, its record left out."""
    start, end = region(text, format_)
    found = re.finditer(r"\d+(?:\.\d+)?", text)
    return [hit for hit in found if start <= hit.start() < end and not _is_markup(text, hit, format_)]


def region(text: str, format_: str) -> tuple[int, int]:
    """Return where the rows of the first table begin and end."""
    first, last = {
        "md": ("|:---", f"<!-- {MARK}"),
        "latex": ("\\midrule", "\\bottomrule"),
        "html": ("<tbody>", "</tbody>"),
        "csv": ("\n", None),
        "json": ('"rows"', '"notes"'),
    }[format_]
    begin = text.index(first)
    return text.index("\n", begin) if format_ == "md" else begin, len(text) if last is None else text.index(last, begin)


def _is_markup(text: str, hit: re.Match[str], format_: str) -> bool:
    if format_ == "html":  # between < and > only a cell's title says something
        tag = text.rfind("<", 0, hit.start())
        return text.find(">", tag) > hit.start() and 'title="' not in text[tag : hit.start()]
    if format_ == "csv":
        line = text[text.rfind("\n", 0, hit.start()) + 1 : hit.start()]
        return '"{' in line or text[hit.start() - 1] == "\n"
    if format_ == "latex":
        return text[: hit.start()].endswith(("{", "multicolumn{"))
    return False


def change_digit(text: str, format_: str, draw: random.Random) -> str | None:
    """Change one digit of a number."""
    hit = draw.choice(numbers(text, format_))
    at = draw.randrange(hit.start(), hit.end())
    while not text[at].isdigit():
        at = draw.randrange(hit.start(), hit.end())
    other = draw.choice([digit for digit in "0123456789" if digit != text[at]])
    return text[:at] + other + text[at + 1 :]


def change_sign(text: str, format_: str, draw: random.Random) -> str | None:
    """Give a number the other sign."""
    hit = draw.choice(numbers(text, format_))
    minus = "$-$" if format_ == "latex" else "-" if format_ in ("csv", "json") else "−"
    before = text[: hit.start()]
    for sign in (minus, "+"):
        if before.endswith(sign):
            return before.removesuffix(sign) + ("+" if sign == minus else minus) + text[hit.start() :]
    return before + minus + text[hit.start() :]


def swap_rows(text: str, format_: str, draw: random.Random) -> str | None:
    """Give two rows each other's names."""
    names = list(READERS[format_](text).tables[0].rows)
    if format_ in ("csv", "json"):
        names = [name for name in names if name]
    one, other = draw.sample(names, 2)
    start, end = region(text, format_)
    places = [_cell_of(text, name, format_, start, end) for name in (one, other)]
    if None in places:
        return None
    (first, a), (second, b) = sorted(((place, name) for place, name in zip(places, (one, other), strict=True)))  # type: ignore[type-var]
    assert first is not None and second is not None
    text = text[:second] + a + text[second + len(b) :]
    return text[:first] + b + text[first + len(a) :]


def _cell_of(text: str, name: str, format_: str, start: int, end: int) -> int | None:
    """Return where the first cell of a row begins."""
    opening = {"md": r"\n\| ", "latex": r"\n", "html": r'<t[dh] class="label[^>]*>', "csv": r"\n[^,\n]*,"}
    before = opening.get(format_, r'"row": "')
    hit = re.compile(f'(?:{before})({re.escape(name)})(?=[ |&<,"])').search(text, start, end)
    return hit.start(1) if hit else None


def take_cell_from(others: Documents) -> Mutation:
    """Return a change that puts a cell of another report in place of the same row's and column's."""

    def take(text: str, format_: str, draw: random.Random) -> str | None:
        own, other = (READERS[format_](each).tables[0] for each in (text, others[format_]))
        cells = [
            (name, column, value, other.rows[name][column])
            for name, values in own.rows.items()
            for column, value in values.items()
            if value and name in other.rows and other.rows[name].get(column, value) != value
        ]
        draw.shuffle(cells)
        start, end = region(text, format_)
        for name, _, value, replacement in cells:
            row = _cell_of(text, name, format_, start, end)
            row = start if row is None else row
            at = text.find(value, row, end)
            if at >= 0 and replacement:
                return text[:at] + replacement + text[at + len(value) :]
        return None

    return take


def mutations(older: Documents, fewer: Documents) -> dict[str, Mutation]:
    """Return every kind of change by its name.

    Args:
        older: the same report from an older run.
        fewer: from other seeds.
    """
    return {
        "digit": change_digit,
        "sign": change_sign,
        "swapped rows": swap_rows,
        "old run": take_cell_from(older),
        "other seed count": take_cell_from(fewer),
    }


def is_caught(file: Path, store: Path) -> bool:
    """Whether a file is found to be wrong, or is none any more (JSON with a digit too many in front)."""
    try:
        return any(verdict.findings for verdict in verify(file, store))
    except ConfigError:
        return True


World = tuple[Path, Documents, Documents, Documents]
"""What ``stores`` returns."""


def stores(folder: Path, videos: int) -> World:
    """Return a workspace, the report on it, that of an older run, and that of fewer seeds."""
    here, before = folder / "now", folder / "before"
    for workspace, number in ((here, videos), (before, videos // 2)):
        fill(Store(workspace / "runs"), SEEDS, number)
        (workspace / "farlab.toml").touch()
    return here, documents(here, SEEDS), documents(before, SEEDS), documents(here, FEWER)


def survey(folder: Path, count: int, seed: int, world: World) -> dict[str, object]:
    """Mutate so many documents, evenly over kinds and formats; return what was caught, what not, and the times."""
    workspace, now, older, fewer = world
    kinds, draw = mutations(older, fewer), random.Random(seed)
    caught: dict[str, list[bool]] = {kind: [] for kind in kinds}
    missed, seconds = [], []
    number = 0
    while sum(map(len, caught.values())) < count:
        kind, format_ = list(kinds)[number % len(kinds)], list(SUFFIXES)[number // len(kinds) % len(SUFFIXES)]
        number += 1
        text = kinds[kind](now[format_], format_, draw)
        if text is None or text == now[format_]:
            continue
        file = folder / f"table-{number}{SUFFIXES[format_]}"
        file.write_text(text, encoding="utf-8")
        started = time.perf_counter()
        found = is_caught(file, workspace / "runs")
        seconds.append(time.perf_counter() - started)
        caught[kind].append(found)
        if not found:
            missed.append(f"{file}: {kind}")
    alarms = []
    for name in [*now]:
        for given, where in ((now, workspace), (fewer, workspace), (older, workspace.with_name("before"))):
            file = folder / f"as-written{SUFFIXES[name]}"
            file.write_text(given[name], encoding="utf-8")
            alarms += [str(f) for verdict in verify(file, where / "runs") for f in verdict.findings]
    return {"caught": caught, "missed": missed, "alarms": alarms, "files": 3 * len(now), "slowest": max(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--videos", type=int, default=400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="farlab-mutations-") as folder:
        world = stores(Path(folder), arguments.videos)
        found = survey(Path(folder), arguments.count, arguments.seed, world)
    caught: Mapping[str, list[bool]] = found["caught"]  # type: ignore[assignment]
    for kind, each in caught.items():
        print(f"{kind:>17}: {sum(each)} of {len(each)} caught")
    print(f"{'all':>17}: {sum(map(sum, caught.values()))} of {sum(map(len, caught.values()))} caught")
    alarms, files, slowest = found["alarms"], found["files"], found["slowest"]
    print(f"false alarms: {len(alarms)} in {files} files as written; slowest file {slowest:.2f} s")  # type: ignore[arg-type]
    for line in (*found["missed"], *found["alarms"]):  # type: ignore[misc]
        print(line)


if __name__ == "__main__":
    main()

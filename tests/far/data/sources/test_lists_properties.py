"""Whatever stands in a list is in the listing, in a warning, or in an error with file and line; never a traceback."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from far.data.sources.layouts import read_listing
from far.errors import DataError

HEAD = "label,youtube_id,time_start,time_end,split,is_cc\n"
LABELS = '{"Holding something": "0", "Dropping something": "1"}'
OFTEN = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


def accounted_for(root: Path, layout: str) -> set[str] | None:
    """Return the places that a listing or its warnings name; None where an error names one, or says what is missing."""
    try:
        listing = read_listing(layout, root)
    except DataError as error:
        text = str(error)
        assert text.isprintable()
        assert re.search(
            r"\.(csv|txt|json):\d+|nothing listed|class numbers are not|two (folders|lists|videos)", text
        ), text
        return None
    for video in listing.videos:
        assert -1 <= video.label < len(listing.labels)
        f"{video.id}{video.path}".encode()
    warned = {place for places in listing.warnings.values() for place in places}
    # a warning about two lines names both
    return {video.place for video in listing.videos} | {
        word for place in warned for word in [place, *re.findall(r"\S+:\d+", place)]
    }


def fresh(root: Path) -> Path:
    """Return an empty folder; examples of one test follow each other in it."""
    return Path(tempfile.mkdtemp(dir=root))


ANYTHING = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
PATHS = st.sampled_from(
    ["a.mp4", "b.mp4", "c d.mp4", "sub\\e.webm", "sub/e.webm", '"c d.mp4"', "a", "twin", "gone.mp4", "sub", "link.mp4",
     "pipe.mp4", "/", ".", "..", "x" * 300, "/abs/a.mp4", "a.mp4 12"]
)  # fmt: skip
NUMBERS = st.sampled_from(["0", "1", "2", "-1", "-7", "one", "1.0", "٣", "20231125", "9" * 30, '"1"', ""])
PATH_LINES = st.one_of(
    st.builds("{}{}{}".format, PATHS, st.sampled_from([" ", ",", ", ", "\t", ";", "  "]), NUMBERS),
    st.builds("{} {}".format, st.uuids().map("{}.mp4".format), st.integers(-1, 5)),
    st.sampled_from(["", "   ", "\ufeff", "path,label", "# comment", HEAD.strip()]),
    ANYTHING,
)


@OFTEN
@given(st.lists(PATH_LINES, max_size=5), st.lists(PATH_LINES, max_size=3), st.booleans())
def test_every_line_of_a_path_list_is_accounted_for(
    tmp_path: Path, train: list[str], val: list[str], mark: bool
) -> None:
    root = fresh(tmp_path)
    (root / "sub").mkdir()
    for name in ("a.mp4", "b.mp4", "c d.mp4", "sub/e.webm", "twin.mp4", "twin.mov"):
        (root / name).touch()
    (root / "link.mp4").symlink_to("nowhere")
    os.mkfifo(root / "pipe.mp4")
    lists = {"train.csv": train, "val.txt": val}
    for name, lines in lists.items():
        (root / name).write_text("\ufeff" * mark + "\n".join(lines), encoding="utf-8")
    places = accounted_for(root, "csv")
    for name, lines in lists.items():
        for number, line in enumerate(lines, start=1):
            assert places is None or f"{name}:{number}" in places or not line.strip("\ufeff \t").strip()


CELLS = [
    st.one_of(st.sampled_from(["wave", "nod", " wave ", "", '"big, wave"', '"']), ANYTHING),
    st.one_of(st.sampled_from(["abc", "bcd", "", " abc"]), st.uuids().map(str)),
    st.sampled_from(["5", "5.0", " 5", "inf", "nan", "", "-3", "1e400", "00:05"]),
    st.sampled_from(["15", "15.5", "x", "9" * 400]),
    st.sampled_from(["train", "validate", "val", "test", "", "trian", " Train"]),
    st.just("0"),
]
ROWS = st.one_of(
    st.tuples(*CELLS).flatmap(lambda row: st.integers(0, 7).map(lambda n: [*row, "extra"][: n or 6])), ANYTHING
)


@OFTEN
@given(st.lists(ROWS, max_size=5), st.sampled_from([",", ";", ", ", "\t"]), st.booleans())
def test_every_row_of_a_kinetics_list_is_accounted_for(
    tmp_path: Path, rows: list[list[str] | str], delimiter: str, mark: bool
) -> None:
    root = fresh(tmp_path)
    for name in ("abc_5_15.mp4", "bcd_000005_000015.mp4"):
        (root / name).touch()
    lines = [row if isinstance(row, str) else delimiter.join(row) for row in rows]
    head = HEAD.strip().replace(",", delimiter)
    (root / "train.csv").write_text("\ufeff" * mark + "\n".join([head, *lines]), encoding="utf-8")
    places = accounted_for(root, "k400")
    for number, line in enumerate(lines, start=2):
        assert (
            places is None
            or f"train.csv:{number}" in places
            or f"train.csv:{number}" in str(places)
            or not line.strip()
        )


ENTRIES = st.one_of(
    st.fixed_dictionaries(
        {"id": st.one_of(st.integers(1, 9), st.uuids().map(str), st.sampled_from(["1", "", None, True, 1.5, ["1"]]))},
        optional={
            "template": st.sampled_from(["Holding [something]", "Holding something", "Eating", None, 3, ["Holding"]]),
            "label": st.sampled_from(["holding a cup", "Holding something", None, 0]),
        },
    ),
    st.recursive(st.one_of(st.none(), st.booleans(), st.floats(), st.text()), st.lists, max_leaves=3),
    st.dictionaries(st.text(), st.text(), max_size=2),
)


@OFTEN
@given(st.one_of(st.lists(ENTRIES, max_size=5), ENTRIES), st.booleans(), st.sampled_from([None, 1]))
def test_every_entry_of_a_json_list_is_accounted_for(
    tmp_path: Path, entries: Any, escape: bool, indent: int | None
) -> None:
    root = fresh(tmp_path)
    (root / "1.webm").touch()
    (root / "labels.json").write_text(LABELS)
    lines = [json.dumps(entry, ensure_ascii=escape) for entry in entries] if isinstance(entries, list) else []
    text = "[\n" + ",\n".join(lines) + "\n]" if lines else json.dumps(entries, ensure_ascii=escape, indent=indent)
    (root / "train.json").write_bytes(text.encode(errors="surrogatepass"))
    places = accounted_for(root, "ssv2")
    for number, _ in enumerate(lines, start=2):
        assert places is None or f"train.json:{number}" in places


NAMES = st.sampled_from(
    ["train", "training", "val", "test", "more", "wave", "Wave", "wa ve", ".hidden", "a.mp4", "a.mkv", "b.webm",
     "._a.mp4", "c.ts", "notes.txt", "über.mp4", "x.mp4"]
)  # fmt: skip

LINKS = {"link": "nowhere", "zero": "/dev/zero", "up": ".."}


@OFTEN
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["train", "training", "val", "more", ".hidden", "a.mp4"]), NAMES, NAMES)
        | st.lists(NAMES, min_size=1, max_size=4).map(tuple),
        st.sampled_from(["file", "folder", "link", "pipe", "zero", "up"]),
        max_size=8,
    )
)
def test_every_file_of_class_folders_is_accounted_for(tmp_path: Path, entries: dict[tuple[str, ...], str]) -> None:
    root, made = fresh(tmp_path), {}
    for parts, kind in entries.items():
        path = root.joinpath(*parts)
        around = [path, *(parent for parent in path.parents if root in parent.parents)]
        if path.exists() or any(part.is_symlink() or part.is_file() or part.is_fifo() for part in around):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind in LINKS:
            path.symlink_to(LINKS[kind])
        else:
            {"file": Path.touch, "folder": Path.mkdir, "pipe": os.mkfifo}[kind](path)
        made[path] = kind
    places = accounted_for(root, "folder")
    for path, kind in made.items():
        wanted = path.suffix in (".mp4", ".mkv", ".webm") and kind not in ("folder", "up")
        around = {str(part.relative_to(root)) for part in (path, *path.parents) if root in part.parents}
        assert places is None or not wanted or around & places, path


@OFTEN
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
@pytest.mark.parametrize(
    ("layout", "name", "head"),
    [("csv", "train.csv", ""), ("csv", "labels.txt", ""), ("k400", "train.csv", HEAD), ("ssv2", "labels.json", ""),
     ("ssv2", "train.json", "["), ("k400", "train.csv", "")],
)  # fmt: skip
def test_any_bytes_are_a_listing_or_an_error(tmp_path: Path, layout: str, name: str, head: str, content: bytes) -> None:
    root = fresh(tmp_path)
    others = {
        "csv": {"train.csv": "a.mp4 0\n"},
        "ssv2": {"labels.json": LABELS, "train.json": "[]"},
    }
    for other, text in others.get(layout, {}).items():
        (root / other).write_text(text)
    (root / name).write_bytes(head.encode() + content)
    try:
        read_listing(layout, root)
    except DataError as error:
        assert str(error).isprintable()

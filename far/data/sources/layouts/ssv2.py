"""Something-Something V2 as distributed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from far.data.sources.diagnostics import Diagnostics, one_line
from far.data.sources.layouts.by_name import FilesByName
from far.data.sources.listing import SPLITS, Listed, Listing, need_videos
from far.data.sources.texts import read_json_list, read_json_object
from far.data.sources.tree import read_tree
from far.errors import DataError

PUBLISHED = {"train": 168_913, "val": 24_777, "test": 27_157}
"""Videos by split, as its publisher counts them."""
_PREFIX = "something-something-v2-"
_LISTS = {"labels", *(name for names in SPLITS.values() for name in names)}


def read_something_something(root: Path, diagnostics: Diagnostics) -> Listing:
    """Read ``[something-something-v2-]{train,validation,test,labels}.json``; videos are ``<id>.webm``.

    The lists may lie in the folder or in one below it, and so may the videos, also re-encoded. Templates are spelled
    with or without brackets: "Holding [something]" in the lists is "Holding something" in the labels.
    """
    tree = read_tree(root, diagnostics)
    lists: dict[str, list[Path]] = {}
    for path in tree.lists:
        name = path.stem.lower().removeprefix(_PREFIX)
        if path.suffix.lower() == ".json" and name in _LISTS:
            lists.setdefault(name, []).append(path)
        else:
            diagnostics.warn("lists that are none of Something-Something V2's, not read", diagnostics.place(path))
    if "labels" not in lists:
        raise DataError(f"{root}: neither {_PREFIX}labels.json nor labels.json is in it")
    labels_file = _only(lists["labels"], "the classes", diagnostics)
    numbers = _class_numbers(labels_file, diagnostics)
    files = FilesByName(tree, ".webm", diagnostics)
    videos: list[Listed] = []
    for split, names in SPLITS.items():
        candidates = [path for name in names for path in lists.get(name, [])]
        if candidates:
            path = _only(candidates, f"the split '{split}'", diagnostics)
            place = diagnostics.place(path)
            for line, entry in read_json_list(path):
                video = _video(entry, split, numbers, files, f"{place}:{line}", diagnostics)
                videos += [video] if video else []
    diagnostics.check()
    need_videos(videos, diagnostics, f"{_PREFIX}train.json")
    files.warn_of_unlisted()
    labels = sorted(numbers, key=numbers.__getitem__)
    return Listing(videos, labels, dict(PUBLISHED), files.several, diagnostics.warnings)


def _only(paths: list[Path], what: str, diagnostics: Diagnostics) -> Path:
    """Return the one list of several that say the same."""
    first, *others = paths
    for other in others:
        if other.read_bytes() != first.read_bytes():
            names = " and ".join(diagnostics.place(path) for path in (first, other))
            raise DataError(f"{diagnostics.root}: two lists of {what}, which differ: {names}; keep one of them there")
    return first


def _class_numbers(path: Path, diagnostics: Diagnostics) -> dict[str, int]:
    numbers: dict[str, int] = {}
    place = diagnostics.place(path)
    for line, name, value in read_json_object(path):
        number = _class_number(value)
        if number is None:
            right = 'the class\'s number, as in {"Holding something": "0"}'
            diagnostics.error(f"{place}:{line}", f"'{one_line(name)}': expected {right}")
        elif _plain(name) in numbers:
            diagnostics.error(f"{place}:{line}", f"the class '{one_line(name)}' is there twice")
        else:
            numbers[_plain(name)] = number
    diagnostics.check()
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise DataError(f"{path}: the class numbers are not 0 to {len(numbers) - 1}, each once")
    return numbers


def _class_number(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _video(
    entry: Any, split: str, numbers: dict[str, int], files: FilesByName, place: str, diagnostics: Diagnostics
) -> Listed | None:
    name = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        diagnostics.error(place, 'expected a video such as {"id": "78687", "template": "Holding [something]"}')
        return None
    label = _label(entry, numbers)
    if isinstance(label, str):
        diagnostics.error(place, f"video {one_line(str(name))}: {label}")
        return None
    return Listed(str(name), split, label, files.find(str(name)), place, f"{one_line(str(name))}.webm")


def _label(entry: dict[str, Any], numbers: dict[str, int]) -> int | str:
    """Return a video's class, -1 if it is secret, or what is wrong with it."""
    template, label = entry.get("template"), entry.get("label")
    if template is None and label is None:
        return -1
    name = label if template is None else template
    if not isinstance(name, str):
        return f"the {'label' if template is None else 'template'} is no text"
    if (number := numbers.get(_plain(name))) is not None:
        return number
    if template is None:
        return f"there is no template, and no class is called as its label, '{one_line(name)}'"
    return f"no class is called '{one_line(name)}'"


def _plain(template: str) -> str:
    return template.replace("[", "").replace("]", "")

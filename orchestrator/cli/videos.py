"""Video files as a person names them: files, folders, patterns."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable
from pathlib import Path

from far.data.sources.diagnostics import Diagnostics, counted, describe
from far.data.sources.tree import VIDEO_SUFFIXES, read_tree
from far.errors import ConfigError
from far.store.atomic import is_there
from orchestrator.cli.inputs import COMMAND_LINE


def find_videos(names: Iterable[str]) -> list[Path]:
    """Return the files that are meant, each once, in order; those of a folder, at any depth, by path.

    A file that is named itself is taken whatever its suffix; of a folder or a pattern, those with a video's.

    Raises:
        ConfigError: a name stands for nothing.
    """
    found: dict[Path, None] = {}
    absent = []
    for name in names:
        files = _files(name)
        if not files:
            absent.append(name)
        found.update(dict.fromkeys(files))
    if absent:
        what = [f"'{name}'" for name in absent[:5]]
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        raise ConfigError(f"no video there: {', '.join(what)}{more}", key="VIDEO", where=COMMAND_LINE)
    return list(found)


def _files(name: str) -> list[Path]:
    path = Path(name)
    if is_there(name):
        return _below(path) if path.is_dir() else [path]
    names = glob.glob(name, recursive=True) if glob.has_magic(name) else []  # noqa: PTH207  (patterns may be absolute)
    matches = sorted(map(Path, names))
    return [
        file
        for match in matches
        for file in (_below(match) if match.is_dir() else [match])
        if file.suffix.lower() in VIDEO_SUFFIXES
    ]


def _below(folder: Path) -> list[Path]:
    """Return the videos in a folder, and say on standard error what was left out."""
    told = Diagnostics(folder)
    tree = read_tree(folder, told)
    for what, places in told.warnings.items():
        print(f"note: {describe(what, places)}", file=sys.stderr)
    if tree.others or tree.lists:
        others = counted(len(tree.others) + len(tree.lists), "file")
        print(f"note: {folder}: {others} without the suffix of a video, left out", file=sys.stderr)
    return [*tree.videos, *tree.unusable]

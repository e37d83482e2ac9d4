"""Files found by name, for layouts whose lists hold names and no paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from far.data.sources.diagnostics import Diagnostics
from far.data.sources.tree import NO_VIDEO, UNLISTED, VIDEO_SUFFIXES, Tree


class FilesByName:
    """Video files by their name without suffix.

    Where several have one name, one as distributed is taken before any other kind of file, one called exactly so before
    others, then the first by path.

    Args:
        tree: the files, sorted by path.
        distributed: suffix of the data set's own files.
        diagnostics: takes problems of listed files that cannot be used.
        name: what a file is called in the lists, from its name without suffix.
    """

    def __init__(
        self, tree: Tree, distributed: str, diagnostics: Diagnostics, name: Callable[[str], str] = lambda stem: stem
    ) -> None:
        self._diagnostics, self._name = diagnostics, name
        self._files: dict[str, list[Path]] = {}
        self._unusable = {name(path.stem): (path, why) for path, why in tree.unusable.items()}
        self._found: set[str] = set()
        self.several: dict[str, list[Path]] = {}
        """Those of the videos found that have more than one file."""

        def rank(path: Path) -> tuple[bool, bool]:
            return path.suffix.lower() != distributed, name(path.stem) != path.stem

        for path in sorted(tree.videos, key=rank):  # by path already
            self._files.setdefault(name(path.stem), []).append(path)

    def find(self, name: str) -> Path | None:
        """Return a video's file, None if there is none."""
        if Path(name).suffix.lower() in VIDEO_SUFFIXES and name not in self._files:
            name = self._name(Path(name).stem)
        files = self._files.get(name, [])
        if len(files) > 1:
            self.several[name] = files
        if files:
            self._found.add(name)
        elif name in self._unusable:
            path, why = self._unusable[name]
            self._diagnostics.warn(f"{NO_VIDEO}, but {why}; missing", self._diagnostics.place(path))
        return files[0] if files else None

    def warn_of_unlisted(self) -> None:
        """Warn of the files that no list names."""
        for name, files in self._files.items():
            if name not in self._found:
                self._diagnostics.warn(UNLISTED, self._diagnostics.place(files[0]))

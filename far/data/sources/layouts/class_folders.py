"""A folder for each class in a folder for each split."""

from __future__ import annotations

from pathlib import Path

from far.data.sources.diagnostics import Diagnostics, one_line
from far.data.sources.listing import Listed, Listing, need_videos, split_of
from far.data.sources.tree import BROKEN, FOLDER, HIDDEN, NO_VIDEO, VIDEO_SUFFIXES, read_tree, unusable
from far.errors import DataError

_LAYOUT = "train/<class>/<video> and val/<class>/<video>"


def read_class_folders(root: Path, diagnostics: Diagnostics) -> Listing:
    """Read ``train/<class>/<video>``, ``val/<class>/<video>``, and ``test`` likewise; a class may hold folders."""
    splits = _splits(root, diagnostics)
    classes = {split: _visible(top, diagnostics) for split, top in splits.items()}
    names = sorted({folder.name for folders in classes.values() for folder in folders})
    numbers = {name: number for number, name in enumerate(names)}
    videos = [
        Listed(
            path.relative_to(splits[split]).with_suffix("").as_posix(),
            split,
            numbers[folder.name],
            path if is_there else None,
            diagnostics.place(path),
            str(path),
        )
        for split, folders in classes.items()
        for folder in folders
        for path, is_there in _videos(folder, diagnostics)
    ]
    need_videos(videos, diagnostics, _LAYOUT)
    return Listing(videos, names, warnings=diagnostics.warnings)


def _splits(root: Path, diagnostics: Diagnostics) -> dict[str, Path]:
    """Return the folder of each split."""
    splits: dict[str, Path] = {}
    for path in _visible(root, diagnostics):
        split = split_of(path.name)
        if split is None:
            diagnostics.warn(f"folders that are no split, not read (this layout is {_LAYOUT})", diagnostics.place(path))
        elif split in splits:
            names = f"{splits[split].name} and {path.name}"
            raise DataError(f"{one_line(str(root))}: two folders of the split '{split}': {names}; make them one")
        else:
            splits[split] = path
    return splits


def _visible(top: Path, diagnostics: Diagnostics) -> list[Path]:
    """Return the folders in a folder, by name; whatever else may have been meant is a warning."""
    folders = []
    for path in sorted(top.iterdir()):
        is_folder, is_video = path.is_dir(), path.suffix.lower() in VIDEO_SUFFIXES
        if path.name.startswith(".") and (is_folder or is_video):
            diagnostics.warn(HIDDEN, diagnostics.place(path))
        elif is_folder:
            folders.append(path)
        elif is_video:
            diagnostics.warn("videos in no class's folder, not used", diagnostics.place(path))
        elif unusable(path) == BROKEN:
            diagnostics.warn("broken links, not read", diagnostics.place(path))
    return folders


def _videos(folder: Path, diagnostics: Diagnostics) -> list[tuple[Path, bool]]:
    """Return the videos of a class, by path, and whether each is there."""
    tree = read_tree(folder, diagnostics)
    for path in (*tree.others, *tree.lists):
        diagnostics.warn("files without the suffix of a video, not used", diagnostics.place(path))
    for path, why in tree.unusable.items():
        diagnostics.warn(f"{NO_VIDEO}, but {why}", diagnostics.place(path))
    absent = [(path, False) for path, why in tree.unusable.items() if why != FOLDER]
    return sorted([*((path, True) for path in tree.videos), *absent])

"""A data set layout: train/CLASS__NAME.mp4 and val/CLASS__NAME.mp4, without a folder per class."""

from far.data.sources.layouts import LAYOUTS
from far.data.sources.listing import Listed, Listing, need_videos
from far.data.sources.tree import read_tree


@LAYOUTS.register("flat")
def read_flat_folders(root, diagnostics):
    """Read what should be there; ``prepare`` opens the videos."""
    found = [(split, path) for split in ("train", "val") for path in read_tree(root / split, diagnostics).videos]
    names = sorted({path.name.partition("__")[0] for _, path in found})
    videos = [
        Listed(path.stem, split, names.index(path.name.partition("__")[0]), path, diagnostics.place(path), str(path))
        for split, path in found
    ]
    need_videos(videos, diagnostics, "train/<class>__<video> and val/<class>__<video>")
    return Listing(videos, names, warnings=diagnostics.warnings)

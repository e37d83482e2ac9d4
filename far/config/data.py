"""The data section: which videos, and how clips and views are taken from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ByteSize, Field

from far.architecture.sampling import SAMPLERS
from far.strict import Bytes, Fraction, Positive, ReadBy, Strict, Uncounted, named_in


class DemoConfig(Strict):
    """The generated data set: its size and what makes it hard (see ``far.data.sources.demo``)."""

    train_clips: Positive = 800
    """Training videos; the classes take turns."""
    val_clips: Positive = 400
    """Validation videos, with digit images that training never shows."""
    size: Annotated[int, Field(ge=1, le=4096)] = 64
    """Height and width in pixels."""
    noise: Fraction = 0.1
    """Standard deviation of each frame's noise, as a share of the contrast between background and digit."""
    clutter: Annotated[int, Field(ge=0, le=1000)] = 3
    """Still fragments of other digits in each video."""
    motion: Annotated[float, Field(gt=0, le=4096)] = 10.0
    """Length of the motion's path in pixels."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the data set, not of the trials that use it."""


class ViewsConfig(Strict):
    """Views at test time: temporal clips x spatial crops; 2x3 for Something-Something V2, 5x3 for Kinetics-400."""

    clips: Positive = 1
    crops: Positive = 1


class DataConfig(Strict):
    """Which videos, and how clips are taken from them."""

    source: str = "demo"
    """``demo``, or the path of a manifest or of a data set that ``farlab data prepare`` has read."""
    classes: Positive = 10
    """Must be the data set's; it decides the size of the classifier before the data are there."""
    demo: DemoConfig = DemoConfig()
    """Used with the source ``demo`` only."""
    sampling: Annotated[str, named_in(SAMPLERS)] = "segments-mvd"
    """Segments of the whole video, or a dense window (``far.architecture.sampling``)."""
    stride: Annotated[Positive, ReadBy(SAMPLERS)] = 4
    """Frames from one of a clip's frames to the next, of dense sampling."""
    views: ViewsConfig = ViewsConfig()
    """Of the final test; validation between epochs uses one view."""
    flip: bool = False
    """Mirror half of the training clips; never where left and right are classes (Something-Something V2, the demo)."""
    mean: Annotated[list[float], Field(min_length=3, max_length=3)] = Field(default=[0.485, 0.456, 0.406])
    """Subtracted from red, green and blue in [0, 1]; the default is ImageNet's, as VideoMAE, MVD and OmniMAE have it
    (mae_st: 0.45 for each)."""
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] = Field(
        default=[0.229, 0.224, 0.225]
    )
    """Divides red, green and blue (mae_st: 0.225 for each)."""
    share: Annotated[Literal["auto", "off"], Uncounted()] = "auto"
    """Whether trials that run at the same time on one machine decode each clip once for all of them."""
    share_memory: Annotated[Bytes, Uncounted()] = ByteSize(1 << 30)
    """Memory of a machine in which clips wait for the trials that still want them, for each data set."""
    cache: Annotated[Bytes, Uncounted()] = ByteSize(2 << 30)
    """Disk space for decoded videos, which all trials read instead of decoding them again; 0: none."""
    cache_folder: Annotated[str | None, Uncounted()] = None
    """Folder of the decoded videos, relative to that of the data set's manifest; default: ``.frames`` in it."""

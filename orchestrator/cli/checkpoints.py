"""A checkpoint in words and as plain values."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from far.architecture.backbones import BACKBONES
from far.weights.families import FAMILIES
from far.weights.load_report import brief
from far.weights.paths import existing

if TYPE_CHECKING:
    from far.weights import Source


FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A checkpoint, or a directory of Hugging Face or DeepSpeed.")
]
FamilyOption = Annotated[
    str | None, typer.Option(help="Family of the weights, if the names fit several.", show_default=False)
]


def opened(file: Path, family: str | None) -> Source:
    """Open a checkpoint; a wrong path is answered before torch is imported."""
    existing(file)
    from far.weights.source import open_source

    return open_source(file, family)


def described(source: Source) -> dict[str, Any]:
    """Return what is known of a file, as plain values."""
    from far.weights.convert import sha256_of

    sizes = (source.width, source.depth)
    return {
        "file": str(source.path),
        "sha256": sha256_of(source.path),
        "family": source.family,
        "could_be": list(source.others),
        "family_is_a_guess": bool(source.undecided),
        "stage": source.stage,
        "width": source.width,
        "depth": source.depth,
        "backbone": next((name for name, b in BACKBONES.items() if (b.width, b.depth) == sizes), None),
        "tubelet": list(source.patch),
        "position_embedding": source.position_embedding,
        "position_grid": source.grid,
        "classes": source.classes,
        "interaction": any(".interaction." in name for name in source.tensors),
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in source.tensors.values()}),
        "parameters": sum(tensor.numel() for tensor in source.tensors.values()),
        "used": sorted(source.tensors),
        "ignored": dict(source.ignored),
    }


STAGES = {
    "pre-trained": "a pre-training, with its decoder",
    "encoder": "an encoder without decoder or head",
}


def text(source: Source) -> str:
    """Lay out what is known of a file for a terminal; names that differ in numbers only are folded."""
    from far.weights.source import FIRST_TOKEN, shown

    about = described(source)
    kind = STAGES.get(about["stage"]) or f"a fine-tuned classifier of {about['classes']} classes, not a pre-training"
    where = f", trained on {shown(source.grid)} tokens" if source.grid else ""
    lines = [
        f"{source.path}",
        f"  family     {FAMILIES[source.family].title} ({source.family})",
        f"  network    {about['width']} wide, {about['depth']} blocks ({about['backbone'] or 'no named backbone'}), "
        f"tubelet {shown(source.patch)}",
        f"  stage      {kind}",
        f"  positions  {source.position_embedding}{where}",
        f"  used       {len(about['used'])} tensors, {about['parameters']:,} values, {', '.join(about['dtypes'])}",
        f"             {brief(about['used'])}",
    ]
    if source.undecided:
        either = " or ".join(f"{FAMILIES[n].title}'s {FAMILIES[n].position_embedding}" for n in source.undecided)
        lines[1] = f"  family     {' or '.join(FAMILIES[n].title for n in source.undecided)}: init.family must say it"
        lines[4] = f"  positions  {either}{where}"
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in source.ignored.items():
        by_reason[reason].append(name)
    lines += [f"  ignored    {len(names)}, {reason}: {brief(names)}" for reason, names in by_reason.items()]
    notes = [FAMILIES[source.family].note, "" if source.mean_pooling else FIRST_TOKEN]
    lines += [f"  note       {note}" for note in notes if note]
    if about["sha256"]:
        lines.append(f"  sha256     {about['sha256']}")
    return "\n".join(lines)

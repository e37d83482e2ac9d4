"""The starts of a trial, as its records keep them, and what follows from all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from typing_extensions import TypedDict


class Code(TypedDict, total=False):
    """Which code a start ran, as its version control says."""

    version: str | None
    git: str | None
    dirty: bool | None


class Clips(TypedDict):
    """How many clips (videos read for a batch) a trial's processes got, and what that cost."""

    delivered: int
    decoded: int
    """Those for which they had a decoder run; the others came from a cache, or from another trial."""


class Attempt(TypedDict, total=False):
    """One start of a trial."""

    started_at: str | None
    """ISO 8601, UTC."""
    host: str | None
    pid: int | None
    code: Code | None
    source: str
    """Digest of the source that decides the trial's numbers; ``Spec.sources`` has it by part."""
    epoch: int | None
    """Epochs that were done when it began to train; absent if it never came to that."""
    step: int | None
    """Optimiser steps of the next epoch that were done then."""
    reached: float | None
    """Epochs that it had come to when its process was lost."""
    micro_batch: int | None
    frame_index: int | None
    """Version of the index by which it read its videos; absent before there was one."""
    ended: str
    """Why it was ended on purpose (``FarError.kind``)."""
    message: str
    lost: str
    """Why its process was lost."""
    clips: Clips | None
    """As it last said (``far.train.heartbeat``), of its main process alone if it did not come to its end."""


def of_attempts(attempts: Sequence[Attempt], code: Code | None) -> dict[str, Any]:
    """Return what a result says of its trial's starts.

    Args:
        attempts: the starts, from the first.
        code: that the last one ran.
    """
    codes = [each for attempt in attempts if (each := attempt.get("code")) and each != code]
    said = {
        "starts": len(attempts),
        "earlier_code": [each for place, each in enumerate(codes) if each not in codes[:place]],
        "indexed_frames": saw_indexed_frames(attempts),
    }
    found = {"sources": sources_of(attempts), "clips": sum_of_clips(attempt.get("clips") for attempt in attempts)}
    return said | {name: each for name, each in found.items() if each is not None}


def sum_of_clips(counts: Iterable[Clips | None]) -> Clips | None:
    """Return the sum of the counts that are known, None if none is."""
    known = [each for each in counts if each is not None]
    if not known:
        return None
    return {"delivered": sum(each["delivered"] for each in known), "decoded": sum(each["decoded"] for each in known)}


def saw_indexed_frames(attempts: Sequence[Attempt]) -> bool:
    """Return whether every start of a trial read its videos by the frame index (``far.data.decoding.frame_index``).

    Versions before it wrote no such word; a start that never trained says nothing of frames. Where the first start that
    is known went on with another's epochs, that other one is of a version that did not keep its starts.
    """
    trained = [attempt for attempt in attempts if "epoch" in attempt]
    return bool(trained) and trained[0]["epoch"] == 0 and all("frame_index" in attempt for attempt in trained)


def sources_of(attempts: Sequence[Attempt]) -> list[str] | None:
    """Return the digests of the source behind a trial's weights, None if one is not known.

    A start leaves its mark if the next one went on with an epoch that it had trained; the last one does in any case.
    """
    trained = [attempt for attempt in attempts if attempt.get("epoch") is not None]
    if not trained or _begun_at(trained[0]) != (0, 0):
        return None
    behind: list[Attempt] = []
    for attempt in trained:
        # What it took up is older than where it began; what it trains again does not count.
        behind = [each for each in behind if _begun_at(each) < _begun_at(attempt)]
        behind.append(attempt)
    if not all("source" in attempt for attempt in behind):
        return None
    return list(dict.fromkeys(attempt["source"] for attempt in behind))


def _begun_at(attempt: Attempt) -> tuple[int, int]:
    return attempt.get("epoch") or 0, attempt.get("step") or 0

"""Which videos a trial answers correctly, small enough to stand in its result: two bits per video and a digest.

Thousands of trials are compared by video from their results alone; ``predictions.parquet`` holds the scores behind it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = {"top1": 1, "top5": 5}
"""Highest scores among which the label must be, by metric."""
Bits = NDArray[np.bool_]


def digest(ids: Sequence[str]) -> str:
    """Return the digest by which a list of videos is known, order included."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def pack(ids: Sequence[str], ranks: NDArray[np.int64], classes: int) -> dict[str, Any]:
    """Return the answers as plain data.

    Args:
        ids: the videos that were answered, sorted.
        ranks: of each video's label among the scores, from 1, shape (videos,).
        classes: number of classes; with fewer than five, every answer is among the top five.
    """
    packed = {name: np.packbits(ranks <= min(k, classes)).tobytes() for name, k in TOP.items()}
    texts = {name: base64.b64encode(bits).decode() for name, bits in packed.items()}
    return {"videos": digest(ids), "count": len(ids), **texts}


def unpack(answers: Mapping[str, Any], metric: str) -> Bits:
    """Return whether each video was answered correctly, shape (videos,).

    Raises:
        ValueError: the answers are damaged.
    """
    try:
        count = int(answers["count"])
        bits = np.frombuffer(base64.b64decode(answers[metric], validate=True), np.uint8)
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"damaged answers: {error}") from None
    if len(bits) != -(-count // 8):
        raise ValueError(f"damaged answers: {8 * len(bits)} bits for {count} videos")
    return np.unpackbits(bits, count=count).view(np.bool_)

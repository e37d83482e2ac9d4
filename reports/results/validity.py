"""Whether a finished result can be what a test came to: its numbers are numbers, and those of its own answers."""

from __future__ import annotations

import binascii
import math
from collections.abc import Mapping
from typing import Any

from far.store.correctness import TOP

HALF = 0.5
"""Videos by which an accuracy may miss its answers."""
ROUNDING = 1e-6
"""Points by which equal accuracies may differ."""


def contradiction(result: Mapping[str, Any]) -> str:
    """Return why the numbers of a finished result cannot be averaged; empty where they can.

    Args:
        result: as a trial wrote it, or a tracking server has it, where it may lack its answers.
    """
    metrics = result.get("metrics") or {}
    numbers = (*result.items(), *metrics.items())
    odd = [name for name, value in numbers if type(value) is float and not math.isfinite(value)]
    # The store writes what is not a number as null; the loss of a test without answers is none.
    odd += [name for name in TOP if name in metrics and metrics[name] is None]
    if odd:
        return f"not a finite number: {', '.join(odd)}"
    if "top1" not in metrics:
        return "it says no top1"
    return _against_answers(result, metrics, result.get("answers") or {})


def _against_answers(result: Mapping[str, Any], metrics: Mapping[str, Any], answers: Mapping[str, Any]) -> str:
    count, expected = result.get("evaluated"), result.get("expected")
    if answers and count is not None and answers.get("count") != count:
        return f"{count} videos evaluated, and answers to {answers.get('count')}"
    if expected and (count or 0) > expected:
        return f"{count} videos evaluated of {expected}"
    for name in TOP:
        value, right = metrics.get(name), _right(answers.get(name))
        if value is not None and not 0 <= value <= 100:
            return f"{name} is {value:g} %"
        if value is not None and right is not None and expected and abs(value * expected / 100 - right) >= HALF:
            return f"{name} is {value:g} %, and its answers give {100 * right / expected:g} %"
    top1, top5 = metrics["top1"], metrics.get("top5")
    if top5 is not None and top5 < top1 - ROUNDING:
        return f"top5 is {top5:g} %, less than top1"
    return ""


def _right(packed: Any) -> int | None:
    """Return how many answers are right; None where that cannot be read, which the comparison by video tells."""
    try:
        return int.from_bytes(binascii.a2b_base64(packed, strict_mode=True), "big").bit_count()
    except (TypeError, ValueError):  # binascii.Error is one
        return None

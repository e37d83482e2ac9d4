"""Whether a finished result can be what a test came to: its numbers are numbers, and those of its own answers."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

from far.store.correctness import TOP

HALF = 0.5
"""Videos by which an accuracy may miss its answers."""


def contradiction(result: Mapping[str, Any]) -> str:
    """Return why the numbers of a finished result cannot be averaged; empty where they can.

    Args:
        result: as a trial wrote it, or a tracking server has it, where it may lack its answers.
    """
    numbers = {**result, **(result.get("metrics") or {})}
    odd = [name for name, value in numbers.items() if isinstance(value, float) and not math.isfinite(value)]
    # The store writes what is not a number as null; the loss of a test without answers is none.
    odd += [name for name in TOP if name in numbers and numbers[name] is None]
    if odd:
        return f"{' and '.join(dict.fromkeys(odd))} not a finite number"
    if "top1" not in numbers:
        return "no top1"
    return _against_answers(numbers, result.get("answers") or {})


def _against_answers(numbers: Mapping[str, Any], answers: Mapping[str, Any]) -> str:
    count, expected = numbers.get("evaluated"), numbers.get("expected")
    if answers and count is not None and answers.get("count") != count:
        return f"{count} videos evaluated, and answers to {answers.get('count')}"
    if expected and (count or 0) > expected:
        return f"{count} videos evaluated of {expected}"
    for name in TOP:
        value, right = numbers.get(name), _right(answers.get(name))
        if value is not None and not 0 <= value <= 100:
            return f"{name} is {value:g} %"
        if value is not None and right is not None and expected and abs(value * expected / 100 - right) >= HALF:
            return f"{name} is {value:g} %, and its answers give {100 * right / expected:g} %"
    return ""


def _right(packed: Any) -> int | None:
    """Return how many answers are right; None where that cannot be read, which the comparison by video tells."""
    try:
        return int.from_bytes(base64.b64decode(packed, validate=True), "big").bit_count()
    except (TypeError, ValueError, binascii.Error):
        return None

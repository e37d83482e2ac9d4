"""How many clips trials were delivered and how many of them were decoded, in words."""

from __future__ import annotations

from far.store.attempts import Clips


def in_words(clips: Clips) -> str:
    """Return e.g. ``48,120 delivered, 12,030 decoded (0.25 decodings per clip)``."""
    delivered, decoded = clips["delivered"], clips["decoded"]
    ratio = f" ({decoded / delivered:.2f} decodings per clip)" if delivered else ""
    return f"{delivered:,} delivered, {decoded:,} decoded{ratio}"

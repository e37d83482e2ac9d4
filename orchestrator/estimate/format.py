"""A quote in words."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.estimate.devices import UTILISATION
from orchestrator.estimate.estimate import Quote


def duration(seconds: float) -> str:
    """Return e.g. ``45 s``, ``12 min``, ``3.4 h`` or ``2.1 d``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def size(count: int) -> str:
    """Return bytes in MiB or GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def bill(quote: Quote, left: int, bought: int | None) -> list[str]:
    """Return what the plan costs, one fact a line, with its basis."""
    target = quote.target
    if not quote.prices:
        return [f"price: not known for {target.name}: no finished trial on it, and its speed is not in the table"]
    about = "about " if quote.is_estimate else ""
    lines = [
        f"price on {target.count} x {target.name}: {about}{quote.device_hours:.2f} {target.unit}, "
        f"{size(quote.disk)} of disk; up to {size(quote.memory)} a trial"
        + (f", {quote.fit} fit at once" if quote.fit is not None else ""),
        _finish(quote.seconds, about, quote.at_once),
        f"basis: {_basis(quote)}",
    ]
    if quote.fit == 0:
        lines.append("warning: by this estimate a trial does not fit into the device's memory")
    if quote.unknown:
        lines.append(f"not in the price: {len(quote.unknown)} trials whose data set is not here")
    if bought is not None:
        lines.append(f"the budget buys {bought} of {left}: a whole table with one seed first, baselines first")
    return lines


def _finish(seconds: float | None, about: str, at_once: int) -> str:
    if seconds is None:
        return "finish: never: the widest trial does not fit these devices"
    return f"finish: in {about}{duration(seconds)} ({_when(seconds)}) with {at_once} at once"


def _when(seconds: float) -> str:
    try:
        return (datetime.now() + timedelta(seconds=seconds)).strftime("%a %d %b %H:%M")
    except OverflowError:
        return "beyond any calendar"


def _basis(quote: Quote) -> str:
    kinds = [price.basis for price in quote.prices.values()]
    said = {
        "measured": "{n} measured (the same row ran, or was probed, on this kind of device)",
        "rate": "{n} estimated from this device's measured rate and FLOPs",
        "stated": "{n} estimated from FLOPs at an assumed {u:.0%} of the stated {t:g} TFLOP/s; decoding not counted",
    }
    return "; ".join(
        text.format(n=kinds.count(kind), u=UTILISATION, t=quote.target.tflops or 0)
        for kind, text in said.items()
        if kind in kinds
    )

"""A quote in words."""

from __future__ import annotations

from datetime import datetime, timedelta

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
    """Return bytes in KiB, MiB or GiB."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 or not count else f"{count / 2**10:.1f} KiB"


def between(low: float, high: float, unit: str = "") -> str:
    """Return a range in words, e.g. ``6.7-18 h``; one duration where both ends read the same.

    Args:
        low: its lower end, in seconds where there is no unit.
        high: its upper end.
        unit: of numbers that are no durations.
    """
    ends = [f"{each:.3g} {unit}" if unit else duration(each) for each in (low, high)]
    if ends[0] == ends[1]:
        return ends[0]
    numbers, units = zip(*(end.split() for end in ends), strict=True)
    return f"{numbers[0]}-{ends[1]}" if units[0] == units[1] else "-".join(ends)


def bill(quote: Quote, left: int, bought: int | None) -> list[str]:
    """Return what the plan costs, one fact a line, with its basis and the reasons of its range."""
    target = quote.target
    if not quote.prices:
        return [
            f"price: not known for {target.name}: no finished trial on it, and its speed is not in the table; "
            "`--tflops N` states it"
        ]
    about = "about " if quote.is_estimate else ""
    low, high = quote.hours_range
    spread = f" ({between(low, high, target.unit)})" if high > 1.01 * low else ""
    writing = quote.disk - quote.kept - quote.copies
    lines = [
        f"price on {target.count} x {target.name}: {about}{quote.device_hours:.2f} {target.unit}{spread}; "
        f"up to {size(quote.memory)} a trial" + (f", {quote.fit} fit at once" if quote.fit is not None else ""),
        f"disk: {size(quote.disk)}: {size(quote.kept)} of checkpoints and predictions, {size(quote.copies)} of "
        f"MLflow's copies, {size(writing)} while checkpoints are written",
        *_finish(quote, about),
        f"basis: {_basis(quote)}",
        *_reasons(quote),
    ]
    if quote.fit == 0:
        lines.append("warning: by this estimate a trial does not fit into the device's memory")
    if target.memory is None:
        lines.append(f"the memory of {target.name} is not known, so nobody can say how many fit")
    if quote.unknown:
        lines.append(f"not in the price: {len(quote.unknown)} trials whose data set is not here")
    if bought is not None:
        lines.append(f"the budget buys {bought} of {left}: a whole table with one seed first, baselines first")
    return lines


def _finish(quote: Quote, about: str) -> list[str]:
    if quote.spans is None or quote.seconds is None:
        return [
            "finish: never: the widest trial does not fit these devices"
            + (f"; with run.devices={quote.target.count} in {between(*quote.narrower)}" if quote.narrower else "")
        ]
    low, high = quote.spans
    spread = f" ({between(low, high)})" if high > 1.01 * low else ""
    return [
        f"finish: in {about}{duration(quote.seconds)}{spread}, {_when(high)} at the latest, {quote.at_once} at once"
    ]


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
        "stated": "{n} estimated from the stated {t:g} TFLOP/s: nothing has run on this kind of device",
    }
    return "; ".join(
        text.format(n=kinds.count(kind), t=quote.target.tflops or 0) for kind, text in said.items() if kind in kinds
    )


def _reasons(quote: Quote) -> list[str]:
    """Return where the seconds of the dearest trial go at best and at worst."""
    stated = [(price.seconds, price.limits) for price in quote.prices.values() if price.limits]
    if not stated:
        return []
    _, limits = max(stated, key=lambda each: each[0])
    where = "cores" if quote.target.kind == "cpu" else "GPU"
    return [
        f"  {name} {duration(times.total)} a trial: {where} {duration(times.device)} ({times.share:.0%} of its peak), "
        f"{'beside' if times.overlaps else 'then'} {duration(times.loading)} of loading"
        for name, times in zip(("at best", "at worst"), limits, strict=True)
    ]

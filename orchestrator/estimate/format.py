"""A cost estimate in words."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.estimate.estimate import CostEstimate


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
    """Return bytes in KiB, MiB or GiB, a few as they are."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    if count >= 2**20 or not count:
        return f"{count / 2**20:.0f} MiB"
    return f"{count / 2**10:.1f} KiB" if count >= 2**10 else f"{count} bytes"


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


def format_estimate(estimate: CostEstimate, left: int, selected: int | None) -> list[str]:
    """Return what the plan costs, one fact per line, with its basis and the reasons of its range."""
    target = estimate.target
    if not estimate.costs:
        return [
            f"estimate: not known for {target.name}: no finished trial on it, and its speed is not in the table; "
            "`--tflops N` states it"
        ]
    about = "about " if estimate.is_estimate else ""
    low, high = estimate.hours_range
    spread = f" ({between(low, high, target.unit)})" if high > 1.01 * low else ""
    writing = estimate.disk - estimate.kept - estimate.copies
    lines = [
        f"estimate on {target.count} x {target.name}: {about}{estimate.device_hours:.2f} {target.unit}{spread}; "
        f"up to {size(estimate.memory)} a trial"
        + (f", {estimate.fit} fit at once" if estimate.fit is not None else ""),
        f"disk: {size(estimate.disk)}: {size(estimate.kept)} of checkpoints and predictions, "
        f"{size(estimate.copies)} of MLflow's copies, {size(writing)} while checkpoints are written",
        *_finish(estimate, about),
        f"basis: {_basis(estimate)}",
        *_reasons(estimate),
    ]
    if estimate.fit == 0:
        lines.append("warning: by this estimate a trial does not fit into the device's memory")
    if target.memory is None:
        lines.append(f"the memory of {target.name} is not known, nor how many fit")
    if estimate.unknown:
        lines.append(f"not in the estimate: {len(estimate.unknown)} trials whose data set is not here")
    if selected is not None:
        lines.append(f"the budget allows {selected} of {left}: a whole table with one seed first, baselines first")
    return lines


def _finish(estimate: CostEstimate, about: str) -> list[str]:
    if estimate.spans is None or estimate.seconds is None:
        return [
            "finish: never: the widest trial does not fit these devices"
            + (
                f"; with run.devices={estimate.target.count} in {between(*estimate.narrower)}"
                if estimate.narrower
                else ""
            )
        ]
    low, high = estimate.spans
    spread = f" ({between(low, high)})" if high > 1.01 * low else ""
    return [
        f"finish: in {about}{duration(estimate.seconds)}{spread}, {_when(high)} at the latest, "
        f"{estimate.at_once} at once"
    ]


def _when(seconds: float) -> str:
    try:
        return (datetime.now() + timedelta(seconds=seconds)).strftime("%a %d %b %H:%M")
    except OverflowError:
        return "beyond any calendar"


def _basis(estimate: CostEstimate) -> str:
    kinds = [cost.basis for cost in estimate.costs.values()]
    said = {
        "measured": "{n} measured (the same row ran, or was probed, on this kind of device)",
        "rate": "{n} estimated from this device's measured rate and FLOPs",
        "stated": "{n} estimated from the stated {t:g} TFLOP/s: nothing has run on this kind of device",
    }
    return "; ".join(
        text.format(n=kinds.count(kind), t=estimate.target.tflops or 0) for kind, text in said.items() if kind in kinds
    )


def _reasons(estimate: CostEstimate) -> list[str]:
    """Return where the seconds of the most expensive trial go at best and at worst."""
    stated = [(cost.seconds, cost.limits) for cost in estimate.costs.values() if cost.limits]
    if not stated:
        return []
    _, limits = max(stated, key=lambda each: each[0])
    where = "cores" if estimate.target.kind == "cpu" else "GPU"
    return [
        f"  {name} {duration(times.total)} a trial: {where} {duration(times.device)} ({times.share:.0%} of its peak), "
        f"{'overlapped by' if times.overlaps else 'then'} {duration(times.loading)} of loading"
        for name, times in zip(("at best", "at worst"), limits, strict=True)
    ]

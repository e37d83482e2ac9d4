"""JSON: means and deviations unrounded, costs as exact integers, the paper's numbers in the paper's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from orchestrator.study.as_typed import here
from reports.renderers import RENDERERS
from reports.tables.model import Column, Row, Table

UNITS = {
    "top1": "%",
    "top5": "%",
    "flops": "multiply-accumulates",
    "params": "parameters",
    "counted.flops": "multiply-accumulates",
    "counted.params": "parameters",
    "paper.flops": "G",
    "paper.params": "M",
}

ALWAYS = ("row", "group", "components", "key", "front", "state", "seeds")
"""What a row says whatever columns are chosen."""
PLACES = {
    "top1": (("metrics", "top1"),),
    "top5": (("metrics", "top5"),),
    "delta_top1": (("", "delta"),),
    "verdict": (("", "delta"),),
    "pairs_top1": (("", "pairs"),),
    "effect_top1": tuple(("", name) for name in ("mean", "se", "df", "interval", "per_seed", "aliases")),
}
"""Under which key, if any, and by what name a row holds what a column shows, where its key does not say it."""
UNDER = {"paper": "paper", "quoted": "quoted", "value": "values", "set": "parameters"}
"""Under which key a row holds the columns whose keys begin so."""


@RENDERERS.register("json")
def render(tables: Sequence[Table]) -> str:
    """One object for one table, a list for several."""
    objects = [_object(table) for table in tables]
    whole: object = objects[0] if len(objects) == 1 else objects
    return to_json(whole, indent=2, inf_nan_mode="null").decode() + "\n"  # NaN and infinity are not JSON


def _object(table: Table) -> dict[str, object]:
    return {
        "table": table.key if table.number is None else table.number,
        "title": table.caption,
        "profile": table.profile,
        "comparable": not table.warning,
        "warning": table.warning,
        "units": UNITS,
        "rows": [_row(row, table) for row in table.rows],
        "notes": [{"mark": note.mark, "text": note.text} for note in table.notes],
        "provenance": {what: here(Path(str(place))) if place else place for what, place in table.provenance.items()},
    }


def _row(row: Row, table: Table) -> dict[str, object]:
    """Return what a row holds for machines; of chosen columns alone, where some were."""
    if not table.chosen:
        return dict(row.data)
    found: dict[str, Any] = {key: value for key, value in row.data.items() if key in ALWAYS}
    for above, key in (place for column in table.columns for place in _places(column)):
        held: Any = row.data.get(above) if above else row.data
        if isinstance(held, Mapping) and key in held:
            (found.setdefault(above, {}) if above else found)[key] = held[key]
    return found


def _places(column: Column) -> Sequence[tuple[str, str]]:
    start, _, rest = column.key.partition("_")
    if column.key in PLACES:
        return PLACES[column.key]
    if start in UNDER:
        return ((UNDER[start], rest),)
    return (("paper", column.title), ("", column.key.removeprefix("counted_").lower().replace(" ", "_")))

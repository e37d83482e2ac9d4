"""JSON: means and deviations unrounded, costs as exact integers, the paper's numbers in the paper's units."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import to_json

from reports.renderers import RENDERERS
from reports.tables.model import Table

UNITS = {
    "top1": "%",
    "top5": "%",
    "flops": "multiply-accumulates",
    "params": "parameters",
    "paper.flops": "G",
    "paper.params": "M",
}


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
        "rows": [dict(row.data) for row in table.rows],
        "notes": [{"mark": note.mark, "text": note.text} for note in table.notes],
        "provenance": dict(table.provenance),
    }

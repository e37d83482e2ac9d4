"""JSON: means and deviations unrounded, costs as exact integers, the paper's numbers in the paper's units."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from reports.renderers import RENDERERS
from reports.table import Table

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
    return json.dumps(_finite(objects[0] if len(objects) == 1 else objects), indent=2, ensure_ascii=False) + "\n"


def _object(table: Table) -> dict[str, object]:
    return {
        "table": int(table.key) if table.key.isdigit() else table.key,
        "title": table.caption,
        "profile": table.profile,
        "comparable": not table.warning,
        "warning": table.warning,
        "units": UNITS,
        "rows": [dict(row.data) for row in table.rows],
        "notes": [{"mark": note.mark, "text": note.text} for note in table.notes],
        "provenance": dict(table.provenance),
    }


def _finite(node: Any) -> Any:
    """NaN and infinity are not JSON; they become null."""
    if isinstance(node, dict):
        return {str(key): _finite(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node

"""Whether a study, as it was resolved, is the setting in which the paper measured: row by row, setting by setting."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from far.architecture.far import FarConfig
from far.config import TrialConfig, resolve
from far.config.differences import differences
from far.config.identity import identity, is_counted
from far.config.layers import Layer
from far.errors import ConfigError
from orchestrator.study import find_profile, load_study
from orchestrator.study.names import pair_names
from orchestrator.study.paper import paper_facts
from orchestrator.study.profiles import packaged_studies
from reports.paper import printed_table
from reports.paper.costs import OURS, PLAIN
from reports.paper.studies import shipped_study

if TYPE_CHECKING:
    from orchestrator.study import Row, Study
    from orchestrator.study.profiles import Profile

SIZES = ("model.width", "model.depth", "model.heads")
"""What a backbone's name stands for."""
SHOWN = 4
"""Differences that are named; the rest are counted."""


def deviations(study: Study) -> list[str]:
    """Return in what a study differs from the setting of its table in the paper; nothing where it is that setting.

    A row that the paper has is compared with the paper's own row, any other one with the table's setting under what
    the row itself sets; without a table, with the profile. What ``run`` says changes no number and is not compared.
    """
    found: dict[str, list[str]] = {}
    for row in study.rows:
        for text in _differences(row.config, _expected(study, row)):
            found.setdefault(text, []).append(row.name)
    everywhere = [text for text, rows in found.items() if len(rows) == len(study.rows)]
    some = [f"{text} in {', '.join(rows)}" for text, rows in found.items() if len(rows) < len(study.rows)]
    named = _profile_differs(study)
    if named and (found or not _all_in_paper(study)):
        return [named, *everywhere, *some]
    return [*everywhere, *some]


def _profile_differs(study: Study) -> str | None:
    """Say so where the profile is, by its name, another table's."""
    name, table = study.profile.name, study.table
    facts = paper_facts()[table] if table else None
    data_set = facts.data_set if facts else None
    wanted = f"{data_set}-*" if data_set else facts.profile or name if facts else name
    whole = f"paper-{data_set}" if data_set else wanted
    if name in (wanted, whole) or (wanted.endswith("*") and name.startswith(wanted[:-1])):
        return None
    return f"the profile is {name}, that of Table {table} is {wanted}"


def _all_in_paper(study: Study) -> bool:
    printed = printed_table(study.table)
    return printed is not None and len(printed.rows_of([row.name for row in study.rows])) == len(study.rows)


def _expected(study: Study, row: Row) -> TrialConfig | None:
    """Return what the row is in the paper's setting; None where what it sets is impossible there."""
    own = Layer(row.settings, lambda _: row.where)
    facts = paper_facts()[study.table] if study.table else None
    if facts is not None and facts.data_set:
        layers = _compared_row(study, row.name, facts.data_set) or (*study.profile.layers, own)
    elif study.table is not None and (shipped := _shipped(study.table)) is not None:
        name = pair_names([r.name for r in study.rows], [r.name for r in shipped.rows]).get(row.name)
        if name is not None:
            return shipped.row(name).config
        layers = (*shipped.base, own)
    else:
        layers = (*study.profile.layers, own)
    try:
        return resolve(layers)
    except ConfigError:
        return None


def _compared_row(study: Study, name: str, data_set: str) -> tuple[Layer, ...] | None:
    """Return the settings of one of the paper's own rows of a comparison."""
    known = pair_names([row.name for row in study.rows], list(OURS)).get(name)
    if known is None:
        return None
    method, _, size = known.rpartition(" ViT-")
    family = "videomae" if "VideoMAE" in method else "mvd"
    profile = _shipped_profile(f"{data_set}-{'small' if size == 'S' else 'base'}-{family}")
    plain = () if method.startswith("FAR") else (Layer({"model": PLAIN}, lambda _: method),)
    return (*profile.layers, *plain)


def _shipped_profile(name: str) -> Profile:
    return find_profile(name, [packaged_studies() / "profiles"])


def _shipped(table: int) -> Study | None:
    """Return the shipped study of an ablation at the paper's scale, None where none is shipped."""
    try:
        return load_study(shipped_study(table), profile=paper_facts()[table].profile)
    except ConfigError:
        return None


def _differences(config: TrialConfig, expected: TrialConfig | None) -> list[str]:
    if expected is None:
        return ["what it sets is impossible in the paper's setting"]
    if _meaning(config) == _meaning(expected):
        return []
    differ = [each for each in differences(_settings(config), _settings(expected)) if is_counted(each.key)]
    if any(each.key == "model.backbone" for each in differ):
        differ = [each for each in differ if each.key not in SIZES]
    if not config.data.source == expected.data.source == "demo":
        differ = [each for each in differ if not each.key.startswith("data.demo.")]
    return [f"{each.key} = {_short(each.first)} instead of {_short(each.second)}" for each in differ]


def _meaning(config: TrialConfig) -> str:
    """Two configurations that train the same thing on files of the same names give the same."""
    weights = config.init.weights
    return json.dumps(
        [identity(config, data_hash=config.data.source, weights_hash=str(weights) if weights else None)],
        sort_keys=True,
        default=str,
    )


def _settings(config: TrialConfig) -> dict[str, Any]:
    """Settings as plain data; head layouts as shares, once where all blocks have the same."""
    dumped = config.model_dump(mode="json", exclude={"run": True, "seed": True})
    if isinstance(config.model, FarConfig):
        layouts = [_shares(layout) for layout in config.model.layouts]
        dumped["model"]["attention"] = layouts if len(set(layouts)) > 1 else layouts[0]
    return dumped


def _shares(layout: Mapping[str, int]) -> str:
    common = math.gcd(*layout.values())
    return " + ".join(f"{count // common} {name}" for name, count in layout.items())


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def shown(reasons: Sequence[str]) -> str:
    """Join reasons for a reader: the first few, and how many more."""
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return "; ".join(reasons[:SHOWN]) + more

"""``farlab validate``: is everything that these files say possible?"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from orchestrator.cli.options import JsonOption, ProfileOption, Targets, TrustOption, load_targets
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.workspace.settings import load_settings

if TYPE_CHECKING:
    from orchestrator.plan.plan import Plan
    from orchestrator.study import Study


def validate(
    targets: Targets, profile: ProfileOption = None, trust: TrustOption = False, json_: JsonOption = False
) -> None:
    """Check studies, without data or a device: keys, types, variants, ratios, equal rows.

    Examples:
        farlab validate my_study.yaml
        farlab validate studies/ --profile ssv2-small-mvd --json
    """
    studies = load_targets(targets, profile, None)
    store = Store(load_settings().store)
    plan = make_plan(studies, store, manifest_hash=lambda data: "", weights_hash=lambda init: init.weights)
    if json_:
        print(json.dumps([_as_json(study, plan) for study in studies], indent=1, ensure_ascii=False))
        return
    for study in studies:
        checks = {study.placebo, study.control} - {None}
        size = f"{len(study.rows) - len(checks)} rows x {len(study.seeds)} seeds"
        size += "".join(f", {name.lower()}" for name in (study.placebo, study.control) if name)
        if study.search is not None:
            size += f", a search of {study.search.trials} trials over {len(study.search.space)} settings"
        print(f"{study.path}: {size}, profile {study.profile.name}: ok")
    for note in dict.fromkeys(text for study in studies for text in study.notes):
        print(f"note: {note}", file=sys.stderr)
    for duplicate in plan.duplicates:
        print(f"warning: {duplicate}", file=sys.stderr)


def _as_json(study: Study, plan: Plan) -> dict[str, Any]:
    return {
        "study": study.name,
        "path": str(study.path),
        "profile": study.profile.name,
        "rows": [row.name for row in study.rows],
        "seeds": list(study.seeds),
        "searched": study.search.trials if study.search else 0,
        "notes": list(dict.fromkeys(study.notes)),
        "warnings": [str(each) for each in plan.duplicates if each.study == study.name],
    }

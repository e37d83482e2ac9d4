"""The keys of all shipped studies at all shipped profiles are those that were decided: ``golden_keys.json``.

Results in people's stores lie under these keys, so a key that changes is a decision. After adding a study, a profile or
a row, run this file (``python tests/orchestrator/test_golden_keys.py``): it adds what is new, and never changes or
removes what is there. Where a shipped profile has to change, put what it said before into ``PROFILES_BEFORE``
(``orchestrator/study/profiles.py``), so that the keys of results that people have stay reachable and pinned; rename
their places in the file; and tell users in the change log.

The demo was made to train better: by smaller pictures cut into smaller tokens, longer motions and two more epochs its
rows vary by about 2 points between seeds, where they varied by 10, so that its tables decide something. Its keys of
before stand under what it said then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest

from far.config import TrialConfig, parse_override, resolve
from far.config.identity import identity, trial_key
from far.errors import ConfigError
from far.strict import Added
from orchestrator.study import load_study
from orchestrator.study.lookup import study_files
from orchestrator.study.profiles import PROFILES_BEFORE, Before, packaged_studies

FILE = Path(__file__).with_name("golden_keys.json")
DATA, WEIGHTS = "data" * 16, "weights!" * 8
"""Stand-ins for content hashes."""
SINGLE = [
    (),
    ("seed=3",),
    ("model.network=timesformer", "model.tubelet=[1, 16, 16]"),
    ("model.attention=[{global: 1}, {sparse-dense: 1, spatial: 2}]", "model.position_embedding=learned"),
    ("model.interaction=none", "recipe.new_module_lr=2.0", "model.interaction_position=after-mlp"),
    ("data.sampling=dense", "data.stride=2", "data.flip=true", "data.views.clips=5"),
    ("recipe.augment={repeats: 2, mixup: 0.8, mix_group: 4, crop: true, erasing: 0.25, randaug_ops: 2}",),
    ("recipe.zero_stage=2", "recipe.precision=bf16", "recipe.gradient_clipping=1.0"),
    ("init.weights=w.pth", "init.family=mvd"),
    ("model.interaction=bottleneck-batchnorm", "run.micro_batch=8", "run.devices=2"),
]
"""Single trials, with what no shipped study has."""
Keys = dict[str, dict[str, str]]
"""Key of seed 0 by ``study at profile`` (``with`` what was before) and row."""


def key(config: TrialConfig) -> str:
    weights = WEIGHTS if config.init.weights else None
    return trial_key(identity(config, data_hash=DATA, weights_hash=weights))


def keys_at(file: Path, profile: str) -> dict[str, str]:
    """Return the keys of a study by row; none where the two are not meant to run together."""
    try:
        return {row.name: key(row.config) for row in load_study(file, profile=profile).rows}
    except ConfigError:
        return {}  # a pair that no longer runs is missed in the comparison


def keys_before(file: Path, profile: str, before: Before) -> dict[str, str]:
    """Return the keys of a study by row, as they were with the profile of then."""
    try:
        rows = load_study(file, profile=profile).rows
    except ConfigError:
        return {}
    return {row.name: key(before.of(row.config) or row.config) for row in rows}


def keys_now() -> Keys:
    """Return the keys of every shipped study at every shipped profile."""
    shipped = packaged_studies()
    profiles = sorted(path.stem for path in (shipped / "profiles").glob("*.yaml"))
    found: Keys = {}
    for file in (*study_files(shipped), *study_files(shipped / "comparisons")):
        for profile in profiles:
            place = f"{file.stem} at {profile}"
            found[place] = keys_at(file, profile)
            for before in PROFILES_BEFORE:
                earlier = keys_before(file, profile, before) if before.applies(profile) else found[place]
                if earlier != found[place]:
                    found[f"{place} with {' '.join(before.overrides)}"] = earlier
    found["single trials"] = {
        " ".join(settings): key(resolve([parse_override(text) for text in settings])) for settings in SINGLE
    }
    return {place: rows for place, rows in found.items() if rows}


def decided() -> Keys:
    """Return the keys as they were decided."""
    found: Keys = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def test_every_key_of_a_shipped_study_is_the_one_that_was_decided() -> None:
    now, before = keys_now(), decided()
    changed = {
        f"{place}, {row}: {key} was decided, now {now.get(place, {}).get(row, 'gone')}"
        for place, rows in before.items()
        for row, key in rows.items()
        if now.get(place, {}).get(row) != key
    }
    assert not changed, (
        "results lie under these keys. If a setting is new, mark it with Added (far/strict.py); else see above:\n"
        + "\n".join(sorted(changed))
    )
    new = [f"{place}, {row}" for place, rows in now.items() for row in rows if row not in before.get(place, {})]
    assert not new, f"new: run python {FILE.parent.name}/{Path(__file__).name} to add {new}"


def grown(section: Any, path: Sequence[str], kind: Any) -> Any:
    """Return a configuration of which a section has one more setting, at its default."""
    if path:
        return section.model_copy(update={path[0]: grown(getattr(section, path[0]), path[1:], kind)})
    own = {"__annotations__": {"new_switch": kind}, "new_switch": False, "__module__": __name__}
    more: Any = type(type(section).__name__, (type(section),), own)
    return more.model_construct(**{name: getattr(section, name) for name in type(section).model_fields})


@pytest.mark.parametrize("path", ["model", "data", "data.views", "recipe", "recipe.augment", "init"])
def test_a_setting_that_is_added_without_its_mark_changes_every_key(path: str) -> None:
    config = resolve([parse_override("init.weights=w.pth"), parse_override("init.family=mvd")])
    assert key(grown(config, path.split("."), bool)) != key(config)
    assert key(grown(config, path.split("."), Annotated[bool, Added(False)])) == key(config)


def main() -> None:
    """Add what is new."""
    known = decided() if FILE.exists() else {}
    for place, rows in keys_now().items():
        known[place] = {**rows, **known.get(place, {})}
    FILE.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

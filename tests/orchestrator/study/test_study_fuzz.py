"""Whatever stands in a study file, it loads or is refused with the file's name; it never crashes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from far.errors import ConfigError
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study

RICH = {
    "study": "s",
    "table": 5,
    "base": {"model": {"interaction": "none", "attention": {"global": 1}}, "recipe.lr": 0.1},
    "rows": {"a": {"model.classifier": "global-mean"}, "b": None, "c": {"data": {"demo": {"noise": 0.2}}}},
    "grid": {"recipe.epochs": [1, 2]},
    "zip": [{"recipe.batch_size": [8, 16], "recipe.weight_decay": [0.0, 0.1]}],
    "include": {"extra": {"recipe.lr": 0.3}},
    "exclude": [{"row": "a, epochs=1, batch_size=8, weight_decay=0.0"}],
    "ablate": {"components": {"x": {"without": {"model.drop_path": 0.1}}}, "modes": ["leave-one-out"]},
    "baseline": "extra",
    "compare": [["extra", "b, epochs=1, batch_size=8, weight_decay=0.0"]],
    "equal_within": 0.5,
    "placebo": True,
    "control": {"recipe.lr": 0.4},
    "seeds": [0, 3],
    "resources": {"gpus": 0.5, "cpus": 2.0, "concurrent": 2},
    "retry": {"lost": 1, "wait_seconds": 0.5},
    "budget": {"gpu_hours": 1.5, "trials": 3},
    "search": {"space": {"recipe.min_lr": {"low": 1.0e-6, "high": 0.05, "log": True}}, "trials": 3, "sampler": "tpe"},
}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-5, max_value=10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(alphabet="aé.=:{}[]'\"# \n\t0-", max_size=8),
    st.lists(st.integers(min_value=-1, max_value=2), max_size=3),
    st.dictionaries(st.sampled_from(["", "model", "recipe.lr", "a.b", "without", "0"]), st.integers(), max_size=2),
)


def places(tree: object, path: tuple = ()) -> Iterator[tuple]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = list(places(RICH))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def test_the_rich_study_itself_loads(folder: Path) -> None:
    path = folder / "rich.yaml"
    path.write_text(json.dumps(RICH))
    study = load_study(path)
    assert len(study.rows) == (3 + 2) * 2 * 2 + 1 - 1 + 2


def test_a_seed_in_place_of_their_number_is_refused(folder: Path) -> None:
    path = folder / "seeds.yaml"
    path.write_text(json.dumps({**RICH, "seeds": 10**9}))
    with pytest.raises(ConfigError, match=r"seeds.yaml:1: seeds: 1000000000 seeds are more than"):
        load_study(path)
    with pytest.raises(ConfigError, match="--seeds"):
        load_study("head_ratio", seeds=10**9)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), junk=JUNK, rename=st.booleans())
def test_one_wrong_place_is_refused_or_harmless(folder: Path, place: tuple, junk: object, rename: bool) -> None:
    tree = copy.deepcopy(RICH)
    node = tree
    for key in place[:-1]:
        node = node[key]  # type: ignore[index]
    if rename and isinstance(node, dict):
        node[str(junk)] = node.pop(place[-1])
    else:
        node[place[-1]] = junk  # type: ignore[index]
    path = folder / "study.yaml"
    path.write_text(json.dumps(tree))
    try:
        study = load_study(path)
    except ConfigError as error:
        assert "study.yaml" in str(error)
    else:
        plan = make_plan(study, Store(folder / "runs"), manifest_hash=lambda data: "d")
        assert len(plan.trials) == sum(len(row.seeds or study.seeds) for row in study.rows)  # a placebo's are its own


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet="study: rows{}[]a1\n-&*!|>'\"%@#,\t\x00é", max_size=60))
def test_any_text_is_refused_not_crashed_on(folder: Path, text: str) -> None:
    path = folder / "text.yaml"
    path.write_text(text)
    try:
        load_study(path)
    except ConfigError as error:
        assert "text.yaml" in str(error)

"""The JSON Schema for editors agrees with the loader."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from far.config import load_document
from orchestrator.study.json_schema import study_schema
from orchestrator.study.profiles import packaged_studies

SHIPPED = sorted(path for path in packaged_studies().rglob("*.yaml") if path.parent.name != "profiles")
SCHEMA = study_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def test_it_is_a_valid_schema() -> None:
    CHECK.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_fits(path: Path) -> None:
    assert list(CHECK.iter_errors(load_document(path).data)) == []


@pytest.mark.parametrize(
    "study",
    [
        {"rows": {"a": {}}},
        {"study": "s", "row": {}},
        {"study": "s", "rows": {"a": {"model.widht": 3}}},
        {"study": "s", "rows": {"a": {"model": {"widht": 3}}}},
        {"study": "s", "rows": {"a": {"model.interaction": "bottlneck"}}},
        {"study": "s", "rows": {"a": {"model.attention": {"globl": 1}}}},
        {"study": "s", "base": {"recipe": {"epochs": "many"}}},
        {"study": "s", "rows": {"a": {"seed": 1}}},
        {"study": "s", "rows": {"a": None}, "scales": {"demo": {"a": {"recipe.epoch": 1}}}},
        {"study": "s", "grid": {"recipe.lr": []}},
        {"study": "s", "grid": {"recipe.lrr": [0.1]}},
        {"study": "s", "ablate": {"components": {"a": {"without": {"model.clas": "x"}}}}},
        {"study": "s", "rows": {"a": None}, "equal_within": 0},
        {"study": "s", "rows": {"a": None, "b": None}, "compare": [["a"]]},
        {"study": "s", "rows": {"a": None}, "control": {}},
        {"study": "s", "rows": {"a": None}, "control": {"model.widht": 3}},
        {"study": "s", "ablate": {"components": {"a": {"without": {"recipe.lr": 1.0}}}, "fraction": "1/3"}},
    ],
)
def test_mistakes_do_not_fit(study: dict) -> None:
    assert list(CHECK.iter_errors(study))


def test_rich_studies_fit() -> None:
    study = {
        "study": "s",
        "base": {"model": {"attention": [{"global": 1}, {"sparse-dense": 2}]}, "data.demo": {"noise": 0.1}},
        "rows": {"a": None},
        "scales": {"demo": {"a": {"profile": "csv", "recipe": {"epochs": 3}}}},
        "grid": {"recipe.lr": [0.1, 0.2]},
        "zip": [{"recipe.epochs": [1, 2], "recipe.batch_size": [8, 16]}],
        "ablate": {
            "components": {"x": {"without": {"model.interaction": "none"}}},
            "modes": ["cumulative", "factorial"],
            "fraction": "1/2",
        },
        "compare": [["a", "b"]],
        "equal_within": 0.5,
        "placebo": True,
        "control": {"model": {"attention": {"spatial": 1}}},
        "search": {"space": {"recipe.lr": {"low": 0.1, "high": 1.0, "log": True}}},
        "seeds": [0, 5],
    }
    assert list(CHECK.iter_errors(study)) == []

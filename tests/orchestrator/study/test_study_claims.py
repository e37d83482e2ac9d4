"""What a study asks of its rows: pairs, a margin, a placebo, a control, a factorial; and what a wrong one is told."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.errors import ConfigError
from far.store.atomic import write_json
from orchestrator.plan.lockfile import load_lockfile, write_lockfile
from orchestrator.plan.order import priority_order
from orchestrator.plan.plan import Plan, make_plan
from orchestrator.store.store import Store
from orchestrator.study import Study, load_study
from orchestrator.study.checks import placebo_seeds
from orchestrator.study.factorial import design, fewest_rows
from orchestrator.study.profiles import packaged_studies, profile_names
from tests.orchestrator.study.conftest import Load

ROWS = """
study: s
rows:
  A: {recipe.lr: 0.1}
  B: {recipe.lr: 0.2}
  C: {recipe.lr: 0.3}
baseline: B
"""
COMPONENTS = """
study: s
ablate:
  components:
    split: {without: {model.attention: {global: 1}}}
    mixing: {without: {model.interaction: none}}
    mean: {without: {model.classifier: global-mean}}
"""
NINE = ["lr", "min_lr", "weight_decay", "layer_decay", "label_smoothing", "warmup_epochs", "gradient_clipping"]


def plan_of(study: Study, store: Store) -> Plan:
    return make_plan(study, store, manifest_hash=lambda data: "d")


def of_row(plan: Plan, name: str) -> list[tuple[int, str]]:
    return [(trial.seed, trial.key) for trial in plan.trials if trial.row == name]


def components(number: int, more: str = "") -> str:
    settings = [*(f"recipe.{name}" for name in NINE), "model.drop_path", "recipe.augment.erasing"][:number]
    lines = [f"    c{i}: {{without: {{{name}: 0.0001}}}}" for i, name in enumerate(settings)]
    return "study: s\nablate:\n  components:\n" + "\n".join(lines) + f"\n  modes: [factorial]\n{more}"


@pytest.mark.parametrize(
    ("text", "key", "line", "said"),
    [
        (ROWS + "equal_within: 0\n", "equal_within", 8, "more than 0"),
        (ROWS + "equal_within: -0.5\n", "equal_within", 8, "more than 0"),
        (ROWS + "equal_within: true\n", "equal_within", 8, "a number"),
        (ROWS + "equal_within: 101\n", "equal_within", 8, "at most 100"),
        (ROWS + "compare:\n  - [A, B]\n  - [C, D]\n", "compare.1", 10, "no row is called 'D'"),
        (ROWS + "compare: [[A]]\n", "compare.0", 8, "compares two rows"),
        (ROWS + "compare: [[A, B, C]]\n", "compare.0", 8, "compares two rows"),
        (ROWS + "compare: []\n", "compare", 8, "at least 1 entry"),
        (ROWS + "compare: [[A, A]]\n", "compare.0", 8, "with itself"),
        (ROWS + "compare: [[A, C], [C, A]]\n", "compare.1", 8, "listed twice"),
        (ROWS + "placebo: 1\n", "placebo", 8, "true or false"),
        (ROWS + "control: {}\n", "control", 8, "at least 1 entry"),
        (ROWS + "control: {recipe.lrr: 1.0}\n", "recipe.lrr", 8, "unknown key 'lrr'"),
        (ROWS + "control: {seed: 3}\n", "seed", 8, "an axis of its own"),
        (ROWS + "control: {recipe.lr: 0.2}\n", "control", 8, "cannot do worse"),
        (ROWS + "control: {data.stride: 2}\n", "data.stride", 8, "what reads it is dense"),
        (ROWS.replace("  C:", "  Placebo:") + "placebo: true\n", "rows.Placebo", 6, "the name of the row that"),
        (ROWS.replace("  C:", "  Control:") + "control: {recipe.lr: 0.4}\n", "rows.Control", 6, "the name of the row"),
        (ROWS.replace("baseline: B", "baseline: Placebo") + "placebo: true\n", "baseline", 7, "no row is called"),
        ("study: s\nplacebo: true\nsearch: {space: {recipe.lr: {low: 0.1, high: 1.0}}}\n", "placebo", 2, "needs rows"),
        (
            "study: s\ncontrol: {recipe.lr: 1.0}\nsearch: {space: {recipe.lr: {low: 0.1, high: 1.0}}}\n",
            "control",
            2,
            "needs rows",
        ),
        ("study: s\ncontrol: {recipe.lr: 1.0}\n", "rows", 1, "varies nothing"),
        (components(9), "ablate.modes", 13, "over 9 components has 512 rows"),
        (components(9, "  fraction: 1/3\n"), "ablate.fraction", 14, "power of 2"),
        (components(9, "  fraction: 1/64\n"), "ablate.fraction", 14, "leaves 8 rows for 9 components"),
        (components(9, "  fraction: 0.5\n"), "ablate.fraction", 14, "text"),
        (components(3, "  fraction: 1/8\n"), "ablate.fraction", 8, "leaves 1 row for 3 components"),
        (COMPONENTS + "  fraction: 1/2\n", "ablate.fraction", 8, "has no effect"),
        (COMPONENTS + "  modes: [factorial]\ngrid: {recipe.lr: [0.1, 0.2]}\n", "grid", 9, "multiply a factorial"),
        (COMPONENTS + "  modes: [factorial]\nexclude: [{row: none}]\n", "exclude.0", 9, "no longer be balanced"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(study: Load, text: str, key: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(text)
    assert caught.value.exit_code == 2
    assert caught.value.key == key
    assert str(caught.value.where).endswith(f"s.yaml:{line}")
    assert said in caught.value.message


def test_what_a_study_asks_changes_no_key(study: Load, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    before = {(t.row, t.seed): t.key for t in plan_of(study(ROWS), store).trials}
    asked = ROWS + "compare: [[A, C]]\nequal_within: 0.5\nplacebo: true\ncontrol: {recipe.lr: 9.0}\n"
    after = {(t.row, t.seed): t.key for t in plan_of(study(asked), store).trials}
    assert {cell: key for cell, key in after.items() if cell[0] in "ABC"} == before
    assert {row for row, _ in after} == {"A", "B", "C", "Placebo", "Control"}


def test_pairs_and_margin_are_the_studys_or_the_profiles(study: Load, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "parent.yaml").write_text("profile: parent\nextends: demo\nequal_within: 2.5\n")
    (tmp_path / "profiles" / "child.yaml").write_text("profile: child\nextends: parent\n")
    asked = study(ROWS + "compare: [[A, C], [C, B]]\n", profile="child")
    assert asked.compare == (("A", "C"), ("C", "B"))
    assert asked.equal_within == 2.5
    assert study(ROWS + "equal_within: 1\n", profile="child").equal_within == 1.0


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12, unique=True), st.sets(st.integers(0, 60)), st.booleans())
def test_a_placebo_pairs_each_seed_with_another_and_trains_no_more_than_needed(
    seeds: list[int], finished: set[int], more: bool
) -> None:
    if more:
        finished |= set(range(100, 100 + len(seeds)))
    found = placebo_seeds(seeds, finished)
    compared = seeds[: len(found)]
    assert len(set(found)) == len(found)
    assert not set(found) & set(compared)
    new = set(found) - set(seeds) - finished
    if len(finished - set(seeds)) >= len(seeds) or len(seeds) >= 4:
        assert not new
    assert len(found) == len(seeds) or (len(seeds) >= 4 and len(found) == len(seeds) // 2)
    assert placebo_seeds(seeds, finished | set(found)) == found  # it keeps its seeds once they are there


def test_a_placebo_is_made_of_finished_seeds_where_there_are_enough(study: Load, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    text = ROWS + "placebo: true\n"
    plan = plan_of(study(text), store)
    assert [seed for seed, _ in of_row(plan, "Placebo")] == [2, 3]
    seven = plan_of(study(ROWS, seeds=[7, 9]), store)
    for trial in seven.trials:
        if trial.row == "B":
            paths = store.paths(trial.key)
            paths.directory.mkdir(parents=True)
            write_json(paths.result, {"key": trial.key, "state": "finished", "metrics": {"top1": 1.0}})
    plan = plan_of(study(text), store)
    assert of_row(plan, "Placebo") == of_row(seven, "B")
    assert not [trial for trial in plan.missing() if trial.row == "Placebo"]
    four = plan_of(study(text, seeds=4), Store(tmp_path / "other"))
    assert of_row(four, "Placebo") == of_row(four, "B")[2:]


def test_the_lock_keeps_what_was_asked_and_earlier_locks_are_read(study: Load, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    text = COMPONENTS + "  modes: [factorial]\ncompare: [[none, w/o mean]]\nplacebo: true\ncontrol: {recipe.lr: 9.0}\n"
    plan = plan_of(study(text + "equal_within: 0.5\n"), store)
    write_lockfile(plan, store)
    path = store.study("s").lockfile("demo")
    again = load_lockfile(path)
    for name in ("compare", "equal_within", "placebo", "control", "components", "seeds", "baseline"):
        assert getattr(again, name) == getattr(plan.studies[0], name)
    assert [(row.name, row.seeds, row.present) for row in again.rows] == [
        (row.name, row.seeds, row.present) for row in plan.studies[0].rows
    ]
    assert [t.key for t in plan_of(again, store).trials] == [t.key for t in plan.trials]
    assert priority_order(plan)[0].row == "full"
    old = [line for line in path.read_text().splitlines() if not line.startswith((' "compare"', ' "equal_within"'))]
    old = [line for line in old if not line.startswith((' "placebo"', ' "control"', ' "components"'))]
    path.write_text("\n".join(old) + "\n")
    assert load_lockfile(path).compare == ()
    assert [text.partition(": ")[2] for text in write_lockfile(plan, store)] == [
        'compare null -> [["none", "w/o mean"]]',
        "equal_within null -> 0.5",
    ]


def test_a_factorial_crosses_its_components(study: Load, tmp_path: Path) -> None:
    made = study(COMPONENTS + "  modes: [factorial, cumulative]\nseeds: 1\n")
    assert made.components == ("split", "mixing", "mean")
    assert made.rows[0].name == made.baseline == "full"
    assert {row.present for row in made.rows} == {
        subset for size in range(4) for subset in itertools.combinations(made.components, size)
    }
    assert {"w/o split", "w/o mixing", "w/o mean", "+ split", "+ mean", "none"} < {row.name for row in made.rows}
    for row in made.rows:
        assert (row.config.model.interaction == "none") == ("mixing" not in (row.present or ()))
    assert len({t.key for t in plan_of(made, Store(tmp_path)).trials}) == 8


def test_nine_components_have_a_fraction(study: Load) -> None:
    made = study(components(9, "  fraction: 1/16\n"))
    assert len(made.rows) == 32
    assert made.rows[0].present == made.components


@given(st.integers(1, 11).flatmap(lambda k: st.tuples(st.just(k), st.integers(0, k))))
def test_a_fraction_is_balanced_in_every_pair_of_components(chosen: tuple[int, int]) -> None:
    number, halvings = chosen
    names = [f"c{i}" for i in range(number)]
    if 2 ** (number - halvings) < fewest_rows(number):
        with pytest.raises(ValueError, match="cannot separate"):
            design(names, 2**halvings)
        return
    rows = design(names, 2**halvings)
    signs = np.array([[1 if name in present else -1 for name in names] for present in rows])
    assert len(set(rows)) == len(rows) == 2 ** (number - halvings)
    assert rows[0] == tuple(names)
    assert (signs.T @ signs == len(rows) * np.eye(number, dtype=int)).all()
    assert (signs.sum(axis=0) == 0).all()


@pytest.mark.parametrize(("name", "profile"), [("ssv2", "paper-ssv2"), ("k400", "paper-k400"), ("ssv2", "demo")])
def test_the_comparisons_of_the_paper_pair_each_network_with_far_of_its_size(name: str, profile: str) -> None:
    made = load_study(name, profile=profile)
    assert set(made.compare) == {
        (f"FAR ({ancestor}) ViT-{size}", f"{ancestor} ViT-{size}") for ancestor in ("VideoMAE", "MVD") for size in "SB"
    }


@pytest.mark.parametrize("profile", profile_names([packaged_studies() / "profiles"]))
def test_every_shipped_profile_says_what_counts_as_equal(profile: str) -> None:
    margin = load_study("head_ratio", profile=profile).equal_within
    assert margin == (5.0 if profile in ("demo", "csv") else 0.5)

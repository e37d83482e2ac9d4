"""In which order trials are started, and how many of those that share their frames run next to each other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from far.architecture.sampling import SAMPLERS, MvdSegments
from far.config import TrialConfig, resolve
from far.config.layers import parse_override
from far.data.sharing.groups import frames_group
from orchestrator.executors.base import Job, most_together
from orchestrator.executors.local import LocalExecutor
from orchestrator.plan.order import priority_order, side_by_side, with_companions
from orchestrator.plan.plan import Plan, PlannedTrial, make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study
from orchestrator.study.schema import BudgetConfig
from orchestrator.sweep import _neighbours

STUDY = """
study: s{number}
rows:
  short: {{}}
  long: {{model.clip: [8, 32, 32]}}
  pattern: {{model.attention: {{global: 1}}}}
  dense: {{data.sampling: dense}}
  long rate: {{model.clip: [8, 32, 32], recipe.lr: 1.0e-2}}
seeds: {seeds}
base:
  model: {{depth: 1, clip: [4, 32, 32], tubelet: [2, 8, 8]}}
  data.demo: {{train_clips: 40, val_clips: 20, size: 32, seed: {data}}}
"""


def made(*settings: str) -> TrialConfig:
    return resolve([parse_override(text) for text in settings])


def plan_of(folder: Path, *studies: tuple[int, list[int]], overrides: tuple[str, ...] = ()) -> Plan:
    """Return the plan of studies, each of a data set and with seeds."""
    loaded = []
    for number, (data, seeds) in enumerate(studies):
        path = folder / f"s{number}.yaml"
        path.write_text(STUDY.format(number=number, data=data, seeds=seeds))
        loaded.append(load_study(path, overrides=overrides))
    return make_plan(loaded, Store(folder / "runs"), manifest_hash=lambda data: f"content {data.demo.seed}")


def jobs_of(trials: list[PlannedTrial]) -> list[Job]:
    return [Job(Path(trial.key), Path(), 1, 1) for trial in trials]


def group(trial: PlannedTrial) -> str:
    return frames_group(trial.config, trial.identity["data"]["content"])


def names(trials: list[PlannedTrial]) -> list[tuple[str, int]]:
    return [(trial.row, trial.seed) for trial in trials]


def test_rows_that_read_the_same_frames_become_neighbours_within_their_seed(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, (0, [0, 1]))
    assert names(priority_order(plan))[:5] == [(row.name, 0) for row in plan.studies[0].rows]
    expected = ["short", "pattern", "long", "long rate", "dense"]
    second = ["short", "pattern", "long", "long rate", "dense"]
    assert names(side_by_side(plan, priority_order(plan))) == [(r, 0) for r in expected] + [(r, 1) for r in second]


def test_studies_of_two_data_sets_do_not_take_turns(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, (0, [3, 4]), (1, [4, 5]), (0, [4, 3]))
    ordered = side_by_side(plan, priority_order(plan))
    runs = [key for key, _ in itertools.groupby((trial.identity["data"]["content"], trial.seed) for trial in ordered)]
    assert len(runs) == len(set(runs)) == 4  # the first and the third study are the same trials


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=10)
def test_nothing_is_lost_and_no_second_seed_comes_before_a_first(
    tmp_path_factory: pytest.TempPathFactory, studies: list[tuple[int, list[int]]]
) -> None:
    plan = plan_of(tmp_path_factory.mktemp("plan"), *studies)
    before = priority_order(plan)
    after = side_by_side(plan, before)
    assert sorted(trial.key for trial in after) == sorted(trial.key for trial in before)
    if len(studies) == 1:
        assert [seed for seed, _ in itertools.groupby(trial.seed for trial in after)] == studies[0][1]
    place = {trial.key: at for at, trial in enumerate(before)}
    for _, each in itertools.groupby(after, key=group):
        places = [place[trial.key] for trial in each]
        assert places == sorted(places)  # stable within a group
    assert side_by_side(plan, after) == after


def test_where_there_is_no_choice_the_order_stays(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, (0, [0, 1]))
    todo = priority_order(plan)
    jobs = jobs_of(todo)
    one, four = (lambda job: 1), (lambda job: 4)
    same: list[Any] = [
        _neighbours(plan, todo, jobs, one, None),
        _neighbours(plan, todo, jobs, four, BudgetConfig(hours=1.0)),  # the clock may end it anywhere
    ]
    assert all(trials == todo for trials, _ in same)
    trials, ordered = _neighbours(plan, todo, jobs, four, BudgetConfig(trials=10))
    assert trials == side_by_side(plan, todo) != todo
    assert [job.key for job in ordered] == [trial.key for trial in trials]
    off = plan_of(tmp_path, (0, [0, 1]), overrides=("data.share=off",))
    todo = priority_order(off)
    trials, ordered = _neighbours(off, todo, jobs_of(todo), four, None)
    assert trials == todo
    assert {job.companions for job in ordered} == {0}


def test_companions_are_the_others_of_a_group_that_have_room(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, (0, [0]), (0, [1]))
    todo = priority_order(plan)

    def counted(room: int, proposals: int = 0) -> dict[str, int]:
        jobs = with_companions(todo, jobs_of(todo), lambda job: room, proposals)
        return {trial.row: job.companions for trial, job in zip(todo, jobs, strict=True) if trial.seed == 0}

    assert counted(4) == {"short": 1, "pattern": 1, "long": 1, "long rate": 1, "dense": 0}
    assert set(counted(1).values()) == {0}
    assert counted(4, proposals=1) == {"short": 2, "pattern": 2, "long": 2, "long rate": 2, "dense": 1}
    assert set(counted(2, proposals=9).values()) == {1}


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        (["model.attention={global: 1}"], True),
        (["model.clip=[16, 32, 32]"], True),  # frames are drawn, then resized
        (["recipe.batch_size=8", "recipe.epochs=3", "recipe.augment.crop=true"], True),
        (["data.stride=2"], True),  # which segments do not read
        (["data.views.clips=2", "data.flip=true", "data.share=off"], True),
        (["recipe.augment.repeats=2", "recipe.augment.repeat_frames=shared"], True),
        (["recipe.augment.repeats=2", "recipe.augment.repeat_frames=own"], False),
        (["model.clip=[8, 64, 64]"], False),
        (["data.sampling=dense"], False),
        (["seed=1"], False),
    ],
)
def test_what_decides_the_frames_that_are_drawn(settings: list[str], same: bool) -> None:
    usual = made("model.clip=[16, 64, 64]")
    assert (frames_group(made("model.clip=[16, 64, 64]", *settings), "d") == frames_group(usual, "d")) is same
    assert frames_group(usual, "another") != frames_group(usual, "d")
    dense = made("data.sampling=dense")
    assert frames_group(dense, "d") != frames_group(made("data.sampling=dense", "data.stride=2"), "d")


def test_a_sampler_of_ones_own_may_read_any_setting() -> None:
    @dataclass(frozen=True)
    class OfViews(MvdSegments):
        views: Any = None

    SAMPLERS.register("of-views")(OfViews)
    try:
        one, two = (made("data.sampling=of-views", f"data.views.clips={clips}") for clips in (1, 2))
        assert frames_group(one, "d") != frames_group(two, "d")
    finally:
        SAMPLERS.unregister("of-views")


def test_an_executor_that_does_not_say_runs_one_at_a_time(tmp_path: Path) -> None:
    job = Job(tmp_path, tmp_path, 1, 1)
    assert most_together(LocalExecutor(), job) == 1
    assert most_together(object(), job) == 1  # type: ignore[arg-type]

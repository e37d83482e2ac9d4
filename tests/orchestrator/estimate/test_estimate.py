"""Prices: what is measured wins, what is not is an estimate and says so; budgets buy whole tables first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.errors import ConfigError
from far.store.atomic import write_json
from orchestrator.estimate import estimate_plan, find_target, parse_budget, select_within_budget
from orchestrator.estimate.capacity import with_gpu_packing
from orchestrator.estimate.estimate import makespan
from orchestrator.estimate.format import format_estimate
from orchestrator.estimate.workload import PROCESS, workload_of
from orchestrator.plan.plan import Plan, make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study
from orchestrator.study.schema import BudgetConfig

A100 = find_target("a100-80g", 2)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "runs")


def plan_of(store: Store, *overrides: str, study: str = "head_ratio") -> Plan:
    return make_plan(load_study(study, overrides=overrides), store, manifest_hash=lambda data: "d")


def count(data) -> tuple[int, int] | None:
    return (data.demo.train_clips, data.demo.val_clips) if data.source == "demo" else None


def finish(store: Store, plan: Plan, row: str, seed: int, seconds: float, device: str) -> str:
    trial = next(t for t in plan.trials if (t.row, t.seed) == (row, seed))
    write_json(
        store.paths(trial.key).result,
        {
            "key": trial.key,
            "state": "finished",
            "metrics": {"top1": 50.0},
            "identity": trial.identity,
            "config": trial.config.model_dump(mode="json"),
            "seconds": seconds,
            "peak_memory_bytes": 3 * 2**30,
            "env": {"device": device},
            "execution": {"world_size": 1},
        },
    )
    return trial.key


def test_work_scales_as_training_does(store: Store) -> None:
    base = load_study("head_ratio", overrides=["recipe.epochs=8", "recipe.batch_size=16"])
    more = load_study("head_ratio", overrides=["recipe.epochs=16", "recipe.batch_size=16"])
    config = base.row("1:1").config
    once, twice = (workload_of(study.row("1:1").config, (800, 400), "gpu") for study in (base, more))
    assert once.steps == 8 * 50
    assert twice.training == 2 * once.training
    assert twice.evaluation == once.evaluation * 17 / 9  # one validation an epoch, and the final test
    assert workload_of(config, (1600, 400), "gpu").training == 2 * once.training


def test_the_papers_scale_is_priced_from_the_device_table(store: Store) -> None:
    plan = plan_of(
        store, "data.source=ssv2", "data.classes=174", "model.backbone=small", "model.clip=[16,224,224]",
        "model.tubelet=[2,16,16]", "recipe.batch_size=384", "recipe.epochs=40", "recipe.augment.repeats=1",
        "recipe.precision=bf16", "run.cpus=64", "run.workers=64",
    )  # fmt: skip
    estimate = estimate_plan(plan, store, A100, count)
    one = next(iter(estimate.costs.values()))
    # 53.4893 GMAC a clip (FAR-S), x2 operations x3 passes, 439 steps of 384 clips, 40 epochs, of 312 TFLOP/s
    training = 53.4893e9 * 6 * 439 * 384 * 40 / 312e12
    assert training / 0.55 < one.low < training / 0.3
    assert training / 0.3 < one.high < training / 0.15
    assert {cost.basis for cost in estimate.costs.values()} == {"stated"}
    assert estimate.is_estimate
    said = " ".join(format_estimate(estimate, 6, None))
    assert "about" in said
    assert "from the stated 312 TFLOP/s" in said
    assert one.limits is not None and one.limits[0].share > one.limits[1].share > 0.2


def test_too_few_cores_bound_a_fast_card(store: Store) -> None:
    def limits(*more: str):
        settings = ("data.source=ssv2", "model.backbone=small", "model.clip=[16,224,224]", "recipe.batch_size=384")
        plan = plan_of(store, *settings, "recipe.precision=bf16", *more)
        return next(iter(estimate_plan(plan, store, find_target("h100", 1), count).costs.values())).limits

    best, _ = limits("run.cpus=4", "run.workers=4")
    assert best.loading > best.device
    assert best.total == pytest.approx(best.loading + best.stepping)
    wider, _ = limits("run.cpus=8", "run.workers=8")
    assert wider.loading == pytest.approx(best.loading / 2)
    assert limits("run.cpus=8", "run.workers=4")[0].loading == best.loading  # four threads wait for four decoders
    _, worst = limits("run.cpus=4", "run.workers=4")
    assert worst.total == pytest.approx(worst.device + worst.loading + worst.stepping)


def test_unknown_data_has_no_price_rather_than_a_wrong_one(store: Store) -> None:
    estimate = estimate_plan(plan_of(store, "data.source=elsewhere"), store, A100, count)
    assert estimate.costs == {}
    assert len(estimate.unknown) == 6


def test_a_finished_seed_prices_the_other_seeds_of_its_row_and_its_rate_prices_the_rest(store: Store) -> None:
    finish(store, plan_of(store), "1:1", 0, 600.0, "NVIDIA A100-SXM4-80GB")
    finish(store, plan_of(store), "2:1", 0, 9999.0, "NVIDIA L4")  # another device: no evidence
    plan = plan_of(store)
    estimate = estimate_plan(plan, store, A100, count)
    by_row = {(t.row, t.seed): estimate.costs.get(t.key) for t in plan.trials}
    assert by_row["1:1", 0] is None
    same, other = by_row["1:1", 1], by_row["2:1", 1]
    assert same is not None and other is not None
    assert (same.basis, same.low, same.high, same.memory) == ("measured", 600.0, 600.0, 3 * 2**30)
    assert other.basis == "rate"
    one, two = (workload_of(plan.studies[0].row(row).config, (800, 400), "gpu").operations for row in ("1:1", "2:1"))
    assert other.seconds == pytest.approx(600.0 * two / one)
    assert other.low < other.seconds < other.high
    finish(store, plan_of(store), "1:1", 1, 700.0, "NVIDIA A100-SXM4-80GB")
    again = estimate_plan(plan_of(store, "recipe.epochs=7"), store, A100, count)
    assert {cost.basis for cost in again.costs.values()} == {"rate"}
    finish(store, plan_of(store), "1:2", 0, 3000.0, "NVIDIA A100-SXM4-80GB")
    spread = estimate_plan(plan_of(store, "recipe.epochs=7"), store, A100, count)
    dearest = max(cost.high / cost.low for cost in spread.costs.values())
    assert dearest > 4  # the slowest trial so far and the fastest


def test_results_of_older_versions_are_no_evidence_and_no_crash(store: Store) -> None:
    key = plan_of(store).trials[0].key
    write_json(
        store.paths(key).result,
        {"key": key, "state": "finished", "metrics": {}, "config": {"old": 1}, "env": {"device": "a100 80gb"}},
    )
    assert {p.basis for p in estimate_plan(plan_of(store), store, A100, count).costs.values()} == {"stated"}


def test_fractional_gpus_run_side_by_side(store: Store, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("study: s\nrows: {a: {}}\nseeds: 8\nresources: {gpus: 0.25}")
    plan = make_plan(load_study("s.yaml"), store, manifest_hash=lambda data: "d")
    estimate = estimate_plan(plan, store, A100, count)
    assert estimate.at_once == 8
    cost = next(iter(estimate.costs.values()))
    assert cost.devices == 0.25
    assert estimate.seconds == pytest.approx(cost.seconds)
    assert estimate.device_hours == pytest.approx(8 * cost.seconds * 0.25 / 3600)


def test_several_gpus_share_a_trial(store: Store, tmp_path: Path) -> None:
    def cost(resources: str):
        base = "{model.backbone: base, model.clip: [16, 224, 224], recipe.batch_size: 64, recipe.precision: bf16}"
        (tmp_path / "s.yaml").write_text(f"study: s\nrows: {{a: {{}}}}\nseeds: 1\nbase: {base}\n{resources}")
        plan = make_plan(load_study("s.yaml"), store, manifest_hash=lambda data: "d")
        return next(iter(estimate_plan(plan, store, A100, count).costs.values()))

    one, two = cost(""), cost("resources: {gpus: 2}")
    for lone, shared in zip(one.limits, two.limits, strict=True):
        assert (shared.device, shared.loading) == pytest.approx((lone.device / 2, lone.loading / 2))
        assert shared.stepping == lone.stepping
    assert one.device_hours < two.device_hours < 1.2 * one.device_hours


def test_a_budget_buys_whole_tables_first_and_baselines_first(store: Store) -> None:
    plan = plan_of(store)
    estimate = estimate_plan(plan, store, A100, count)
    selected = select_within_budget(plan, estimate, BudgetConfig(trials=4))
    assert [(t.row, t.seed) for t in selected] == [("1:1", 0), ("2:1", 0), ("1:2", 0), ("1:1", 1)]
    hours = sum(estimate.costs[t.key].device_hours for t in selected[:2])
    assert len(select_within_budget(plan, estimate, BudgetConfig(gpu_hours=hours))) == 2
    assert len(select_within_budget(plan, estimate, BudgetConfig(gpu_hours=estimate.device_hours))) == 6
    assert select_within_budget(plan, estimate, BudgetConfig(gpu_hours=1e-9)) == []
    assert len(select_within_budget(plan, estimate, BudgetConfig(hours=estimate.seconds / 3600))) == 6


@given(
    seconds=st.lists(st.floats(min_value=0, max_value=1e6), max_size=30), at_once=st.integers(min_value=1, max_value=8)
)
def test_makespan_is_within_its_bounds(seconds: list[float], at_once: int) -> None:
    span = makespan(seconds, at_once)
    assert span >= max([sum(seconds) / at_once, *seconds]) * (1 - 1e-9)
    assert span <= sum(seconds) / at_once + max(seconds, default=0.0) + 1e-6


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("40gpuh", {"gpu_hours": 40.0}),
        ("0.5 GPUh", {"gpu_hours": 0.5}),
        ("90min", {"hours": 1.5}),
        ("2d", {"hours": 48.0}),
        ("12trials", {"trials": 12}),
    ],
)
def test_budgets_are_read(text: str, wanted: dict) -> None:
    assert parse_budget(text).model_dump(exclude_none=True) == pytest.approx(wanted)


@pytest.mark.parametrize("text", ["40", "gpuh", "-3h", "1.5trials", "0h", "3 weeks", ""])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a budget"):
        parse_budget(text)


def test_this_machine_is_a_target() -> None:
    target = find_target(None)
    assert target.count >= 1
    assert target.memory > 2**30
    assert target.same(target.name)
    assert not target.same("NVIDIA Imaginary 9000")


def test_auto_shares_a_gpu_as_measured_memory_allows(store: Store) -> None:
    plan = plan_of(store)
    finish(store, plan, plan.trials[0].row, 0, 60.0, "NVIDIA A100-SXM4-80GB")
    wanted = tuple(
        replace(trial, resources=trial.resources.model_copy(update={"gpus": "auto"})) for trial in plan_of(store).trials
    )
    by_cell = {
        (t.row, t.seed): t.resources.gpus
        for t in with_gpu_packing(replace(plan, trials=wanted), store, A100, count).trials
    }
    fit = int(0.9 * A100.memory / (3 * 2**30 + PROCESS))
    assert by_cell[plan.trials[0].row, 1] == int(10_000 / fit) / 10_000
    assert fit * by_cell[plan.trials[0].row, 1] <= 1.0
    assert by_cell[plan.trials[-1].row, 1] == 1.0  # never measured: a whole one
    assert with_gpu_packing(plan, store, A100, count) is plan

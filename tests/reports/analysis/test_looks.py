"""What a table claims, and when: looks at a study are planned, counted and paid for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from far.store.atomic import write_json
from orchestrator.store.store import Store
from reports.analysis.comparison import Comparison, compare_rows
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.statistics.verdicts import LEVELS, holm
from reports.tables.ablation import build_table
from reports.tables.model import Table
from reports.tables.provenance import trace
from tests.reports.conftest import with_trials

MakeResults = Callable[..., Results]
ACCURACIES = {"1:1": 0.6, "2:1": 0.8, "1:2": 0.6}


def looks(results: Results) -> list[dict[str, Any]]:
    assert results.store is not None
    path = Store(results.store).study(results.study).lockfile(results.profile).with_name("looks.json")
    return json.loads(path.read_text())["looks"] if path.exists() else []


def compared(results: Results) -> Comparison:
    found = compare_rows(results)
    assert found is not None
    return found


def text_of(table: Table) -> str:
    return " ".join(note.text for note in table.notes)


def delta(table: Table, row: str = "2:1") -> dict[str, Any]:
    found: Any = next(r for r in table.rows if r.name == row).data["delta"]
    return dict(found["top1"])


def stars(table: Table) -> str:
    return "".join(row.cells["delta_top1"].stars for row in table.rows if "delta_top1" in row.cells)


def test_planned_seeds_are_the_first_look_and_reading_twice_is_one(make_results: MakeResults) -> None:
    results = make_results("head_ratio", ACCURACIES, seeds=3)
    first, again = build_table(results), build_table(results)
    assert stars(first) == "***" and stars(again) == "***"
    assert len(looks(results)) == 1
    assert looks(results)[0]["seeds"] == [0, 1, 2]
    assert delta(first)["verdict"] == "different" and delta(first)["direction"] == "higher"
    assert delta(first)["level"] == LEVELS[0]
    assert delta(again)["p_holm"] == delta(first)["p_holm"]


def test_before_all_planned_seeds_have_ended_nothing_is_claimed(make_results: MakeResults) -> None:
    results = make_results("head_ratio", ACCURACIES, seeds=3, skip={("1:2", 2)})
    table = build_table(results)
    assert not stars(table)
    assert delta(table)["interval"] is None and delta(table)["p"] is None and delta(table)["verdict"] is None
    assert "Interim, no claims: 1 of 9 planned trials" in text_of(table)
    assert next(r for r in table.rows if r.name == "2:1").cells["verdict"].text == "interim"
    assert not looks(results)


@pytest.mark.parametrize("seeds", [2, [0, 1]])
def test_to_ask_for_fewer_seeds_than_planned_is_interim(make_results: MakeResults, seeds: int | list[int]) -> None:
    make_results("head_ratio", ACCURACIES, seeds=3)
    fewer = make_results("head_ratio", ACCURACIES, seeds=seeds, submit=False)
    table = build_table(fewer)
    assert not stars(table) and "Interim" in text_of(table)


def test_recorded_claims_stay_while_further_seeds_are_on_their_way(make_results: MakeResults) -> None:
    first = build_table(make_results("head_ratio", ACCURACIES, seeds=2))
    late = {(row, seed) for row in ACCURACIES for seed in (2, 3)}
    more = build_table(make_results("head_ratio", ACCURACIES, seeds=4, skip=late))
    assert not stars(more) and "Interim" in text_of(more)
    again = make_results("head_ratio", ACCURACIES, seeds=2, submit=False)
    assert stars(build_table(again)) == stars(first)
    assert len(looks(again)) == 1


@pytest.mark.parametrize("state", ["failed", "diverged"])
def test_what_failed_for_good_or_diverged_counts_as_there(make_results: MakeResults, state: str) -> None:
    gone = {"state": state, "metrics": {}, "error": {"kind": "data", "message": "gone"}}
    results = make_results("head_ratio", ACCURACIES, seeds=3, changes={("1:2", 2): gone})
    assert stars(build_table(results))
    assert len(looks(results)) == 1


def test_added_seeds_are_a_further_look_at_a_smaller_level(make_results: MakeResults) -> None:
    build_table(make_results("head_ratio", ACCURACIES, seeds=2))
    results = make_results("head_ratio", ACCURACIES, seeds=3)
    table = build_table(results)
    assert [look["look"] for look in looks(results)] == [1, 2]
    assert delta(table)["level"] == LEVELS[1]
    assert "Earlier looks. Look 1" in text_of(table) and "2:1 different (against 1:1)" in text_of(table)
    assert "look 2" in text_of(table)


def test_seeds_that_were_planned_cannot_be_dropped_for_free(make_results: MakeResults) -> None:
    """To stop at the seeds that are there, once their numbers were seen, is a look by itself."""
    late = {(row, seed) for row in ACCURACIES for seed in (2, 3)}
    make_results("head_ratio", ACCURACIES, seeds=4, skip=late)
    results = make_results("head_ratio", ACCURACIES, seeds=2)
    assert delta(build_table(results))["level"] == LEVELS[1]


def test_after_the_last_look_there_are_no_new_claims(make_results: MakeResults) -> None:
    results = make_results("head_ratio", ACCURACIES, seeds=3)
    assert results.store is not None
    path = Store(results.store).study(results.study).lockfile(results.profile).with_name("looks.json")
    spent = [{"look": n + 1, "trials": str(n), "seeds": [0], "verdicts": []} for n in range(len(LEVELS))]
    write_json(path, {"looks": spent})
    table = build_table(results)
    assert not stars(table) and "the error of this study was spent" in text_of(table)
    assert len(looks(results)) == len(LEVELS)


def test_a_store_that_cannot_be_written_shows_recorded_claims_and_no_new_ones(
    make_results: MakeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = make_results("head_ratio", ACCURACIES, seeds=2)
    build_table(results)
    assert results.store is not None

    def refused(*_: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("reports.analysis.looks.write_json", refused)
    assert stars(build_table(results))  # recorded before
    table = build_table(make_results("head_ratio", ACCURACIES, seeds=3))
    assert not stars(table)
    assert "cannot be recorded" in text_of(table) and "Read-only" in text_of(table)


def test_a_damaged_record_of_looks_is_not_taken_for_none(make_results: MakeResults) -> None:
    results = make_results("head_ratio", ACCURACIES, seeds=2)
    build_table(results)
    assert results.store is not None
    path = Store(results.store).study(results.study).lockfile(results.profile).with_name("looks.json")
    path.write_text(path.read_text()[:40])
    table = build_table(results)
    assert not stars(table) and "damaged" in text_of(table)


def test_what_was_never_submitted_was_not_planned(make_results: MakeResults) -> None:
    table = build_table(make_results("head_ratio", ACCURACIES, seeds=2, submit=False))
    assert not stars(table) and "was not submitted" in text_of(table)


def study_file(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "mine.yaml"
    rows = {name: {"recipe.lr": rate} for name, rate in zip(ACCURACIES, (0.001, 0.002, 0.003), strict=True)}
    path.write_text(json.dumps({"study": "mine", "rows": rows, "baseline": "1:1", **changes}))
    return path


def finished_at(time: str) -> dict[tuple[str, int], dict[str, str]]:
    return {(row, seed): {"finished_at": time} for row in ACCURACIES for seed in range(2)}


@pytest.mark.parametrize("resubmitted", [True, False])
def test_a_baseline_changed_after_the_fact_is_marked(
    make_results: MakeResults, tmp_path: Path, resubmitted: bool
) -> None:
    make_results(study_file(tmp_path), ACCURACIES)
    results = make_results(study_file(tmp_path, baseline="1:2"), ACCURACIES, submit=resubmitted)
    table = build_table(results)
    assert [row.cells["delta_top1"].stars for row in table.rows if row.name == "2:1"] == [""]
    assert "the baseline was 1:1 when they began" in text_of(table)


def test_a_baseline_changed_before_anything_ran_is_the_plan(make_results: MakeResults, tmp_path: Path) -> None:
    nothing = {(row, seed) for row in ACCURACIES for seed in range(2)}
    make_results(study_file(tmp_path), ACCURACIES, skip=nothing)
    late = finished_at("2099-01-01T00:00:00Z")
    results = make_results(study_file(tmp_path, baseline="1:2"), ACCURACIES, changes=late)
    assert stars(build_table(results))


def test_pairs_are_compared_beside_the_baseline_and_paid_for(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results(study_file(tmp_path, compare=[["2:1", "1:2"]]), ACCURACIES)
    found = compared(results)
    assert set(found.adjusted) == {("2:1", "1:1"), ("1:2", "1:1"), ("2:1", "1:2")}
    made = [found.differences[pair] for pair in found.adjusted]
    ps = [p for p in (*(d.p for d in made), *(d.p_equal for d in made)) if p is not None]
    assert [*found.adjusted.values(), *found.equal.values()] == holm(ps, most=3)
    table = build_table(results)
    cell = next(row for row in table.rows if row.name == "2:1").cells["pairs_top1"].text
    assert "against 1:2: different (higher)" in cell
    assert next(row for row in table.rows if row.name == "2:1").data["pairs"]
    assert "Δ top-1 against 1:2" in trace([results], "2:1", "delta")
    for name in RENDERERS:
        assert "1:2" in RENDERERS[name]([table]), name


def test_pairs_alone_are_all_that_is_asked_where_no_baseline_is_named(
    make_results: MakeResults, tmp_path: Path
) -> None:
    path = study_file(tmp_path, compare=[["2:1", "1:2"]])
    path.write_text(path.read_text().replace(', "baseline": "1:1"', ""))
    found = compared(make_results(path, ACCURACIES))
    assert set(found.adjusted) == {("2:1", "1:2")}


def test_a_pair_that_is_asked_for_both_ways_round_is_paid_for_once(make_results: MakeResults, tmp_path: Path) -> None:
    found = compared(make_results(study_file(tmp_path, compare=[["1:1", "2:1"]]), ACCURACIES))
    assert set(found.adjusted) == {("2:1", "1:1"), ("1:2", "1:1"), ("1:1", "2:1")}
    assert found.adjusted["1:1", "2:1"] == found.adjusted["2:1", "1:1"]
    assert found.adjusted["2:1", "1:1"] == pytest.approx(2 * (found.differences["2:1", "1:1"].p or 1))


def test_pairs_added_after_the_fact_are_marked(make_results: MakeResults, tmp_path: Path) -> None:
    build_table(make_results(study_file(tmp_path), ACCURACIES))
    found = compared(make_results(study_file(tmp_path, compare=[["2:1", "1:2"]]), ACCURACIES))
    assert ("2:1", "1:2") not in found.adjusted and ("2:1", "1:1") in found.adjusted
    assert "only after these runs had ended" in found.unclaimed["2:1", "1:2"]


def test_a_margin_changed_after_the_fact_proves_no_equality(make_results: MakeResults, tmp_path: Path) -> None:
    make_results(study_file(tmp_path, equal_within=1.0), ACCURACIES)
    table = build_table(make_results(study_file(tmp_path, equal_within=50.0), ACCURACIES))
    assert "equal_within was 1.0 when these runs began" in text_of(table)
    assert delta(table, "1:2")["verdict"] == "undecided"


def test_rows_that_a_search_proposed_are_not_starred_from_its_runs(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results(study_file(tmp_path), ACCURACIES)
    key = results.row("2:1").planned[0].key
    journal = tmp_path / "runs" / "studies" / "hunt" / "search.journal"
    journal.parent.mkdir(parents=True)
    journal.write_text(json.dumps({"op_code": 8, "user_attr": {"farlab.key": key}}) + "\n")
    table = build_table(results)
    assert not stars(table)
    assert "proposed by a search and scored on these runs (2:1 seed 0)" in text_of(table)


def test_all_three_verdicts_in_every_format(make_results: MakeResults, tmp_path: Path) -> None:
    rows = {"base": 0.6, "better": 0.9, "same": 0.6, "other": 0.55}
    settings = {name: {"recipe.lr": 0.001 * (i + 1)} for i, name in enumerate(rows)}
    path = tmp_path / "mine.yaml"
    asked = {"rows": settings, "baseline": "base", "compare": [["other", "same"]], "seeds": 3, "equal_within": 6}
    path.write_text(json.dumps({"study": "mine", **asked}))
    results = make_results(path, rows, seeds=3)
    table = build_table(results)
    said = {row.name: row.cells["verdict"].text for row in table.rows if "verdict" in row.cells}
    assert said["better"] == "different (higher)"
    assert said["same"] == "equal within 6"
    assert said["other"].startswith("undecided (") and "seeds" in said["other"]
    for name in RENDERERS:
        text = RENDERERS[name]([table])
        for word in ("different", "equal", "undecided"):
            assert word in text, (name, word)
    assert re.search(r"What would show the differences .* tell: other: .*; other against same: ", text_of(table))
    found = delta(table, "other")
    least, most = found["seeds_needed"]
    assert least > 3 and (most is None or most >= least)
    assert "verdict: equal within 6" in trace([results], "same", "delta")


def test_the_papers_own_seeds_are_held_against_the_same_verdicts(make_results: MakeResults) -> None:
    text = text_of(build_table(make_results("head_ratio", ACCURACIES, seeds=2)))
    assert "The paper's own 2 seeds" in text and "of its 2 here: none" in text


def test_few_videos_and_single_seeds_claim_nothing(make_results: MakeResults) -> None:
    single = build_table(make_results("head_ratio", ACCURACIES, seeds=1))
    assert not stars(single)
    assert next(r for r in single.rows if r.name == "2:1").cells["verdict"].text == "one shared seed"


def test_only_recorded_claims_are_made_where_nothing_may_be_written(make_results: MakeResults) -> None:
    results = make_results("head_ratio", ACCURACIES, seeds=2)
    reader = replace(results, recorded_claims=True)
    assert not stars(build_table(reader)) and not looks(results)
    build_table(results)
    assert stars(build_table(reader))


def test_what_claims_nothing_reads_the_same_where_nothing_may_be_written(make_results: MakeResults) -> None:
    """Its look is never recorded, so that the want of a record must not stand in place of the reason."""
    results = make_results("head_ratio", ACCURACIES, seeds=1)
    said = [compare_rows(each) for each in (results, replace(results, recorded_claims=True))]
    assert said[0] is not None and said[0] == said[1] and not looks(results)
    assert set(said[0].unclaimed.values()) == {"one shared seed"}


def test_reports_that_claim_nothing_are_no_looks(make_results: MakeResults) -> None:
    results = make_results("head_ratio", ACCURACIES, seeds=2)
    assert compare_rows(results, claim=False) is not None
    assert not looks(results)


def test_other_seeds_of_a_placebo_are_no_other_plan(make_results: MakeResults, tmp_path: Path) -> None:
    """It takes seeds of the baseline that happen to be finished, which may be others than when it was submitted."""
    results = make_results(study_file(tmp_path, placebo=True), ACCURACIES)
    other = with_trials(results, lambda t: replace(t, key=f"other-{t.key}") if t.row == "Placebo" else t)
    assert len(other.rows) == 4
    assert stars(build_table(other))
    assert stars(build_table(results))
    assert len(looks(results)) == 1

"""The check that runs on a GPU, at its smallest sizes: it has to work on the day a GPU is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as gpu_check


@pytest.fixture(autouse=True)
def flags_of_torch() -> object:
    before = torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32 = before


def rows(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_limits_keep_within_the_minutes_that_are_promised() -> None:
    full, short = (sum(limits) for limits in zip(*gpu_check.LIMITS.values(), strict=True))
    assert full <= 9 * 60 and short <= 4 * 60


def test_what_is_right_here_is_found_right(tmp_path: Path) -> None:
    gpu_check.run_section("right", tmp_path, short=True, tiny=True)
    found = [row for row in rows(tmp_path) if "error against float64" in str(row["what"])]
    assert len(found) >= 18 and all(str(row["goal"]).endswith("right") for row in found)
    text = gpu_check.table(rows(tmp_path))
    assert text.count("\n") == len(rows(tmp_path)) + 2 and "far, bfloat16" in text


def test_a_section_that_takes_too_long_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "LIMITS", {"model": (0.2, 0.2), "loader": (120, 120)})
    found = gpu_check.check(["model", "loader"], tmp_path, short=True, tiny=True)
    assert found[0]["what"] == "failed" and "more than 0.2 s" in found[0]["value"]
    assert [row["section"] for row in found[1:]] == ["loader"] * 3 and all(row["value"] > 0 for row in found[1:])


@pytest.mark.slow
def test_engine_and_whole_trials_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "LIMITS", dict.fromkeys(gpu_check.LIMITS, (300, 300)))
    found = gpu_check.check(["engine", "trials"], tmp_path, short=True, tiny=True)
    assert not [row for row in found if row["what"] == "failed" or "WRONG" in row["goal"]]
    assert [row["value"] for row in found if "same losses" in row["what"]] == [True, True]

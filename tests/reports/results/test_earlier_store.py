"""A store that FARLab 0.1 wrote still gives its table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import farlab

KEPT = json.loads(Path(__file__).with_name("store_0_1.json").read_text(encoding="utf-8"))
"""Files of a store in which version 0.1 trained, and what its reports said of them."""


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter a workspace with the store; its data set is not here."""
    for name, text in KEPT["files"].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def reported(form: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert farlab.run(["report", "kept.yaml", "-f", form]) == 0
    return capsys.readouterr().out


def test_its_numbers_are_the_same_to_the_last_digit(capsys: pytest.CaptureFixture[str]) -> None:
    """All but how sure a difference is, which is computed anew by whatever statistics the reader has."""
    before, now = json.loads(KEPT["expected"]["json"]), json.loads(reported("json", capsys))
    assert [row["state"] for row in now["rows"]] == ["finished", "finished", "diverged"]
    for theirs, ours in zip(before["rows"], now["rows"], strict=True):
        delta = theirs.pop("delta")["top1"]
        assert {name: ours[name] for name in theirs} == theirs
        for name in ("mean", "per_seed", "seeds", "videos") if delta else ():
            assert ours["delta"]["top1"][name] == delta[name]
    lines = {(line["row"], line["metric"]): line for line in csv.DictReader(io.StringIO(reported("csv", capsys)))}
    for row in csv.DictReader(io.StringIO(KEPT["expected"]["csv"])):  # it had a column for each number
        for name in ("top1", "top5", "flops", "params", "paper_top1", "paper_top5", "paper_flops"):
            found = lines.get((row["row"], name), {})
            assert found.get("mean", "") == row[name]
            for part in ("std", "n") if name in ("top1", "top5") and row[name] else ():
                assert found[part] == row[f"{name}_{part}"]


@pytest.mark.parametrize(("form", "between"), [("md", "|"), ("latex", "&")])
def test_its_lines_in_a_paper_are_the_same(form: str, between: str, capsys: pytest.CaptureFixture[str]) -> None:
    def rows(text: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in text.splitlines():
            name, *cells = line.strip("| ").removesuffix(r" \\").split(f" {between} ")
            if cells and any(row in name for row in ("1:1", "global", "diverges")):
                found.setdefault(name, [name]).extend(cells)  # a wide table is split into several
        return found

    before, now = rows(KEPT["expected"][form]), rows(reported(form, capsys))
    assert len(before) == 3
    for name, cells in before.items():
        told = iter(now[name])  # there may be more columns by now; the difference's has its interval in it
        assert all(cell in told for cell in (*cells[:3], *cells[4:])), now[name]

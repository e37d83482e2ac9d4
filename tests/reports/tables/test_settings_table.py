"""Table 1: every number of it stands in a shipped profile, and a departure is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.study import profiles
from reports.results.state import State
from reports.tables import recipe
from reports.tables.recipe import build_settings


def test_the_shipped_profiles_hold_the_papers_settings() -> None:
    table = build_settings(1)
    verdicts = {row.name: row.cells["profiles"] for row in table.rows}
    assert len(table.rows) == 17
    for name, cell in verdicts.items():
        expected = "–" if name in ("optimizer", "lr schedule") else "all 8 agree"
        assert (cell.value, cell.state) == (expected, State.FINISHED), name


def test_a_departure_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = profiles.packaged_studies() / "profiles"
    (tmp_path / "profiles").mkdir()
    for path in shipped.glob("*.yaml"):
        text = path.read_text()
        if path.stem == "k400-base-mvd":
            text = text.replace("epochs: 75", "epochs: 100")
        (tmp_path / "profiles" / path.name).write_text(text)
    monkeypatch.setattr(recipe, "packaged_studies", lambda: tmp_path)
    row = next(row for row in build_settings(1).rows if row.name == "training epochs")
    assert row.cells["profiles"].state is State.INCOMPARABLE
    assert row.cells["profiles"].text == "k400-base-mvd: 100"

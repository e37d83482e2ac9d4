"""Cost columns: every printed digit of the paper, and the command."""

import json

import pytest

from farlab import run
from reports.paper import paper_table
from reports.paper.costs import PARAMS_NOTE, TRUNCATED_NOTE, cost_of_table


@pytest.mark.parametrize("number", range(2, 9))
def test_every_flops_cell_prints_the_papers_digits(number: int) -> None:
    table = cost_of_table(number)
    misses = [row.row for row in table.rows if row.agrees("flops") is not True]
    assert misses == (["Global"] if number == 2 else [])
    assert (TRUNCATED_NOTE in table.notes) == (number == 2)
    paper = [row.name for row in paper_table(number).rows if number < 7 or row.group == "our implementation"]
    assert sorted(row.row for row in table.rows) == sorted(paper)


def test_parameters_are_honest_and_explained() -> None:
    table = cost_of_table(3)
    assert [f"{row.params / 1e6:.4f}" for row in table.rows] == ["21.9469", "23.3455", "25.8338"]
    assert PARAMS_NOTE in table.notes
    assert PARAMS_NOTE not in cost_of_table(5).notes


def test_the_command_prints_one_object_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cost", "--table", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["table"] == 5
    assert [row["row"] for row in found["rows"]] == ["1:1", "2:1", "1:2"]
    assert found["rows"][0]["flops"] == 53_489_359_104
    assert found["rows"][0]["paper"] == {"flops": 53.5}
    assert run(["cost", "--json"]) == 0
    assert [each["table"] for each in json.loads(capsys.readouterr().out)] == list(range(2, 9))


def test_a_profile_and_a_study_are_counted_at_their_own_scale(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cost", "head_ratio", "--profile", "demo"]) == 0
    text = capsys.readouterr().out
    assert "not of this profile" in text and "53.4894" not in text
    assert run(["cost", "--profile", "demo", "model.interaction=none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["row"] == "demo"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "9"], "no table 9"),
        (["--table", "1"], "no table 1 of results"),
        (["--table", "5", "--profile", "demo"], "name the study instead"),
        (["model.backbone=smal"], "Did you mean 'small'"),
        (["--profile", "nowhere"], "unknown profile 'nowhere'"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cost", *arguments]) == 2
    assert message in capsys.readouterr().err

"""What rows start from is told before anything trains, held against each other, and asked where it is a guess."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import farlab
from far.model.vit import build
from far.store.atomic import write_json
from far.weights.load_report import LoadReport, brief, uneven
from orchestrator.cli.options import load_targets
from orchestrator.plan.plan import make_plan
from orchestrator.workspace.workspace import open_workspace

STUDY = """
study: heads
base:
  model: {backbone: tiny, depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8], attention: {global: 1}, interaction: none}
  data: {classes: 10, demo: {train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}
  recipe: {epochs: 1, batch_size: 8, warmup_epochs: 0, precision: fp32}
rows:
  Global-Mean: {model.classifier: global-mean}
  Group-Mean: {model.classifier: group-mean}
seeds: 1
"""
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command in a workspace with a fine-tuned network of ten classes; return code, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heads.yaml").write_text(STUDY)
    (tmp_path / "farlab.toml").write_text(f"data_root = '{tiny_data}'\n")
    (tmp_path / "weights").mkdir()
    (study,) = load_targets(["heads.yaml"], None, None)
    net = build(study.rows[0].config.model, 10, seed=3)
    torch.save({"module": net.state_dict()}, tmp_path / "weights" / "ft.pt")

    def run(*words: str) -> tuple[int, str, str]:
        code = farlab.run([*words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.mark.parametrize("command", [("plan",), ("sweep", "--dry-run")])
def test_rows_of_which_one_has_a_trained_head_are_told(command: tuple[str, ...], say: Say) -> None:
    code, out, err = say(*command, "heads.yaml", "init.weights=ft.pt", "init.family=videomae")
    assert code == 0
    assert "initial weights of Global-Mean: ft.pt, read as videomae, fine-tuned, positions sinusoid-1d" in out
    assert "fresh (the file's head is (10, 96)): head.weight, head.bias" in out  # a head is taken whole or not
    assert "ft.pt is a fine-tuned network, not a pre-training" in err
    told = "head.bias, head.weight of the file in 'Global-Mean', random in 'Group-Mean'"
    assert f"rows start differently: {told}" in err
    code, out, err = say(*command, "heads.yaml", "init.weights=ft.pt", "init.family=videomae", "init.head=random")
    assert code == 0 and "rows start differently" not in err and "fresh (init.head: random): head.weight" in out


@pytest.mark.parametrize("command", [("plan",), ("sweep", "--executor", "local"), ("sweep", "-n")])
def test_a_guess_is_asked_before_anything_trains(command: tuple[str, ...], say: Say, tmp_path: Path) -> None:
    code, _, err = say(*command, "heads.yaml", "init.weights=ft.pt")
    assert code == 2
    assert "study 'heads', row 'Global-Mean': init.family: " in err and "ft.pt" in err
    assert "(valid: videomae, videomae-v2, mvd)" in err
    assert not list((tmp_path / "runs").glob("trials/*"))


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_train_asks_before_it_writes_anything(dry_run: tuple[str, ...], say: Say, tmp_path: Path) -> None:
    settings = STUDY[STUDY.index("  model:") : STUDY.index("rows:")]
    (tmp_path / "one.yaml").write_text(f"profile: one\nsettings:\n{settings}  model.classifier: global-mean\n")
    code, _, err = say("train", "one.yaml", "init.weights=ft.pt", *dry_run)
    assert code == 2 and "init.family: " in err and "ft.pt" in err and "(valid: videomae, videomae-v2, mvd)" in err
    assert not list((tmp_path / "runs").glob("trials/*"))
    if dry_run:
        code, out, _ = say("train", "one.yaml", "init.weights=ft.pt", "init.family=mvd", *dry_run)
        assert code == 0 and "initial weights ft.pt: mvd, fine-tuned, positions sincos-3d: " in out
        assert "its head of 10 classes was loaded" in out


def test_what_has_run_is_not_asked_about(say: Say, tmp_path: Path) -> None:
    """Trials of earlier versions keep their keys and their answer; only what is to be run must be clear."""
    studies = load_targets(["heads.yaml", "init.weights=ft.pt"], None, None)
    workspace = open_workspace()
    store = workspace.store
    plan = make_plan(studies, store, manifest_hash=workspace.data_hash, weights_hash=workspace.weights_hash)
    account = {"family": "videomae", "loaded": ["head.weight"], "fresh": {}, "ignored": {}, "notes": []}
    other = {**account, "loaded": [], "fresh": {"head.weight": "the file's head is (10, 96)"}}
    for trial, init in zip(plan.trials, (account, other), strict=True):
        result = {"key": trial.key, "state": "finished", "metrics": {"top1": 1.0}, "init": init}
        write_json(store.paths(trial.key).result, result)
    code, out, err = say("plan", "heads.yaml", "init.weights=ft.pt", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["to_run"] == [] and [start["row"] for start in told["starts"]] == ["Global-Mean", "Group-Mean"]
    code, _, err = say("plan", "heads.yaml", "init.weights=ft.pt")
    assert code == 0 and "head.weight of the file in 'Global-Mean', random in 'Group-Mean'" in err


def test_a_search_is_asked_as_well(say: Say, tmp_path: Path) -> None:
    base = STUDY[STUDY.index("base:") : STUDY.index("rows:")]
    search = "search: {space: {recipe.lr: {low: 1.0e-4, high: 1.0e-3}}, trials: 2}\n"
    (tmp_path / "tuned.yaml").write_text(f"study: tuned\n{base}  init: {{weights: ft.pt}}\n{search}")
    code, _, err = say("sweep", "tuned.yaml", "--executor", "local")
    assert code == 2 and "study 'tuned', search: init.family: " in err and "ft.pt" in err


def test_what_does_not_fit_names_row_and_file(say: Say) -> None:
    code, _, err = say("plan", "heads.yaml", "init.weights=ft.pt", "init.family=videomae", "model.tubelet=[4,8,8]")
    assert code == 2 and "row 'Global-Mean'" in err and "ft.pt" in err and "model.tubelet: [2, 8, 8] is that" in err


NAMES = st.sampled_from(["a", "b", "c"])


@given(st.dictionaries(st.sampled_from("xyz"), st.tuples(st.frozensets(NAMES), st.frozensets(NAMES)), max_size=3))
def test_uneven_rows_are_those_that_share_a_name_and_not_its_origin(rows: dict[str, Any]) -> None:
    starts = {
        row: {"loaded": sorted(kept), "fresh": dict.fromkeys(new - kept, "")} for row, (kept, new) in rows.items()
    }
    found = {name for each in uneven(starts) for name in each.names}
    loaded = {name for start in starts.values() for name in start["loaded"]}
    fresh = {name for start in starts.values() for name in start["fresh"]}
    assert found == loaded & fresh


def test_an_account_comes_back_from_a_record() -> None:
    account = LoadReport("mvd", "sincos-3d", "pre-trained", ("a",), {"b": "why"}, {"c": "why"}, ("note",))
    assert LoadReport.from_json(account.as_json()) == account
    assert LoadReport.from_json(None) is None


def test_many_names_are_told_by_module() -> None:
    decoder = [f"decoder.blocks.{i}.{part}" for i in range(4) for part in ("norm1.weight", "mlp.fc1.bias")]
    blocks = [f"blocks.{i}.{part}.weight" for i in range(12) for part in ("norm1", "norm2", "attn.qkv", "attn.proj")]
    few = ["head.weight", "head.bias", "mask_token"]
    assert brief(few) == "head.weight, head.bias, mask_token"
    told = brief([*decoder, *blocks, *few, "fc_norm.bias", "norm.bias"])
    assert "decoder.* (8 tensors), blocks.*.norm1.* (12 tensors)" in told
    assert "blocks.*.attn.* (24 tensors), head.* (2 tensors), mask_token" in told

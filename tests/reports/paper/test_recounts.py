"""Recounted FLOPs of the literature, against transformers' implementations and an independent counter."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reports.paper import paper_table
from reports.paper.recounts import RECOUNTS, of, plain, recount, timesformer
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.tables.literature import build_literature
from reports.tables.registry import build_one

MakeResults = Callable[..., Results]


def counted(model: nn.Module, frames: int) -> int:
    """Multiply-accumulates of matrix products and convolutions, and five per element of every LayerNorm."""
    norms = 0

    def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal norms
        norms += 5 * output.numel()

    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(hook)
    clip = torch.empty(1, frames, 3, 224, 224, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(pixel_values=clip)
    return counter.get_total_flops() // 2 + norms


@pytest.mark.slow
def test_recounts_are_those_of_transformers_models() -> None:
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        for frames, classes in ((8, 174), (96, 400)):
            config = transformers.TimesformerConfig(num_frames=frames, num_labels=classes)
            model = transformers.TimesformerForVideoClassification(config).eval()
            assert counted(model, frames) == timesformer(frames, classes).flops
        config = transformers.VideoMAEConfig(num_labels=174, use_mean_pooling=True)
        config._attn_implementation = "eager"
        assert counted(transformers.VideoMAEForVideoClassification(config).eval(), 16) == plain("base", 174).flops
        config = transformers.VivitConfig(num_labels=174)
        config._attn_implementation = "eager"
        joint = of(174, network="vivit", backbone="base", clip=[32, 224, 224])
        assert counted(transformers.VivitForVideoClassification(config).eval(), 32) == joint.flops


@pytest.mark.parametrize(("table", "row"), RECOUNTS)
def test_recounts_agree_with_the_reported_numbers_or_say_why(table: int, row: str) -> None:
    about, found = paper_table(table).row(row), recount(table, row)
    assert about is not None and found is not None
    reported = about.numbers["flops"]
    assert reported is not None
    near = abs(found.flops / 1e9 / reported - 1) < 0.005
    assert near or found.why


def test_tables_7_and_8() -> None:
    for number, rows in ((7, 20), (8, 18)):
        table = build_literature(number)
        assert [row.name for row in table.rows] == [row.name for row in paper_table(number).rows]
        assert len(table.rows) == rows
        assert [row.group for row in table.rows if row.group == "our implementation"] == ["our implementation"] * 8
        data = json.loads(RENDERERS["json"]([table]))
        far = next(row for row in data["rows"] if row["row"] == "FAR (MVD) ViT-B")
        assert round(far["counted"]["flops"] / 1e9) == 176
        assert far["flops"] is None  # nothing has run
        assert far["state"] == "missing"
        assert far["metrics"]["top1"]["n"] == 0
        text = RENDERERS["term"]([table])
        assert "n/a × 30" in text
        assert ("not a ViT-L" in text) == (number == 8)


def test_our_rows_of_tables_7_and_8_are_measured_beside_the_literature(make_results: MakeResults) -> None:
    for study, number in (("ssv2", 7), ("k400", 8)):
        better = {"FAR (VideoMAE) ViT-B": 0.8, "VideoMAE ViT-S": 0.4}
        results = make_results(study, better, seeds=3, skip={("MVD ViT-B", 2)})
        table = build_one(results)
        assert (
            "not comparable with the paper's" in table.warning and table.origin_title("measured") == "measured (demo)"
        )
        data = {row["row"]: row for row in json.loads(RENDERERS["json"]([table]))["rows"]}
        for row in results.rows:
            assert data[row.name]["metrics"]["top1"]["values"] == list(row.by_seed("top1").values())
            assert data[row.name]["paper"] == paper_table(number).row(row.name).numbers  # type: ignore[union-attr]
        assert data["MVD ViT-B"]["state"] == "partial"
        best = [row.name for row in table.rows if (cell := row.cells.get("top1")) and cell.best]
        assert best == ["FAR (VideoMAE) ViT-B"]
        (pair,) = data["FAR (VideoMAE) ViT-S"]["pairs"]
        assert pair["baseline"] == "VideoMAE ViT-S" and pair["mean"] > 0
        assert all(row["delta"] is None or row["delta"]["top1"] is None for row in data.values())
        assert not any(row.default for row in table.rows)  # the paper compares pairs, not all rows with one
        text = RENDERERS["term"]([table])
        assert "(2/3 seeds)" in text and "n/a × 30" in text and "against VideoMAE ViT-S" in text

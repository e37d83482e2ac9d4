"""``farlab evaluate``: a trained network on the labelled videos of a split."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from far.errors import ConfigError
from far.evaluate.frame_order import ORDERS
from far.text import rounded
from orchestrator.cli.datasets import progress_bar
from orchestrator.cli.options import JsonOption, TrustOption
from orchestrator.cli.trained import (
    DataOption,
    ViewsOption,
    check_code,
    check_labels,
    data_of,
    parse_views,
)
from orchestrator.cli.trials import TrialArgument, find_trial
from orchestrator.workspace.plugins import load_trial_plugins
from orchestrator.workspace.workspace import open_workspace


def evaluate(
    checkpoint: TrialArgument,
    split: Annotated[str, typer.Option(help="val, test or train.")] = "val",
    views: ViewsOption = None,
    order: Annotated[
        str, typer.Option(help="Frames in their order, 'reversed', or 'shuffled' (how much order matters).")
    ] = "natural",
    data: DataOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Parquet file to write every view's scores to.")
    ] = None,
    json_: JsonOption = False,
    trust: TrustOption = False,
) -> int:
    """Test a trained network on the labelled videos of a split, with any views.

    Examples:
        farlab evaluate head_ratio/1:1/0 --views 2x3
        farlab evaluate 30c4 --split train --order shuffled --json
    """
    from far.trained.network import evaluate_trained, load_trained, trial_config

    if output is not None:
        check_output(output)
    workspace = open_workspace()
    arrange, clips_crops = ORDERS[order], parse_views(views)
    directory = find_trial(checkpoint, workspace.store).directory
    load_trial_plugins(directory)
    manifest = data_of(trial_config(directory), data, split, workspace)
    trained = load_trained(directory)
    check_labels(manifest, directory, trained, workspace)
    with progress_bar("evaluating views") as progress:
        predictions, scores, used = evaluate_trained(
            trained,
            data_root=workspace.settings.data_root,
            manifest=manifest,
            split=split,
            views=clips_crops,
            arrange=arrange,
            progress=progress,
        )
    verdict = check_code(directory, trained, workspace)
    if output is not None:
        predictions.write(output)
    if json_:
        print(json.dumps({**asdict(scores), "views": {"clips": used[0], "crops": used[1]}, "order": order,
                          "split": split, "data_hash": manifest.content_hash,
                          "code": verdict.text or verdict.state}))  # fmt: skip
    else:
        print(
            f"top-1 {rounded(scores.top1, 2)} %, top-5 {rounded(scores.top5, 2)} %, loss {scores.loss:.4f}, "
            f"evaluated {scores.evaluated} of {scores.expected} videos, {used[0]} clips x {used[1]} crops, {order}"
            + ("" if split == "val" else f", split {split}")
        )
    return 0


def check_output(output: Path) -> None:
    """Refuse what scores cannot be written to, before anything is evaluated.

    Raises:
        ConfigError: the file's name promises what is no Parquet, or its folder is not there.
    """
    if output.suffix.lower() != ".parquet":
        raise ConfigError(
            "scores are written as Parquet", key="--output", where=str(output), choices=[".parquet"], got=output.suffix
        )
    if output.is_dir() or not output.parent.is_dir():
        what = "is a folder" if output.is_dir() else f"no folder {output.parent} to write into"
        raise ConfigError(what, key="--output", where=str(output))

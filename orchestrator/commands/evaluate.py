"""``farlab evaluate``: a trained network on the validation videos."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from far.errors import ConfigError
from far.evaluate.frame_order import ORDERS
from far.text import rounded
from orchestrator.cli.options import JsonOption
from orchestrator.cli.trials import TrialArgument, find_trial
from orchestrator.plan.changed_code import verdict_of
from orchestrator.workspace.workspace import open_workspace


def evaluate(
    checkpoint: TrialArgument,
    views: Annotated[
        str | None, typer.Option(help="Temporal clips x spatial crops, e.g. 2x3; default: the trial's.")
    ] = None,
    order: Annotated[
        str, typer.Option(help="Frames in their order, 'reversed', or 'shuffled' (how much order matters).")
    ] = "natural",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write every view's scores to.")] = None,
    json_: JsonOption = False,
) -> int:
    """Test a trained network on the validation videos, with any views."""
    from far.trained.network import evaluate_trained, load_trained

    workspace = open_workspace()
    arrange = ORDERS[order]
    clips_crops = _parse_views(views) if views else None
    directory = find_trial(checkpoint, workspace.store).directory
    trained = load_trained(directory)
    predictions, scores, used = evaluate_trained(
        trained, data_root=workspace.settings.data_root, views=clips_crops, arrange=arrange
    )
    verdict = verdict_of(directory, trained.config, workspace.store)
    if verdict.text:
        print(f"warning: these are old weights in new code: {verdict.text}", file=sys.stderr)
    if output is not None:
        predictions.write(output)
    if json_:
        print(json.dumps({**asdict(scores), "views": {"clips": used[0], "crops": used[1]}, "order": order,
                          "code": verdict.text or verdict.state}))  # fmt: skip
    else:
        print(
            f"top-1 {rounded(scores.top1, 2)} %, top-5 {rounded(scores.top5, 2)} %, loss {scores.loss:.4f}, "
            f"evaluated {scores.evaluated} of {scores.expected} videos, {used[0]} clips x {used[1]} crops, {order}"
        )
    return 0


def _parse_views(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", text)
    if match is None:
        raise ConfigError(f"'{text}' is not clips x crops, such as 2x3", key="--views", where="command line")
    return int(match[1]), int(match[2])

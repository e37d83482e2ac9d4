"""``farlab show``: what one trial is, where it stands, what it came to and what can be done with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table

from far.config.differences import shown
from far.text import rounded
from orchestrator.cli.console import make_console
from orchestrator.cli.fitting import fitting
from orchestrator.cli.options import JsonOption
from orchestrator.cli.trials import TrialArgument, find_trial
from orchestrator.estimate.format import duration, size
from orchestrator.monitor.clips import in_words
from orchestrator.monitor.trial import TrialFacts, facts
from orchestrator.store.record import said_code
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCHS_SHOWN = 12
"""Epochs that a terminal gets; ``--json`` has all."""
COLUMNS = {"train_loss": "train loss", "val_loss": "val loss", "val_top1": "top-1", "val_top5": "top-5", "lr": "rate"}


def show(trial: TrialArgument, json_: JsonOption = False) -> None:
    """Show a trial: the rows that it is, its state, settings, epochs, costs and files, and what to do with it.

    Examples:
        farlab show 30c4
        farlab show head_ratio/1:1/0 --json
    """
    store = open_workspace().store
    found = facts(find_trial(trial, store), store)
    if json_:
        print(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
        return
    if found.problem:
        print(f"problem: {found.problem}", file=sys.stderr)
    console = make_console()
    console.print(f"trial {found.key}: {_state(found)}")
    for name, text in _lines(found):
        console.print(f"  {name:9} {text}")
    if found.settings:
        console.print("settings: what it is, and what is not the default (* tells the rows of its study apart)")
    for key, value in found.settings.items():
        console.print(f"  {'*' if key in found.varied else ' '} {key} = {shown(value)}")
    if found.epochs:
        _print_epochs(console, found.epochs)
    for title, entries in (("files", _files(found)), ("commands", found.commands)):
        console.print(title if entries else f"{title}: none")
        for entry in entries:
            console.print(f"  {entry}")


def _state(found: TrialFacts) -> str:
    starts = len(found.spec.get("attempts") or ())
    ended = (found.result or {}).get("finished_at")
    parts = [found.state, f"at {ended}" if ended else "", f"started {starts} times" if starts > 1 else ""]
    return ", ".join(filter(None, parts))


def _lines(found: TrialFacts) -> Iterator[tuple[str, str]]:
    """Yield what is known, a name and a line each."""
    for cell in found.cells:
        yield "row", str(cell)
    if not found.cells:
        yield "row", "no study that was submitted to this store names it"
    result: Mapping[str, Any] = found.result or {}
    if error := result.get("error"):
        yield "error", f"{error.get('kind')}: {error.get('message')}"
    if metrics := result.get("metrics"):
        yield "result", ", ".join(_metrics(metrics))
        views = result.get("views") or {}
        tested = f"{result.get('evaluated')} of {result.get('expected')} videos"
        yield (
            "test",
            f"{tested}, {views.get('frames')} frames x {views.get('clips')} clips x {views.get('crops')} crops",
        )
    if costs := _costs(result):
        yield "cost", ", ".join(costs)
    if found.clips:
        yield "clips", in_words(found.clips)
    if result.get("data_hash"):
        source = (found.config.get("data") or {}).get("source")
        yield "data", f"{f'{source}, ' if source else ''}content {str(result['data_hash'])[:16]}"
    if environment := result.get("env"):
        yield "ran with", ", ".join(f"{name} {value}" for name, value in environment.items() if value is not None)
    if code := result.get("code"):
        yield "code", f"{said_code(code)}; {_verdict(found.code)}"


def _verdict(code: str) -> str:
    return {"current": "as it is here", "code unknown": "which source it ran is not known"}.get(code, code)


def _metrics(metrics: Mapping[str, Any]) -> Iterator[str]:
    titles = {"top1": "top-1", "top5": "top-5"}
    for name, value in metrics.items():
        if value is not None and name in titles:
            yield f"{titles[name]} {rounded(value, 2)} %"
        elif value is not None:
            yield f"loss {value:.4f}" if name == "loss" else f"{name} {value:.6g}"


def _costs(result: Mapping[str, Any]) -> list[str]:
    wanted: list[tuple[str, Any]] = [
        ("flops", lambda value: f"{value / 1e9:.4f} GFLOPs a clip"),
        ("params", lambda value: f"{value / 1e6:.4f} M parameters"),
        ("seconds", lambda value: f"{duration(value)} in all"),
        ("steps", lambda value: f"{value} steps"),
        ("peak_memory_bytes", lambda value: f"{size(value)} of memory at most"),
    ]
    return [write(result[name]) for name, write in wanted if result.get(name) is not None]


def _print_epochs(console: Any, epochs: list[dict[str, Any]]) -> None:
    columns = {name: title for name, title in COLUMNS.items() if any(each.get(name) is not None for each in epochs)}
    table = Table("epoch", *columns.values(), "seconds", title="epochs", title_justify="left")
    for column in table.columns:
        column.justify = "right"
    last, best = len(epochs) - 1, max(range(len(epochs)), key=lambda at: epochs[at].get("val_top1") or 0)
    places, others = fitting(
        range(len(epochs)), EPOCHS_SHOWN, lambda at: (at not in (0, last, best), last - at), lambda at: "epochs"
    )
    for at in places:
        cells = [_number(epochs[at].get(name)) for name in columns]
        table.add_row(str(epochs[at]["epoch"] + 1), *cells, _number(epochs[at].get("seconds")))
    console.print(table)
    if others:
        console.print(f"  {others}; --json has all")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _files(found: TrialFacts) -> list[str]:
    return [f"{found.paths.directory / name}  {size(count)}" for name, count in found.sizes.items()]

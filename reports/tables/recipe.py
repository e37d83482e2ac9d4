"""Table 1: the paper's fine-tuning settings, checked value for value against the shipped profiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from far.config import TrialConfig, resolve
from orchestrator.study.paper import paper_facts
from orchestrator.study.profiles import find_profile, packaged_studies
from reports.results.results import Results
from reports.results.state import State
from reports.tables.model import Cell, Column, Note, Origin, Row, Table

READ: dict[str, Callable[[TrialConfig], Any]] = {
    "learning rate": lambda c: c.recipe.lr,
    "weight decay": lambda c: c.recipe.weight_decay,
    "momentum": lambda c: list(c.recipe.betas),
    "batch size": lambda c: c.recipe.batch_size,
    "accumulation step": lambda c: c.recipe.batch_size / (c.run.devices * (c.run.micro_batch or 1)),
    "warmup epochs": lambda c: c.recipe.warmup_epochs,
    "training epochs": lambda c: c.recipe.epochs,
    "drop path": lambda c: c.model.drop_path,
    "layer-wise lr decay": lambda c: c.recipe.layer_decay,
    "repeated augmentation": lambda c: c.recipe.augment.repeats,
    "flip augmentation": lambda c: c.data.flip,
    "RandAug": lambda c: [c.recipe.augment.randaug_magnitude, c.recipe.augment.randaug_std],
    "label smoothing": lambda c: c.recipe.label_smoothing,
    "mixup": lambda c: c.recipe.augment.mixup,
    "cutmix": lambda c: c.recipe.augment.cutmix,
}
"""How a setting of the table is read off a configuration; optimizer and schedule are the only ones there are."""

DATA = {"Sth-Sth V2": "ssv2", "Kinetics-400": "k400"}
SIZES = {"S": "small", "B": "base"}


def build_settings(number: int, results: Results | None = None) -> Table:
    """Lay out a table of settings, with a last column that says whether the shipped profiles hold these values."""
    facts = paper_facts()[number]
    title, headers, rows = facts.title, list(facts.columns), [list(row) for row in facts.rows]
    profiles = _profiles(list(headers[1:]))
    keys = ["setting", *(_key(header) for header in headers[1:])]
    columns = [
        Column(key, header, Origin.PAPER if i else Origin.LABEL)
        for i, (key, header) in enumerate(zip(keys, headers, strict=True))
    ]
    columns.append(Column("profiles", "shipped profiles", Origin.COUNTED))
    laid = [_row(keys, headers, row, profiles) for row in rows]
    names = ", ".join(sorted(name for found in profiles.values() for name, _ in found.values()))
    notes = (
        Note("S: ViT-S, B: ViT-B."),
        Note(f"Shipped profiles: {names}." if names else "No shipped profile was found to compare with."),
    )
    return Table(str(number), title, tuple(columns), tuple(laid), profile="", notes=notes, number=number)


def _profiles(headers: list[str]) -> dict[str, dict[str, tuple[str, TrialConfig]]]:
    """Return the shipped profile of each column and size, where there is one."""
    folder = packaged_studies() / "profiles"
    found: dict[str, dict[str, tuple[str, TrialConfig]]] = {header: {} for header in headers}
    for header in headers:
        family, data = _family_and_data(header)
        for letter, size in SIZES.items():
            name = f"{data}-{size}-{family}"
            if (folder / f"{name}.yaml").is_file():
                found[header][letter] = (name, resolve(find_profile(name, [folder]).layers))
    return found


def _family_and_data(header: str) -> tuple[str, str]:
    data = next(short for long, short in DATA.items() if long in header)
    return "mvd" if "MVD" in header else "videomae", data


def _key(header: str) -> str:
    return "_".join(_family_and_data(header))


def _row(
    keys: list[str], headers: list[str], row: list[Any], profiles: dict[str, dict[str, tuple[str, TrialConfig]]]
) -> Row:
    name, read = str(row[0]), READ.get(str(row[0]))
    wrong, compared = [], 0
    for header, value in zip(headers[1:], row[1:], strict=True):
        for letter, (profile, config) in profiles[header].items():
            if read is None:
                continue
            compared += 1
            wanted, own = value.get(letter) if isinstance(value, dict) else value, read(config)
            if wanted != own:
                wrong.append(f"{profile}: {_setting(own)}")
    verdict = "; ".join(wrong) if wrong else f"all {compared} agree" if compared else "–"
    cells = {key: Cell(_setting(value)) for key, value in zip(keys, row, strict=True)}
    cells["profiles"] = Cell(verdict, state=State.INCOMPARABLE if wrong else State.FINISHED)
    values = dict(zip(headers[1:], row[1:], strict=True))
    data = {"row": name, "paper": values, "profiles": verdict, "state": "finished"}
    return Row(name, cells, State.FINISHED, data=data)


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_setting(inner)} ({name})" for name, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"({', '.join(_setting(inner) for inner in value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)

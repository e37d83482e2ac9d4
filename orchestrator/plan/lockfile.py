"""A study frozen at submission: what runs is what stood in the files then, whatever is edited afterwards.

``study.lock.yaml`` holds the resolved configuration of every row and the key of every trial. It is written by a
sweep when it starts; ``resume`` and ``status`` read it instead of the study file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from far import __version__
from far.config import TrialConfig
from far.config.differences import differences, shown
from far.config.identity import is_counted
from far.config.layers import Layer, Source, flatten
from far.errors import ConfigError
from far.plugins import Plugin, PluginCode
from far.plugins.kept import described, keep
from far.source import plugins_of
from far.store.atomic import parse_json, write_atomic
from orchestrator.plan.plan import Plan
from orchestrator.store.store import Store
from orchestrator.study import Profile, Row, Study
from orchestrator.study.lookup import name_in
from orchestrator.study.schema import BudgetConfig, ResourcesConfig, RetryConfig, SearchConfig
from orchestrator.workspace.plugins import load_kept, records_in

PLUGINS = "plugins"
"""Folder next to the file, for the study's plug-ins as they were then."""
HEADER = "# Written by farlab when the study was submitted: what runs is what stands here. JSON lines, one a row.\n"


@dataclass(frozen=True)
class _Recipe:
    epochs: int


@dataclass(frozen=True)
class _Config:
    recipe: _Recipe


@dataclass(frozen=True)
class _Row:
    config: _Config
    trials: dict[int, str]


@dataclass(frozen=True)
class _Submitted:
    """What is read of a submission without making a study of it again."""

    rows: dict[str, _Row]
    submitted_at: str
    source_sha256: str
    title: str = ""
    source: str = ""


def write_lockfile(plan: Plan, store: Store) -> list[str]:
    """Write every study of a plan as it is now; return what differs from its last submission, in words.

    An unchanged submission leaves the file as it was; a changed one moves it into ``history/``.
    """
    said: list[str] = []
    for study in plan.studies:
        if study.file is None:
            continue  # it was read from its submission: resumed or retried as it was frozen
        path = store.study(study.name).lockfile(study.profile.name)
        record = record_of(study, {(t.row, t.seed): t.key for t in plan.cells(study.name)})
        before = _read(path) if path.exists() else None
        if before is not None:
            differ = changes(before, record)
            if not differ and before["source_sha256"] == record["source_sha256"]:
                continue
            said += [f"study '{study.name}' since {before['submitted_at']}: {change}" for change in differ]
            stamp = before["submitted_at"].replace(":", "")
            write_atomic(path.parent / "history" / f"study.lock.{stamp}.yaml", path.read_bytes())
        keep(codes_of(study), path.parent / PLUGINS)
        write_atomic(path, lockfile_text(record))
    return said


def codes_of(study: Study) -> list[PluginCode]:
    """Return the plug-ins that a study names, and those that its rows use."""
    used = [plugin for row in study.rows for plugin in plugins_of(row.config)]
    return list({plugin.code.digest: plugin.code for plugin in (*study.plugins, *used)}.values())


def load_submitted_plugins(path: Path) -> list[Plugin]:
    """Load the plug-ins of a submission as they were then.

    Raises:
        ConfigError: see ``orchestrator.workspace.plugins.load_kept``.
    """
    record = read_lockfile(path)
    whose = f"study '{record.get('study')}'"
    return load_kept(records_in(record), path.parent / PLUGINS, whose)


def refuse_namesake(study: Study, store: Store) -> None:
    """Refuse a study whose name another file has submitted: it would take the other's place in the store.

    A file that was moved, copied as it is, or renamed within is no namesake.

    Raises:
        ConfigError: naming both files.
    """
    own = study.path.resolve()
    for path in store.study(study.name).submissions() if study.file is not None else ():
        source = Path(str(read_lockfile(path).get("source", "")))
        if not source.is_absolute() or source == own or name_in(source) != study.name:
            continue
        if source.read_bytes() != own.read_bytes():
            raise ConfigError(
                f"the study '{study.name}' was submitted from {source}: give this one a name of its own",
                key="study",
                where=str(study.path),
            )


def load_lockfile(path: Path) -> Study:
    """Return a study as it was submitted.

    Raises:
        ConfigError: there is no such file, or it is damaged or from another version.
    """
    record = _read(path)
    if record is None:
        raise ConfigError("no such submission, or a damaged one: run the sweep again", where=str(path))
    load_submitted_plugins(path)
    try:
        profile = Profile(**record["profile"], path=Path(record["source"]), layers=())
        return Study(
            name=record["study"],
            title=record["title"],
            table=record["table"],
            row_header=record["row_header"],
            rows=tuple(
                Row(
                    name,
                    TrialConfig.model_validate(row["config"]),
                    row["settings"],
                    str(path),
                    seeds=tuple(row["seeds"]) if row.get("seeds") else None,
                    present=tuple(row["present"]) if row.get("present") is not None else None,
                )
                for name, row in record["rows"].items()
            ),
            baseline=record["baseline"],
            seeds=tuple(record["seeds"]),
            profile=profile,
            path=Path(record["source"]),
            resources=ResourcesConfig.model_validate(record["resources"]),
            retry=RetryConfig.model_validate(record["retry"]),
            budget=BudgetConfig.model_validate(record["budget"]),
            search=SearchConfig.model_validate(record["search"]) if record["search"] else None,
            overrides=tuple(record["overrides"]),
            compare=tuple((first, second) for first, second in record.get("compare") or ()),
            equal_within=record.get("equal_within"),
            placebo=record.get("placebo"),
            control=record.get("control"),
            quoted=record.get("quoted") or {},
            components=tuple(record.get("components") or ()),
            base=(Layer(record["base"], lambda _: str(path), Source.BASE),),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise ConfigError(
            f"was written by farlab {record.get('farlab')} and does not fit this one ({error}); "
            "sweep the study file itself",
            where=str(path),
        ) from None


def locked_keys(path: Path) -> dict[str, dict[int, str]]:
    """Return the keys of a submission's trials by row and seed; empty if the file is damaged."""
    record = _read(path) or {"rows": {}}
    return {name: {int(seed): key for seed, key in row["trials"].items()} for name, row in record["rows"].items()}


def read_lockfile(path: Path) -> dict[str, Any]:
    """Return the record of a submission as plain data; empty if the file is damaged."""
    return _read(path) or {}


def record_of(study: Study, keys: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    """Return what a submission of a study says.

    Args:
        study: the study.
        keys: of its trials, by row and seed.
    """
    source = study.path.read_bytes() if study.path.is_file() else b""
    base: dict[str, Any] = {}
    for layer in study.base:
        base.update({".".join(path): setting.value for path, setting in flatten(layer).items()})
    profile = {f.name: getattr(study.profile, f.name) for f in fields(Profile) if f.name not in ("path", "layers")}
    return {
        "farlab": __version__,
        "submitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": study.name,
        "source": str(study.path.resolve()),
        "source_sha256": hashlib.sha256(source).hexdigest(),
        "title": study.title,
        "table": study.table,
        "row_header": study.row_header,
        "baseline": study.baseline,
        "seeds": list(study.seeds),
        "profile": profile,
        "overrides": list(study.overrides),
        "resources": study.resources.model_dump(mode="json"),
        "retry": study.retry.model_dump(mode="json"),
        "budget": study.budget.model_dump(mode="json"),
        "search": study.search.model_dump(mode="json") if study.search else None,
        "compare": [list(pair) for pair in study.compare] or None,
        "equal_within": study.equal_within,
        "placebo": study.placebo,
        "control": study.control,
        **({"quoted": {name: dict(row) for name, row in study.quoted.items()}} if study.quoted else {}),
        "components": list(study.components) or None,
        "base": base,
        **({"plugins": [described(code) for code in codes]} if (codes := codes_of(study)) else {}),
        "rows": {
            row.name: {
                "settings": row.settings,
                "config": row.config.model_dump(mode="json"),
                **({"seeds": list(row.seeds)} if row.seeds is not None else {}),
                **({"present": list(row.present)} if row.present is not None else {}),
                "trials": {str(seed): keys[row.name, seed] for seed in study.seeds_of(row)},
            }
            for row in study.rows
        },
    }


def lockfile_text(record: Mapping[str, Any]) -> str:
    """Return the record as JSON that is also YAML, laid out so that a person can read and compare it by line."""
    lines = []
    for key, value in record.items():
        if key == "rows":
            rows = ",\n".join(f"  {json.dumps(name, ensure_ascii=False)}: {shown(row)}" for name, row in value.items())
            lines.append(f' "rows": {{\n{rows}\n }}')
        else:
            lines.append(f" {json.dumps(key)}: {shown(value)}")
    return HEADER + "{\n" + ",\n".join(lines) + "\n}\n"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    record: dict[str, Any] | None = parse_json(data.removeprefix(HEADER.encode()), _Submitted)
    return record


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two submissions of a study."""
    said = [
        f"{key} {shown(before.get(key))} -> {shown(now.get(key))}"
        for key in ("seeds", "baseline", "compare", "equal_within", "resources", "retry", "budget", "search")
        if before.get(key) != now.get(key)
    ]
    texts = [{each["name"]: each["digest"] for each in records_in(each)} for each in (before, now)]
    said += [f"plug-in '{name}' changed" for name in texts[0] if texts[1].get(name, texts[0][name]) != texts[0][name]]
    old, new = before["rows"], now["rows"]
    said += [f"row '{name}' added" for name in new if name not in old]
    said += [f"row '{name}' removed" for name in old if name not in new]
    for name in new:
        if name in old:
            moved = differences(old[name]["config"], new[name]["config"])
            # What an earlier version did not know, and changes no number, is no change of the study.
            moves = ", ".join(str(each) for each in moved if each.first is not None or is_counted(each.key))
            if moves:
                said.append(f"row '{name}': {moves}")
            elif old[name]["trials"] != new[name]["trials"] and before.get("seeds") == now.get("seeds"):
                said.append(f"row '{name}': other data or weights")
    return said

"""What the workspace holds: settings, data sets, weights, and whether there is room for what is submitted."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from far.data.sources.demo_writer import GENERATED
from far.data.sources.manifest import FILE_NAME, Manifest, read_manifest
from far.data.sources.open import DEMO
from far.errors import FarError
from far.redaction import redacted
from orchestrator.doctor.finding import Finding
from orchestrator.estimate import estimate_plan, find_target
from orchestrator.estimate.format import size
from orchestrator.plan.lockfile import load_lockfile, read_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.workspace.workspace import Workspace

LOOKED_AT = 200
"""Videos of a data set whose files are looked for, spread over it."""


def findings(workspace: Workspace) -> Iterator[Finding]:
    """Yield what there is to say of the workspace."""
    settings = workspace.settings
    file = f" ({settings.file})" if settings.file else ", without a farlab.toml"
    yield Finding("workspace", "ok", f"{settings.workspace}{file}")
    for name in settings.untrusted:
        text = f"{name} of {settings.file} is left out: the file belongs to {settings.owner}"
        yield Finding("workspace", "warn", text, "pass --trust, if you trust them")
    yield _writable(settings.store)
    yield from _data(workspace)
    yield from _weights(workspace)
    yield from _room(workspace)
    yield _tracking(settings.tracking_uri)
    if settings.ray_address:
        yield Finding("ray", "ok", f"{settings.ray_address}, which is not asked now; a sweep does")


def _writable(store: Path) -> Finding:
    place = next(folder for folder in (store, *store.parents) if folder.exists())
    if os.access(place, os.W_OK | os.X_OK):
        return Finding("store", "ok", f"{store}{'' if store.exists() else ', which the first sweep makes'}")
    return Finding("store", "fail", f"{place} cannot be written", f"chmod u+wx '{place}', or `store` in farlab.toml")


def _submitted(workspace: Workspace) -> Iterator[tuple[str, Path]]:
    for name in workspace.store.studies():
        for path in workspace.store.study(name).submissions():
            yield name, path


def _data(workspace: Workspace) -> Iterator[Finding]:
    root = workspace.settings.data_root
    if not root.is_dir():
        yield Finding("data", "ok", f"{root} is not there yet; the first sweep generates the demo set")
    known = sorted(root.glob(f"*/{FILE_NAME}")) if root.is_dir() else []
    for path in known:
        yield _data_set(path)
    names = {path.parent.name for path in known}
    for source in sorted(_sources(workspace) - names - {DEMO}):
        if not (Path(source) / FILE_NAME).is_file() and not Path(source).is_file():
            text = f"'{source}', which a submitted study names, is not in {root}"
            yield Finding("data", "fail", text, f"farlab data prepare LAYOUT FOLDER --name {source}")


def _sources(workspace: Workspace) -> set[str]:
    rows = [row for _, path in _submitted(workspace) for row in read_lockfile(path).get("rows", {}).values()]
    return {str(row["config"].get("data", {}).get("source", DEMO)) for row in rows}


def _data_set(path: Path) -> Finding:
    name = path.parent.name
    try:
        manifest = read_manifest(path)
    except FarError as error:
        mend = "farlab data generate" if GENERATED.fullmatch(name) else "farlab data prepare"
        return Finding("data", "fail", str(error), mend)
    gone = list(islice(_gone(manifest), 3))
    count = f"{len(manifest.videos)} videos, {manifest.classes} classes"
    if gone:
        text = f"{name}: {count}, but files are missing in {manifest.media_root}, e.g. {gone[0]}"
        return Finding("data", "fail", text, f"farlab data check {name}")
    return Finding("data", "ok", f"{name}: {count}, files in {manifest.media_root}")


def _gone(manifest: Manifest) -> Iterator[str]:
    """Yield videos whose file is missing, of some that are spread over the data set."""
    step = max(1, len(manifest.videos) // LOOKED_AT)
    for video in manifest.videos[::step]:
        if not manifest.file(video).is_file():
            yield video.path


def _weights(workspace: Workspace) -> Iterator[Finding]:
    root = workspace.settings.weights_root
    wanted: dict[str, str] = {}
    for name, path in _submitted(workspace):
        for row in read_lockfile(path).get("rows", {}).values():
            file = (row["config"].get("init") or {}).get("weights")
            if file:
                wanted.setdefault(str(file), name)
    for file, study in sorted(wanted.items()):
        place = root / Path(file).expanduser()
        if place.exists():
            yield Finding("weights", "ok", str(place))
        else:
            text = f"{place} is missing, which the study '{study}' starts from"
            yield Finding(
                "weights", "fail", text, f"put the file there, or set weights_root; farlab weights inspect {place}"
            )
    if not wanted:
        there = f"{sum(1 for _ in root.iterdir())} entries" if root.is_dir() else "not there, and nothing asks for it"
        yield Finding("weights", "ok", f"{root}: {there}")


def _room(workspace: Workspace) -> Iterator[Finding]:
    """Yield the room that there is, and what the submitted studies will still take."""
    settings = workspace.settings
    place = next(folder for folder in (settings.store, *settings.store.parents) if folder.exists())
    free, wanted, left = shutil.disk_usage(place).free, 0, 0
    for name, path in _submitted(workspace):
        try:
            plan = make_plan(
                load_lockfile(path), workspace.store,
                manifest_hash=workspace.present_data_hash, weights_hash=workspace.weights_hash,
            )  # fmt: skip
            missing = plan.missing()
            if missing:
                target = find_target(settings.device, settings.devices, settings.tflops)
                wanted += estimate_plan(plan, workspace.store, target, workspace.video_counts).disk
                left += len(missing)
        except FarError as error:
            yield Finding("disk", "warn", f"what the study '{name}' will take is not known: {error}")
    text = f"{size(free)} free at {place}"
    if left:
        text += f"; the {left} trials that submitted studies lack take {size(wanted)}"
    if wanted > free:
        yield Finding("disk", "fail", text, "farlab gc")
    else:
        yield Finding("disk", "warn" if wanted > free / 2 else "ok", text, "farlab gc" if wanted > free / 2 else "")


def _tracking(uri: str) -> Finding:
    if not uri.startswith("sqlite:///"):
        return Finding("mlflow", "ok", f"{redacted(uri)}, which is not asked now; `farlab sync` does")
    path = Path(uri.removeprefix("sqlite:///"))
    if not path.exists():
        return Finding("mlflow", "ok", f"{path}, which the first sweep makes")
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1) as base:
            count = base.execute("select count(*) from runs").fetchone()[0]
        base.close()
    except sqlite3.Error as error:
        mend = f"mv '{path}' '{path}.damaged' && farlab sync --rebuild"
        return Finding("mlflow", "fail", f"{path} cannot be read: {error}", mend)
    return Finding("mlflow", "ok", f"{path}: {count} runs")

"""Writing the folder: a workspace of its own, in which the study is reported, planned and run as it was here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config import TrialConfig
from far.config.document import load_document
from far.data.sources.demo_writer import directory_of
from far.data.sources.manifest import FILE_NAME, read_manifest, write_manifest
from far.data.sources.open import DEMO, locate
from far.errors import ConfigError
from far.plugins.kept import kept_code
from far.store.atomic import read_json, read_json_lines, write_atomic, write_json
from far.store.paths import TrialPaths
from far.text import encodable
from far.train.checkpoint import latest
from far.train.network_only import strip
from far.weights.paths import parts_of
from orchestrator.plan.lockfile import PLUGINS, load_submitted_plugins, locked_keys, lockfile_text, read_lockfile
from orchestrator.plan.proposals import proposed_keys
from orchestrator.store.acceptances import FILE as ACCEPTANCES
from orchestrator.study.profiles import packaged_studies, profile_directories, profile_files
from orchestrator.workspace.plugins import records_in
from reports.export.crate import write_crate
from reports.export.scrub import SOMEBODY, Scrub, make_scrub
from reports.renderers import RENDERERS, SUFFIXES
from reports.results.collect import collect
from reports.tables.registry import build_all
from reports.verification.record import sealed

if TYPE_CHECKING:
    from orchestrator.workspace.workspace import Workspace

LEFT = ("checkpoints", "earlier", "log.txt", "progress.json", "cancel", "writer.lock")
"""What of a trial's folder stays here."""
TABLES = "tables"


@dataclass(frozen=True)
class Contents:
    """What is exported.

    Attributes:
        lockfile: the submission.
        source: the study's file, as it was submitted.
        keys: of its trials, and of those that its search proposed.
        predictions: whether their scores of every video go along.
        weights: whether trained networks and initial weights go along.
    """

    lockfile: Path
    source: Path
    keys: tuple[str, ...]
    predictions: bool
    weights: bool


@dataclass(frozen=True)
class _Weights:
    """A file of initial weights.

    Attributes:
        path: where it is here.
        name: below the folder's ``weights``.
        content: its hash; None where it is not here.
    """

    path: Path
    name: str
    content: str | None


def contents(lockfile: Path, workspace: Workspace, *, predictions: bool, weights: bool) -> Contents:
    """Return what there is to export of a submission.

    Raises:
        ConfigError: the submission is damaged, or its study's file is no longer what was submitted.
    """
    record = read_lockfile(lockfile)
    if not record:
        raise ConfigError("is damaged: sweep the study again", where=str(lockfile))
    source = Path(record["source"])
    source = source if source.is_absolute() else workspace.settings.workspace / source
    if not source.is_file() or hashlib.sha256(source.read_bytes()).hexdigest() != record["source_sha256"]:
        what = "has been changed since it was submitted" if source.is_file() else "is gone"
        raise ConfigError(
            f"{what}: the folder could not make the same table from it; submit it again with `farlab sweep` "
            "(what is finished is not run again)",
            where=str(source),
        )
    named = [key for seeds in locked_keys(lockfile).values() for key in seeds.values()]
    named += sorted(proposed_keys(workspace.store.study(record["study"]).search)) if record.get("search") else []
    there = [key for key in dict.fromkeys(named) if workspace.store.paths(key).directory.is_dir()]
    return Contents(lockfile, source, tuple(there), predictions, weights)


def write_folder(chosen: Contents, workspace: Workspace, folder: Path, show: Callable[[int, int], None]) -> None:
    """Write the folder.

    Args:
        chosen: what goes into it.
        workspace: where that is.
        folder: an empty one.
        show: called with (trials done, trials in all).
    """
    record = read_lockfile(chosen.lockfile)
    load_submitted_plugins(chosen.lockfile)
    configs = [TrialConfig.model_validate(row["config"]) for row in record["rows"].values()]
    weights = _weights(configs, workspace)
    sources = {config.data.source for config in configs if config.data.source != DEMO}
    words = {name: each.name for name, each in weights.items() if name != each.name}
    words |= {source: Path(source).name for source in sources if len(Path(source).parts) > 1}
    scrub = make_scrub(workspace, words)
    for count, key in enumerate(chosen.keys, start=1):
        _write_trial(workspace.store.paths(key), folder / "runs" / "trials" / key, scrub, chosen)
        show(count, len(chosen.keys))
    _write_study(chosen, workspace, folder, scrub)
    for config in configs:
        _write_data(config, workspace, folder)
    _write_weights(weights, folder, with_files=chosen.weights)
    commands = _commands(record, chosen.source)
    settings = {"profile": record["profile"]["name"], **_workspace_plugins(record, chosen)}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
    write_atomic(
        folder / "farlab.toml", f"# Written by farlab export. Paths are relative to this file.\n{''.join(lines)}"
    )
    _write_tables(folder, chosen.source.name, record, commands)
    write_atomic(folder / "README.md", _readme(record, commands, chosen))
    write_crate(folder, record, [SUFFIX_OF[name] for name in RENDERERS])


def _workspace_plugins(record: Mapping[str, Any], chosen: Contents) -> dict[str, list[str]]:
    """Return the plug-ins that are not the study's own, as `farlab.toml` names them: from the submission's copies."""
    own = {Path(name).name for name in load_document(chosen.source).data.get("plugins") or ()}
    place = Path("runs") / "studies" / record["study"] / record["profile"]["name"] / PLUGINS
    found = [
        (place / each["digest"] / each["files"][0].split("/")[0]).as_posix()
        for each in record.get("plugins") or ()
        if each["name"] not in own and each["files"]
    ]
    return {"plugins": found} if found else {}


def _write_trial(paths: TrialPaths, to: Path, scrub: Scrub, chosen: Contents) -> None:
    for path in sorted(paths.directory.iterdir()):
        left_out = path.name in LEFT or path.name.startswith(".")
        if left_out or (path == paths.predictions and not chosen.predictions):
            continue
        if path == paths.plugins:
            shutil.copytree(path, to / path.name)  # known by its digest: as it is
            continue
        _copy(path, to / path.name, scrub)
    found = latest(paths.checkpoints, whole_epochs=True) if chosen.weights else None
    if found is not None:
        place = TrialPaths(to).checkpoints / found.name
        shutil.copytree(found, place)
        strip(place)


def _copy(path: Path, to: Path, scrub: Scrub) -> None:
    """Copy a file or folder; what is text loses what is this machine's alone."""
    if path.is_dir():
        for each in sorted(path.iterdir()):
            _copy(each, to / each.name, scrub)
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    data = path.read_bytes()
    if path.suffix == ".json" and isinstance(value := read_json(path), dict):
        write_json(to, scrub.value(value))
        return
    try:
        text = data.decode()
    except UnicodeDecodeError:
        to.write_bytes(data)
        return
    scrubbed = scrub.text(text)
    to.write_bytes(data if scrubbed == text else scrubbed.encode())


def _write_study(chosen: Contents, workspace: Workspace, folder: Path, scrub: Scrub) -> None:
    record = read_lockfile(chosen.lockfile)
    place = folder / "studies" / chosen.source.name
    _copy(chosen.source, place, scrub)
    directories = profile_directories(chosen.source.parent, workspace.settings.workspace)
    for path in profile_files(record["profile"]["name"], directories):
        if packaged_studies() not in path.resolve().parents:
            _copy(path, folder / "studies" / "profiles" / path.name, scrub)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    said = {**scrub.value(record), "source": f"studies/{chosen.source.name}", "source_sha256": digest}
    own = workspace.store.study(record["study"])
    to = folder / "runs" / "studies" / record["study"]
    write_atomic(to / record["profile"]["name"] / chosen.lockfile.name, lockfile_text(said))
    kept = chosen.lockfile.parent / PLUGINS
    if kept.is_dir():
        shutil.copytree(kept, to / record["profile"]["name"] / PLUGINS)
    codes = {each["name"]: kept_code(each, kept) for each in records_in(record)}
    for path in map(Path, load_document(chosen.source).data.get("plugins") or ()):
        if not path.is_absolute() and ".." not in path.parts and path.name in codes:
            codes[path.name].write(folder / "studies" / path.parent)  # as it was submitted, like the study
    for path in sorted(own.directory.glob("**/looks.json")):
        _copy(path, to / path.relative_to(own.directory), scrub)
    if record.get("search") and own.search.exists():
        _copy(own.search, to / own.search.name, scrub)
    for line in read_json_lines(workspace.store.root / ACCEPTANCES):
        plain = json.dumps({**scrub.value(line), "by": SOMEBODY}, ensure_ascii=False)
        with (folder / "runs" / ACCEPTANCES).open("a", encoding="utf-8") as stream:
            stream.write(f"{plain}\n")


def _write_data(config: TrialConfig, workspace: Workspace, folder: Path) -> None:
    """Write the list of videos; of the demo set, which is small and belongs to nobody, the videos too."""
    root = workspace.settings.data_root
    if config.data.source == DEMO:
        place = directory_of(config.data.demo, root)
        to = folder / "data" / place.name
        if (place / FILE_NAME).is_file() and not to.exists():
            shutil.copytree(place, to, ignore=shutil.ignore_patterns(".*"))
        return
    to = folder / "data" / Path(config.data.source).name
    try:
        manifest = read_manifest(locate(config.data.source, root))
    except ConfigError:  # it is not here either: the trials know its content
        return
    if not to.exists():
        to.mkdir(parents=True)
        note = {key: value for key, value in manifest.note.items() if not isinstance(value, str)}
        write_manifest(replace(manifest, directory=to, media_root=to / "videos", note=note))


def _weights(configs: Sequence[TrialConfig], workspace: Workspace) -> dict[str, _Weights]:
    """Return the initial weights by how the study names them."""
    found: dict[str, _Weights] = {}
    for config in configs:
        name, path = config.init.weights, workspace.weights_path(config.init)
        if name is not None and path is not None and name not in found:
            root = workspace.settings.weights_root.resolve()
            inside = path.resolve().is_relative_to(root)
            word = str(path.resolve().relative_to(root)) if inside else path.name
            found[name] = _Weights(path, word, workspace.weights_hash(config.init) if path.exists() else None)
    return found


def _write_weights(weights: Mapping[str, _Weights], folder: Path, *, with_files: bool) -> None:
    known = {each.name: each.content for each in weights.values() if each.content is not None}
    if known:  # by which trials are known to be done where the files themselves are not
        write_json(folder / "runs" / "weights.json", known)
    for each in weights.values() if with_files else ():
        for part in parts_of(each.path) if each.content is not None else ():
            to = folder / "weights" / each.name
            place = to / part.relative_to(each.path) if each.path.is_dir() else to
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(part, place)


SUFFIX_OF = {name: suffix for suffix, name in reversed(SUFFIXES.items())}
"""The ending of a file by its format."""


def _write_tables(folder: Path, study: str, record: Mapping[str, Any], commands: Mapping[str, str]) -> None:
    """Write the table in every format, as the folder itself gives it."""
    (folder / TABLES).mkdir()
    with contextlib.chdir(folder):
        for format_ in RENDERERS:
            # Read for each anew, as the command does.
            results = collect(
                [Path("studies") / study],
                profile=record["profile"]["name"],
                overrides=record["overrides"],
                seeds=_seeds(record),
            )
            tables = build_all([], results)
            text = sealed(RENDERERS[format_](tables), format_, tables)
            name = f"{record['study']}{SUFFIX_OF[format_]}"
            write_atomic(Path(TABLES) / name, encodable(text, "utf-8"))


def _seeds(record: Mapping[str, Any]) -> list[int]:
    return [int(seed) for seed in record["seeds"]]


def _commands(record: Mapping[str, Any], source: Path) -> dict[str, str]:
    seeds = ",".join(map(str, _seeds(record)))
    seeds += "," if len(record["seeds"]) == 1 else ""
    study = shlex.join([f"studies/{source.name}", *record["overrides"], "--seeds", seeds])
    return {
        f"farlab report {study}": "the table again",
        f"farlab verify {TABLES}/{record['study']}.tex": "whether a table says what its trials say",
        f"farlab plan {study}": "what is done",
        f"farlab sweep {study} --rerun KEY": "a trial again",
        "farlab train FOLDER/runs/trials/KEY/trial.json": "a trial again, in a workspace of your own",
        "farlab evaluate KEY": "a trained network tested again, if it was exported with --weights",
    }


def _readme(record: Mapping[str, Any], commands: Mapping[str, str], chosen: Contents) -> str:
    width = max(map(len, commands))
    lines = [
        f"# {record.get('title') or record['study']}",
        "",
        f"The study '{record['study']}' at the scale of profile '{record['profile']['name']}', submitted "
        f"{record['submitted_at']}: {len(record['rows'])} rows, {len(chosen.keys)} trials. Written by FARLab "
        f"{record['farlab']}; a folder in which its commands work:",
        "",
        *(f"    {command:{width}}  # {what}" for command, what in commands.items()),
        "",
        "`tables/` has the table in every format, `studies/` the study, `runs/` each trial's record, numbers and "
        f"{'predictions' if chosen.predictions else 'no predictions'}"
        f"{', and its trained network' if chosen.weights else ''}, `data/` the list of videos (of the demo set, the "
        "videos too). To train on prepared data, put the videos into `data/NAME/videos`; initial weights belong into "
        "`weights/`. `ro-crate-metadata.json` describes the files for machines (RO-Crate 1.1).",
        "",
    ]
    return "\n".join(lines)

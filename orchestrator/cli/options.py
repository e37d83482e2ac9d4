"""What several commands take: studies, overrides, profile, seeds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from far.config import parse_override
from far.config.layers import flatten
from far.errors import ConfigError
from far.redaction import redacted
from far.store.atomic import is_there
from orchestrator.cli.completion import offer_profiles, offer_studies, offer_submitted
from orchestrator.cli.inputs import COMMAND_LINE, F, mode, modes
from orchestrator.executors.registry import EXECUTORS, find_executor, looks_at
from orchestrator.plan.changed_code import with_code
from orchestrator.plan.other_frames import with_other_frames
from orchestrator.plan.plan import make_plan
from orchestrator.plan.starts import with_starts
from orchestrator.study import load_study, refuse_same_name, study_files
from orchestrator.workspace.plugins import load_workspace_plugins
from orchestrator.workspace.settings import checked_uri
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from orchestrator.plan.plan import Plan
    from orchestrator.study import Study
    from orchestrator.workspace.settings import Settings
    from orchestrator.workspace.workspace import Workspace

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="STUDY... [KEY=VALUE...]",
        autocompletion=offer_studies,
        help="Study files, names or directories; then dotted overrides, e.g. recipe.epochs=4.",
        show_default=False,
    ),
]
ResultTargets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[STUDY...] [KEY=VALUE...]",
        autocompletion=offer_studies,
        help="Study files, names or directories; then the overrides that the sweep was given.",
        show_default=False,
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        autocompletion=offer_profiles,
        help="Profile (scale) of the study; default: farlab.toml, then demo.",
    ),
]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", help="A number n for 0..n-1, or a list: 0,1,4.", show_default=False)
]
TrackingOption = Annotated[
    str | None,
    typer.Option("--tracking-uri", help="MLflow server or data base; default: farlab.toml, then SQLite in the store."),
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="An existing Ray cluster, e.g. auto; default: farlab.toml, then here.")
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust", help="Run what others could have written: plug-ins, their farlab.toml's cluster."),
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="FILE", help="Load this plug-in first; may be repeated.", show_default=False),
]
ExecutorOption = Annotated[
    str, typer.Option("--executor", metavar="NAME", help=f"Executor of the trials: {' or '.join(EXECUTORS)}.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SubmittedArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="The study's name, or its file.", autocompletion=offer_submitted)
]
RowsOption = Annotated[list[str] | None, typer.Option("--row", "-r", help="Only this row's trials.")]
IdsOption = Annotated[list[str] | None, typer.Option("--id", help="Only trials whose key starts with this.")]


def runs_trials(*used: str) -> Callable[[F], F]:
    """Declare a command that runs trials; of a cluster's parameters it takes those that its executor looks at."""
    return modes(
        mode("with --executor {executor}", (*used, "trust"), when=lambda given: not looks_at(given, "address")),
        mode("here", (*used, "address", "trust")),
    )


def refuse_same_key(overrides: Sequence[str]) -> None:
    """Refuse overrides of which one undoes another.

    Raises:
        ConfigError: two set the same key, or one cannot be read; see ``parse_override``.
    """
    seen: dict[tuple[str, ...], str] = {}
    for text in overrides:
        for path in flatten(parse_override(text)):
            if path in seen:
                raise ConfigError(f"is set twice: {seen[path]} and {text}", key=".".join(path), where=COMMAND_LINE)
            seen[path] = text


def split_targets(targets: list[str]) -> tuple[list[str], list[str]]:
    """Separate studies from ``key=value`` overrides.

    Raises:
        ConfigError: an override cannot be read, or two set the same key.
    """
    overrides = [text for text in targets if "=" in text and not is_there(text)]
    refuse_same_key(overrides)
    return [text for text in targets if text not in overrides], overrides


def existing_store(path: Path | None) -> Path | None:
    """Return the folder given as ``--store``.

    Raises:
        ConfigError: no store lies there.
    """
    if path is not None and not any((path / part).is_dir() for part in ("trials", "studies")):
        what = "holds no trials and no studies" if path.is_dir() else "no such folder"
        raise ConfigError(
            f"{what}: a store is what `farlab sweep` writes, `runs` by default", key="--store", where=str(path)
        )
    return path


def parse_seeds(text: str | None) -> list[int] | int | None:
    """Read ``--seeds``.

    Raises:
        ConfigError: it is neither a number nor a list of numbers.
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.rstrip(",").split(",")] if "," in text else int(text)
    except ValueError:
        raise ConfigError(f"'{text}' is neither a number of seeds nor a list such as 0,1,4", key="--seeds") from None


def load_targets(targets: list[str], profile: str | None, seeds: str | None) -> list[Study]:
    """Load the studies that a command names; a directory stands for all studies in it.

    Raises:
        ConfigError: see ``load_study``; or no study is named, or two have one name.
    """
    names, overrides = split_targets(targets)
    if not names:
        raise ConfigError("no study is named", where="command line")
    parsed = parse_seeds(seeds)
    files = list({file.resolve(): file for name in names for file in study_files(name)}.values())
    studies = [load_study(file, profile=profile, overrides=overrides, seeds=parsed) for file in files]
    refuse_same_name(studies)
    return studies


def chosen(workspace: Workspace, *, tracking_uri: str | None, address: str | None, executor: str) -> Workspace:
    """Return the workspace with what the command line says of where to run and to track.

    Raises:
        ConfigError: another user's farlab.toml names the cluster, without ``--trust``.
    """
    settings = workspace.settings
    load_workspace_plugins(settings)
    of_cluster = [name for name in settings.untrusted if name == "ray_address"]
    if "trust" in find_executor(executor).options and of_cluster and address is None:
        raise ConfigError(
            f"belongs to {settings.owner or 'an unknown user'} and can make this machine run code: "
            "--trust obeys it, --address says where to run instead",
            key=of_cluster[0],
            where=str(settings.file),
        )
    if tracking_uri is not None:
        tracking_uri = checked_uri(tracking_uri, "--tracking-uri")
    given = {"tracking_uri": tracking_uri, "ray_address": address}
    changed = {name: value for name, value in given.items() if value is not None}
    return workspace.changed(**changed)


def note_environment(settings: Settings, *names: str) -> None:
    """Say of environment variables that other programs read that they have no effect here."""
    used = {"MLFLOW_TRACKING_URI": settings.tracking_uri, "RAY_ADDRESS": settings.ray_address}
    said = {"MLFLOW_TRACKING_URI": "--tracking-uri or tracking_uri", "RAY_ADDRESS": "--address or ray_address"}
    for name in names:
        if os.environ.get(name) and os.environ[name] != used[name]:
            print(f"note: {name} has no effect here; {said[name]} in farlab.toml decides", file=sys.stderr)


def workspace_line(settings: Settings) -> str:
    """Return the line that says where a command has looked."""
    file = " (farlab.toml)" if settings.file else ""
    at_url = f", kept at {redacted(settings.remote_store)}" if settings.remote_store else ""
    return f"workspace {settings.workspace}{file}, store {settings.store}{at_url}"


def workspace_json(settings: Settings) -> dict[str, str | None]:
    """Return the same as plain data."""
    file = str(settings.file) if settings.file else None
    return {"workspace": str(settings.workspace), "settings": file, "store": str(settings.store)}


def plan_targets(
    targets: list[str], profile: str | None, seeds: str | None, *, generate: bool, trust: bool = False
) -> tuple[Plan, Workspace]:
    """Load studies and plan them against the workspace's store.

    Args:
        targets: studies and overrides.
        profile: the scale, if one is named.
        seeds: instead of the studies' own.
        generate: whether the demo data are made if they are not there; without, their trials have no keys yet.
        trust: see ``load_settings``.

    Raises:
        ConfigError, WeightsError: a study is invalid, or its initial weights cannot be what its rows start from.
    """
    studies = load_targets(targets, profile, seeds)
    workspace = open_workspace(trust=trust)
    plan = make_plan(
        studies,
        workspace.store,
        manifest_hash=workspace.data_hash if generate else workspace.present_data_hash,
        weights_hash=workspace.weights_hash,
        present_hash=workspace.present_data_hash,
        data_problems=workspace.data_problems,
    )
    plan = with_code(with_other_frames(with_starts(plan, workspace), workspace), workspace.store)
    return plan, workspace

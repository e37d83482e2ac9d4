"""The workspace's own settings: ``farlab.toml``, or the defaults where the workspace has none."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from far.config.layers import Where
from far.config.messages import validated
from far.config.trial import Strict
from far.errors import ConfigError
from far.redaction import redacted
from orchestrator.tracking.base import TRACKERS
from orchestrator.workspace.find import STORE_NAME, find_workspace
from orchestrator.workspace.trust import is_trusting

TRACKING_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
"""Of the servers and data bases that MLflow keeps runs in."""
RUNS_CODE: dict[str, Any] = {"runs_code": True}
"""Marks a setting that can make this machine run others' code: from another user's file, only with ``--trust``."""


class SettingsFile(Strict):
    """What ``farlab.toml`` may say; relative paths are relative to the file."""

    store: str = STORE_NAME
    """Where trials are kept: a folder, or a URL that fsspec supports; then ``runs`` is this machine's working copy."""
    data_root: str = "data"
    """Where data sets lie; the demo's is generated here."""
    weights_root: str = "weights"
    """Where ``init.weights`` is looked for."""
    tracking_uri: str | None = None
    """MLflow server or data base; default: SQLite inside the store."""
    mlflow_report: bool = True
    """Whether the run of a finished study gets its tables and figures; they take seconds of the sweep's end."""
    ray_address: str | None = Field(default=None, json_schema_extra=RUNS_CODE)  # a cluster hands back pickles
    """An existing cluster; default: Ray on this machine."""
    plugins: list[str] | None = Field(
        default=None, json_schema_extra=RUNS_CODE, examples=[["mylab.patterns", "./my_ideas.py"]]
    )
    """Files, folders and installed modules that register variants, for every study of the workspace."""
    profile: str = "demo"
    """The profile of every command that names none."""
    device: str | None = None
    """Kind of GPU that plans are estimated for where it is not here, e.g. ``a100-80g``."""
    devices: int | None = Field(default=None, ge=1)
    """Number of devices."""
    tflops: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Stated dense 16-bit peak of one ``device`` that the table of cards does not have."""


class Settings(Strict):
    """The workspace, with absolute paths."""

    workspace: Path
    file: Path | None
    """The ``farlab.toml`` that was read, None if there is none."""
    store: Path
    remote_store: str | None = None
    """URL that the store is kept at, if it is no folder."""
    data_root: Path
    weights_root: Path
    tracking_uri: str
    mlflow_report: bool = True
    ray_address: str | None
    plugins: tuple[str, ...] = ()
    """As the file names them, relative to it."""
    profile: str
    device: str | None
    devices: int | None
    tflops: float | None = None
    owner: str | None = None
    """Whom the workspace belongs to, if to another user."""
    untrusted: tuple[str, ...] = ()
    """Settings that were left out, because another user's file cannot make this machine run code."""


def load_settings(cwd: Path | str | None = None, *, trust: bool = False) -> Settings:
    """Return the settings of the workspace that a directory belongs to.

    Args:
        cwd: the directory; default: the current one.
        trust: obey settings that can run code even from another user's ``farlab.toml``.

    Raises:
        ConfigError: the file is not TOML, holds an unknown key or a wrong type, or names as a folder what is none.
    """
    place = find_workspace(Path(cwd or Path.cwd()).resolve())
    values, where = _read(place.file) if place.file else (SettingsFile(), lambda keys: "")
    untrusted = () if trust or is_trusting() or place.trusted else _that_run_code(values)
    values = values.model_copy(update=dict.fromkeys(untrusted))
    remote_store = values.store if "://" in values.store else None

    def folder(name: str, text: str) -> Path:
        try:
            path = (place.folder / Path(text).expanduser()).resolve()
            if path.exists() and not path.is_dir():
                raise ConfigError(f"{path} is no folder", key=name, where=where((name,)))
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"'{text}' cannot be a folder: {error}", key=name, where=where((name,))) from None
        return path

    uri = values.tracking_uri
    if values.device is None and values.tflops is not None:
        raise ConfigError("the peak of no device; set device too", key="tflops", where=where(("tflops",)))
    if values.device is not None:
        from orchestrator.estimate.devices import find_target  # noqa: PLC0415  (which imports this)

        try:
            find_target(values.device, tflops=values.tflops)
        except ConfigError as error:
            raise ConfigError(
                error.message, key="device", where=where(("device",)), choices=error.choices, got=values.device
            ) from None
    store = folder("store", STORE_NAME if remote_store else values.store)
    found = Settings(
        workspace=place.folder,
        file=place.file,
        store=store,
        remote_store=remote_store,
        data_root=folder("data_root", values.data_root),
        weights_root=folder("weights_root", values.weights_root),
        tracking_uri=uri or f"sqlite:///{store / 'mlflow.db'}",
        mlflow_report=values.mlflow_report,
        ray_address=values.ray_address,
        plugins=tuple(values.plugins or ()),
        profile=values.profile,
        device=values.device,
        devices=values.devices,
        tflops=values.tflops,
        owner=place.owner,
        untrusted=untrusted,
    )
    if uri is not None:
        if found.plugins and uri.partition("://")[0] not in (*TRACKERS, *TRACKING_SCHEMES):
            from orchestrator.workspace.plugins import load_workspace_plugins  # noqa: PLC0415  (which imports this)

            load_workspace_plugins(found)
        checked_uri(uri, "tracking_uri", where(("tracking_uri",)))
    return found


def _leads_somewhere(kind: str, uri: str) -> bool:
    """Whether there is a host, or for SQLite a file: a data base in memory would be gone with the command."""
    try:
        parts = urlsplit(uri)
        if kind == "sqlite":
            in_memory = parts.path.strip("/") in ("", ":memory:") or "mode=memory" in parts.query
            return not in_memory and not parts.netloc
        return parts.port != 0 and (parts.hostname is not None or not kind.startswith("http"))
    except ValueError:  # brackets that are not closed, a port that is no number
        return False


def checked_uri(uri: str, key: str, where: str | None = None) -> str:
    """Return the address of a tracking store.

    Raises:
        ConfigError: it is no registered tracker's, and none that MLflow could reach.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme in TRACKERS:
        return uri
    kind = scheme.partition("+")[0]
    if not separator or not rest or kind not in TRACKING_SCHEMES or not _leads_somewhere(kind, uri):
        raise ConfigError(
            f"'{redacted(uri)}' is no address of a tracking store"
            + (": a data base in a file is sqlite:////FOLDER/FILE.db" if kind == "sqlite" else ""),
            key=key,
            where=where,
            choices=[f"{name}://" for name in TRACKING_SCHEMES],
        )
    return uri


def _that_run_code(values: SettingsFile) -> tuple[str, ...]:
    fields = SettingsFile.model_fields
    return tuple(n for n in fields if fields[n].json_schema_extra == RUNS_CODE and getattr(values, n) is not None)


def _read(path: Path) -> tuple[SettingsFile, Where]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8, as TOML must be: save it so", where=f"{path}:{line}") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        raise ConfigError(f"not valid TOML: {error}", where=f"{path}:{found[1]}" if found else str(path)) from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; brackets 1,000 deep
        raise ConfigError(f"not valid TOML: {error}", where=str(path)) from None

    def where(keys: tuple[str, ...]) -> str:
        for number, line in enumerate(text.splitlines(), start=1):
            if keys and re.match(rf"""\s*[\["']*{re.escape(keys[0])}\b""", line):
                return f"{path}:{number}"
        return str(path)

    return validated(SettingsFile, tree, where), where

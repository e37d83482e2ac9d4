"""The workspace's own settings: ``farlab.toml``, looked for from the current directory upwards."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pydantic import Field

from far.config.overrides import validated
from far.config.schema import Strict
from far.errors import ConfigError

FILE_NAME = "farlab.toml"


class SettingsFile(Strict):
    """What ``farlab.toml`` may say; relative paths are relative to the file."""

    store: str = "runs"
    """Where trials are kept: a folder, or a URL that fsspec knows; then ``runs`` is this machine's working copy."""
    data_root: str = "data"
    """Where data sets lie; the demo's is generated here."""
    weights_root: str = "weights"
    """Where ``init.weights`` is looked for."""
    tracking_uri: str | None = None
    """MLflow server or data base; default: SQLite inside the store."""
    ray_address: str | None = None
    """An existing cluster; default: Ray on this machine."""
    profile: str = "demo"
    """The profile of every command that names none."""
    device: str | None = None
    """Kind of GPU that plans are priced for where it is not here, e.g. ``a100-80g``."""
    devices: int | None = Field(default=None, ge=1)
    """How many of them."""


class Settings(Strict):
    """The workspace, with absolute paths."""

    workspace: Path
    file: Path | None
    """The ``farlab.toml`` that was read, None if there is none."""
    store: Path
    replica: str | None = None
    """URL that the store is kept at, if it is no folder."""
    data_root: Path
    weights_root: Path
    tracking_uri: str
    ray_address: str | None
    profile: str
    device: str | None
    devices: int | None


def load_settings(cwd: Path | str | None = None) -> Settings:
    """Return the settings of the nearest ``farlab.toml``, or the defaults relative to ``cwd``.

    Raises:
        ConfigError: the file is not TOML, holds an unknown key or a wrong type.
    """
    start = Path(cwd or Path.cwd()).resolve()
    found = next((d / FILE_NAME for d in (start, *start.parents) if (d / FILE_NAME).is_file()), None)
    values = _read(found) if found else SettingsFile()
    workspace = found.parent if found else start
    replica = values.store if "://" in values.store else None
    local = SettingsFile().store if replica else values.store
    store = (workspace / Path(local).expanduser()).resolve()
    return Settings(
        workspace=workspace,
        file=found,
        store=store,
        replica=replica,
        data_root=(workspace / Path(values.data_root).expanduser()).resolve(),
        weights_root=(workspace / Path(values.weights_root).expanduser()).resolve(),
        tracking_uri=values.tracking_uri or f"sqlite:///{store / 'mlflow.db'}",
        ray_address=values.ray_address,
        profile=values.profile,
        device=values.device,
        devices=values.devices,
    )


def _read(path: Path) -> SettingsFile:
    text = path.read_text(encoding="utf-8")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise ConfigError(f"not valid TOML: {error}", where=f"{path}:{line[1]}" if line else str(path)) from None

    def where(keys: tuple[str, ...]) -> str:
        for number, line in enumerate(text.splitlines(), start=1):
            if keys and re.match(rf"""\s*[\["']*{re.escape(keys[0])}\b""", line):
                return f"{path}:{number}"
        return str(path)

    return validated(SettingsFile, tree, where)

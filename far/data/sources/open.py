"""From what the configuration names to a manifest."""

from __future__ import annotations

from pathlib import Path

from far.config.trial import DataConfig
from far.data.sources.demo import MOTIONS
from far.data.sources.demo_writer import GENERATED, Progress, open_demo
from far.data.sources.manifest import FILE_NAME, Manifest, read_manifest
from far.data.sources.tree import is_file
from far.errors import ConfigError

DEMO = "demo"
"""The source that is generated."""


def open_manifest(data: DataConfig, root: Path, progress: Progress | None = None) -> Manifest:
    """Return the manifest of ``data.source``; the demo set is generated if it is not there yet.

    Args:
        data: what the trial's configuration says about data.
        root: folder of data sets, which relative sources are relative to.
        progress: called with (clips done, clips in all) while the demo set is generated.

    Raises:
        ConfigError: there is no such data set, or it has another number of classes than configured.
        DataError: the manifest is damaged.
    """
    if data.source == DEMO:
        check_classes(data, len(MOTIONS))
        return open_demo(data.demo, root, progress)
    manifest = read_manifest(locate(data.source, root))
    check_classes(data, manifest.classes)
    return manifest


def locate(source: str, root: Path) -> Path:
    """Return where a prepared data set's manifest is, by its name under ``root`` or its path.

    Raises:
        ConfigError: there is none.
    """
    candidates = [_expanded(source), root / source]
    for path in candidates:
        if is_file(path) or is_file(path / FILE_NAME):
            return path
    prepared = sorted(path.parent.name for path in root.glob(f"*/{FILE_NAME}")) if root.is_dir() else []
    raise ConfigError(
        f"no prepared data set '{source}' (looked for {FILE_NAME} in {candidates[0]} and {candidates[1]}); "
        "make one with `farlab data prepare`",
        key="data.source",
        choices=[DEMO, *(name for name in prepared if not GENERATED.fullmatch(name))],
        got=source,
    )


def _expanded(source: str) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError:  # ~ and an unknown user
        return Path(source)


def check_classes(data: DataConfig, classes: int) -> None:
    """Check that a data set has as many classes as configured.

    Raises:
        ConfigError: it has another number.
    """
    if data.classes != classes:
        raise ConfigError(f"the data set '{data.source}' has {classes} classes, not {data.classes}", key="data.classes")

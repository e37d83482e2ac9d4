"""Which code, on which machine: recorded with every number, never part of a trial's identity."""

from __future__ import annotations

import functools
import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from far import __version__
from far.gpu import driver

if TYPE_CHECKING:  # an isolated build runs this module, with the standard library alone
    import torch

    from far.store.attempts import Code
    from far.store.records import Environment

BUILD_FILE = "far/build.json"
"""Holds the commit that a wheel or a source distribution was built from (``setup.py``)."""


@functools.cache
def code_version() -> Code:
    """Return the package's version, its commit and whether it is dirty: of the git checkout, else of the build."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"version": __version__, "git": None, "dirty": None, **_built(root / BUILD_FILE)}
    commit = _git(root, "rev-parse", "HEAD")
    dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=no")) if commit else None
    return {"version": __version__, "git": commit, "dirty": dirty}


def environment(device: torch.device) -> Environment:
    """Return the versions and the device that a trial ran with.

    Args:
        device: where it ran, which on a machine with a GPU may be the CPU all the same.
    """
    import torch

    packages = ("torch", "deepspeed", "ray", "optuna", "numpy", "decord", "av")
    cuda = device.type == "cuda"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if cuda else processor(),
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "driver": driver() if cuda else None,
        **{name: _version(name) for name in packages},
    }


def _built(path: Path) -> Code:
    """Return what the build wrote of its commit; nothing where there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {"git": found.get("git"), "dirty": found.get("dirty")} if isinstance(found, dict) else {}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Return the CPU's name as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()

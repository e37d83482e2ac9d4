"""The packages that are installed, held against what FARLab asks for."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from far import __version__
from far.store.environment import code_version
from orchestrator.doctor.finding import Finding
from orchestrator.store.record import said_code

OPTIONAL = {"transformers": "networks of other authors (farlab[compare])"}
"""Packages that only some studies need."""
DISTRIBUTION = "farlab"


def findings() -> Iterator[Finding]:
    """Yield what there is to say of Python, FARLab and each package that it depends on."""
    yield Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield Finding("farlab", "ok", f"{__version__}, code {said_code(code_version())}")
    try:
        asked = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Finding("farlab", "warn", "is not installed, but run from its folder", "pip install -e .")
        return
    for text in asked:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            if name in OPTIONAL:
                yield _optional(name, requirement)
            continue
        yield _package(name, requirement)


def _package(name: str, requirement: Requirement) -> Finding:
    found, mend = _version(name), f"pip install '{requirement.name}{requirement.specifier}'"
    if found is None:
        return Finding(name, "fail", "is not installed", mend)
    if not requirement.specifier.contains(found, prereleases=True):
        return Finding(name, "fail", f"{found} is installed, {requirement.specifier} is needed", mend)
    return Finding(name, "ok", found)


def _optional(name: str, requirement: Requirement) -> Finding:
    if _version(name) is not None:
        return _package(name, requirement)
    return Finding(name, "ok", f"not installed; only {OPTIONAL[name]} need it")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

"""Finished trials whose videos an earlier version read wrongly: found, named, and kept apart from others.

Versions before the frame index gave some files' frames in another order, or others altogether.
Such a trial keeps its key, its configuration and its result; its numbers enter no mean with those of trials that saw
the right frames, unless that is accepted, on record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.data.decoding.indexes import misread
from far.data.sources.open import DEMO, locate
from far.errors import ConfigError
from orchestrator.store import acceptances

if TYPE_CHECKING:
    from orchestrator.plan.plan import Plan
    from orchestrator.store.store import Store
    from orchestrator.workspace.workspace import Workspace

WHAT = "other frames"


@dataclass(frozen=True)
class Misread:
    """A data set of which earlier versions misread files.

    Attributes:
        name: as trials name it, or its folder.
        content: its content hash.
        files: how many they misread.
        accepted: who has accepted trials that saw these, and when; empty if none were.
    """

    name: str
    content: str
    files: int
    accepted: str = ""

    def __str__(self) -> str:
        files = "1 file" if self.files == 1 else f"{self.files} files"
        return f"{files} of the data set '{self.name}'"


def misread_sets(sources: Iterable[str], workspace: Workspace) -> dict[str, Misread]:
    """Return, by content hash, the data sets here of which earlier versions misread files; usually none.

    Args:
        sources: as trials name them (``data.source``).
        workspace: where the data sets lie, and in its store what was accepted.
    """
    found = {}
    for source in dict.fromkeys(sources):
        if source == DEMO:  # generated, by a writer whose files every version reads alike
            continue
        try:
            path = locate(source, workspace.settings.data_root)
        except ConfigError:
            continue
        content, files = misread(path if path.is_dir() else path.parent)
        if files:
            found[content] = Misread(source, content, len(files), _accepted(workspace.store.root).get(content, ""))
    return found


def told_by_results(results: Iterable[Mapping[str, Any]], store: Path) -> dict[str, Misread]:
    """Return the data sets of which earlier versions misread files, as newer results say: these need not be here."""
    found = {}
    for result in results:
        content, files = str(result.get("data_hash")), result.get("misread_before")
        if isinstance(files, int) and files > 0 and content not in found:
            found[content] = Misread(content[:12], content, files, _accepted(store).get(content, ""))
    return found


def trials_with_other_frames(store: Store, keys: Iterable[str], sets: Mapping[str, Misread]) -> dict[str, Misread]:
    """Return the finished trials among these that saw other frames, by key."""
    if not sets:
        return {}
    found = {}
    for key in dict.fromkeys(keys):
        result = store.result(key)
        if result is not None and result["state"] in ("finished", "partial"):
            one = sets.get(str(result.get("data_hash")))
            if one is not None and not result.get("indexed_frames"):
                found[key] = one
    return found


def described(trials: Mapping[str, Misread]) -> list[str]:
    """Return one line per data set about trials that saw other frames."""
    lines = []
    for one in dict.fromkeys(trials.values()):
        keys = [key for key, own in trials.items() if own == one]
        named = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
        trial = "1 finished trial" if len(keys) == 1 else f"{len(keys)} finished trials"
        after = (
            f"accepted {one.accepted}"
            if one.accepted
            else "remove a trial's folder to train it again, or accept them: "
            f"`farlab data accept {one.name}`; `farlab data check {one.name}` names the files"
        )
        lines.append(f"{trial} ({named}) saw other frames of {one}, which an earlier version misread; {after}")
    return lines


def with_other_frames(plan: Plan, workspace: Workspace) -> Plan:
    """Return the plan with what must be known of its finished trials' frames."""
    sets = misread_sets((trial.config.data.source for trial in plan.trials), workspace)
    trials = trials_with_other_frames(workspace.store, (trial.key for trial in plan.trials if trial.done), sets)
    return replace(plan, other_frames=tuple(described(trials))) if trials else plan


def accept(source: str, workspace: Workspace) -> Misread:
    """Put on record that trials which saw other frames of a data set may be averaged with those that did not.

    Raises:
        ConfigError: there is no such data set, or nothing of it was misread.
    """
    locate(source, workspace.settings.data_root)
    sets = misread_sets([source], workspace)
    if not sets:
        raise ConfigError(
            f"no file of the data set '{source}' is known to have been misread; `farlab data check {source}` finds out",
            where="command line",
        )
    one = next(iter(sets.values()))
    acceptances.accept(workspace.store.root, WHAT, data=one.content, name=one.name, files=one.files)
    return next(iter(misread_sets([source], workspace).values()))


def _accepted(store: Path) -> dict[str, str]:
    return {str(r.get("data")): acceptances.by_whom(r) for r in acceptances.accepted(store, WHAT)}

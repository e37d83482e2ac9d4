"""Trials whose code has changed since: which, in what, and what has been accepted as giving the same numbers.

A trial's record says by which source its weights came to be (``far.source``). Where that is not the source that is here
now, its numbers are not those of what is here: they enter no mean until the trial is run again, or until a user
accepts the change as one that changes no number, on record in the store. Keys are the same all along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.source import changed_parts, files_are_here, in_words, source_of
from far.store.attempts import sources_of
from far.store.paths import TrialPaths
from far.store.records import read_spec
from orchestrator.store import acceptances

if TYPE_CHECKING:
    from far.config import TrialConfig
    from orchestrator.plan.plan import Plan
    from orchestrator.store.store import Store

WHAT = "code"
"""The kind of acceptance."""
UNKNOWN = "code unknown"
"""What is said of trials that do not say what source they ran."""
CURRENT, CHANGED = "current", "changed"
MOST_NAMED = 4
"""Trials that are named; the rest is counted."""


@dataclass(frozen=True)
class Verdict:
    """How the source behind a trial compares with what is here.

    Attributes:
        state: ``current``, ``changed``, or ``code unknown``.
        parts: by changed part, the digests that the trial ran; None: it ran without the part.
        here: by changed part, the digest here.
        accepted: what has changed and was accepted, and by whom.
    """

    state: str
    parts: Mapping[str, tuple[str | None, ...]]
    here: Mapping[str, str | None]
    accepted: str = ""

    @property
    def text(self) -> str:
        """What has changed, in words: ``the code of 'three-stripe' has changed since``."""
        return f"{in_words(self.parts)} has changed since" if self.parts else ""


KNOWN, NOT_KNOWN = Verdict(CURRENT, {}, {}), Verdict(UNKNOWN, {}, {})


class Judge:
    """Compares trials with the source that is here; equal questions are answered once.

    Args:
        store: where acceptances lie.
    """

    def __init__(self, store: Path) -> None:
        self._same = _Same(acceptances.accepted(store, WHAT))
        self._recorded: dict[str, Mapping[str, Any]] = {}
        self._untouched: dict[str, bool] = {}
        self._known: dict[tuple[str, ...], Verdict] = {}

    def verdict(
        self, config: TrialConfig, digests: Sequence[str] | None, recorded: Callable[[], Mapping[str, Any] | None]
    ) -> Verdict:
        """Compare a trial's source with what is here.

        Args:
            config: the trial's configuration.
            digests: of the source behind its weights, None if that is not known.
            recorded: reads what the trial's record has of these by digest; asked for once a digest.
        """
        if not digests:
            return NOT_KNOWN
        for digest in digests:
            if digest not in self._recorded:
                self._recorded.update(recorded() or {})
                self._recorded.setdefault(digest, {})
        if all(self._is_untouched(digest) for digest in digests):
            return KNOWN
        here = source_of(config)
        name = (here.digest, *digests)
        if name not in self._known:
            self._known[name] = self._compared(digests, here.parts, here.digest)
        return self._known[name]

    def _is_untouched(self, digest: str) -> bool:
        if digest not in self._untouched:
            self._untouched[digest] = files_are_here(self._recorded[digest].get("files") or {})
        return self._untouched[digest]

    def _compared(self, digests: Sequence[str], here: Mapping[str, str], own: str) -> Verdict:
        ran: dict[str, list[str | None]] = {}
        accepted: dict[str, str] = {}
        for digest in digests:
            parts = self._recorded[digest].get("parts") or ({} if digest != own else here)
            for part in changed_parts(parts, here):
                if self._same(part, parts.get(part), here.get(part)):
                    accepted[part] = self._same.by(part, parts.get(part))
                else:
                    ran.setdefault(part, []).append(parts.get(part))
        if not ran:
            who = " and ".join(dict.fromkeys(accepted.values()))
            return Verdict(CURRENT, {}, {}, f"a change of {in_words(accepted)} that was accepted {who}")
        return Verdict(
            CHANGED, {part: tuple(each) for part, each in ran.items()}, {part: here.get(part) for part in ran}
        )


class _Same:
    """Which digests of a part have been accepted as giving the same numbers: directly, or by way of others."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._groups: dict[tuple[str, Any], set[Any]] = {}
        self._by: dict[tuple[str, Any], str] = {}
        for record in records:
            part, before, now = str(record.get("part")), record.get("before"), record.get("now")
            self._by[part, before] = acceptances.by_whom(dict(record))
            together = self._group(part, before) | self._group(part, now)
            for digest in together:
                self._groups[part, digest] = together

    def _group(self, part: str, digest: Any) -> set[Any]:
        return self._groups.get((part, digest), {digest})

    def by(self, part: str, digest: str | None) -> str:
        """Return who accepted a digest of a part, and when."""
        return self._by.get((part, digest), "")

    def __call__(self, part: str, one: str | None, other: str | None) -> bool:
        return one == other or other in self._group(part, one)


def judge_trials(store: Store, trials: Iterable[tuple[str, TrialConfig]]) -> dict[str, Verdict]:
    """Return how the source behind each trial compares with what is here; trials that have not begun are left out.

    Args:
        store: where they lie.
        trials: keys and configurations.
    """
    judge, found = Judge(store.root), {}
    for key, config in dict(trials).items():
        result = store.result(key)
        if result is None:
            spec = store.trial(key)
            if not any(attempt.get("epoch") is not None for attempt in spec.get("attempts") or ()):
                continue
            found[key] = judge.verdict(config, sources_of(spec.get("attempts") or ()), partial(_recorded, store, key))
        elif result["state"] in ("finished", "partial", "diverged"):
            found[key] = judge.verdict(config, result.get("sources"), partial(_recorded, store, key))
    return found


def verdict_of(directory: Path, config: TrialConfig, store: Store) -> Verdict:
    """Return how the source behind a trial compares with what is here, by the trial's folder alone."""
    spec = read_spec(TrialPaths(directory))
    return Judge(store.root).verdict(config, sources_of(spec.get("attempts") or ()), lambda: spec.get("sources"))


def _recorded(store: Store, key: str) -> Mapping[str, Any] | None:
    return store.trial(key).get("sources")


def with_code(plan: Plan, store: Store) -> Plan:
    """Return the plan with a comparison of its trials' source with the installed source."""
    return replace(plan, code=judge_trials(store, ((trial.key, trial.config) for trial in plan.trials)))


def described(verdicts: Mapping[str, Verdict], sweep: str) -> list[str]:
    """Return one line per change about the trials that it makes stale, and what to do.

    Args:
        verdicts: by trial.
        sweep: the command that runs their study, ``farlab sweep …``.
    """
    lines = []
    for text in dict.fromkeys(verdict.text for verdict in verdicts.values() if verdict.state == CHANGED):
        keys = [key for key, verdict in verdicts.items() if verdict.text == text]
        named = ", ".join(keys[:MOST_NAMED]) + (f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else "")
        count = "1 trial is" if len(keys) == 1 else f"{len(keys)} trials are"
        lines.append(f"{text}: {count} stale ({named}); {remedy(sweep)}")
    return lines


def as_json(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """Return what has changed since, by trial, and which trials do not say by which source they were trained."""
    return {
        "changed_code": {key: verdict.text for key, verdict in verdicts.items() if verdict.text},
        "code_unknown": [key for key, verdict in verdicts.items() if verdict.state == UNKNOWN],
    }


def unknown(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Return a line about trials that do not say by which source they were trained, if there are any."""
    count = sum(verdict.state == UNKNOWN for verdict in verdicts.values())
    return [f"{UNKNOWN}: {count} of {len(verdicts)} trials were run by a version that kept none"] if count else []


def remedy(sweep: str) -> str:
    """Return what to do about stale trials.

    Args:
        sweep: the command that runs their study, ``farlab sweep …``.
    """
    accepts = sweep.replace("farlab sweep", "farlab accept-code", 1)
    return f"run them again: `{sweep} --rerun changed`; or, where no number changes by it: `{accepts}`"


def accept(verdicts: Mapping[str, Verdict], study: str, store: Path) -> dict[str, int]:
    """Put on record that what has changed since trials ran changes none of their numbers.

    Returns:
        Trials by what has changed, in words.
    """
    stale = [verdict for verdict in verdicts.values() if verdict.state == CHANGED]
    pairs = dict.fromkeys(
        (part, before, verdict.here[part]) for verdict in stale for part, ran in verdict.parts.items() for before in ran
    )
    for part, before, now in pairs:
        acceptances.accept(store, WHAT, study=study, part=part, before=before, now=now)
    counts: dict[str, int] = {}
    for verdict in stale:
        counts[in_words(verdict.parts)] = counts.get(in_words(verdict.parts), 0) + 1
    return counts

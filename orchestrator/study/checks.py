"""Rows by which a table tests itself: the placebo, in which nothing may be found, and the control, which must fail."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from far.config import Document
from far.config.layers import Layer
from far.errors import ConfigError
from orchestrator.study.expand import Draft
from orchestrator.study.schema import StudyFile

if TYPE_CHECKING:
    from orchestrator.study.load import Row

PLACEBO, CONTROL = "Placebo", "Control"
"""Names of their rows."""
FEWEST_TO_HALVE = 4
"""Seeds of a study whose later half can stand in for other seeds of the baseline."""


def placebo_seeds(seeds: Sequence[int], finished: Collection[int] = ()) -> tuple[int, ...]:
    """Return the seeds of the baseline that are compared, one by one, with the baseline at the study's first seeds.

    Args:
        seeds: the study's.
        finished: seeds at which the baseline has been trained already.

    Returns:
        As many seeds of their own as the study has, where they are finished; else, of a study of four seeds or more,
        its later half, against the first one; else the least numbers that the study does not have. So nothing is
        trained that need not be.
    """
    others = sorted(set(finished) - set(seeds))
    if len(others) >= len(seeds):
        return tuple(others[: len(seeds)])
    if len(seeds) >= FEWEST_TO_HALVE:
        half = len(seeds) // 2
        return tuple(seeds[half : 2 * half])
    new = (seed for seed in itertools.count() if seed not in seeds and seed not in others)
    return tuple(sorted((*others, *itertools.islice(new, len(seeds) - len(others)))))


@dataclass(frozen=True)
class CheckRow:
    """A row that is derived from the baseline."""

    draft: Draft
    baseline: Draft
    seeds: tuple[int, ...] | None = None
    """Its own seeds; None: the study's."""


def check_rows(
    file: StudyFile, drafts: Sequence[Draft], baseline: str | None, seeds: Sequence[int], document: Document
) -> tuple[CheckRow, ...]:
    """Return the placebo and the control that a study asks for.

    Raises:
        ConfigError: a row of the study has one of their names.
    """
    asked = {PLACEBO: file.placebo, CONTROL: file.control is not None}
    taken = next((draft for draft in drafts if asked.get(draft.name)), None)
    if taken is not None:
        raise ConfigError(
            f"'{taken.name}' is the name of the row that '{taken.name.lower()}' adds",
            key=".".join(taken.source),
            where=document.where(taken.source),
        )
    of = next((draft for draft in drafts if draft.name == baseline), None)
    if of is None:
        return ()
    found = []
    if file.placebo:
        draft = replace(of, name=PLACEBO, source=("placebo",), present=None)
        found.append(CheckRow(draft, of, placebo_seeds(seeds)))
    if file.control is not None:
        layer = Layer(file.control, lambda keys: document.where(("control", *keys)))
        found.append(CheckRow(Draft(CONTROL, (*of.layers, layer), ("control",)), of))
    return tuple(found)


def refuse_idle_control(rows: Sequence[Row], baseline: str | None) -> None:
    """Refuse a control that is the baseline itself.

    Raises:
        ConfigError: it is.
    """
    by_name = {row.name: row for row in rows}
    if CONTROL in by_name and baseline in by_name and by_name[CONTROL].config == by_name[baseline].config:
        raise ConfigError(
            f"changes nothing of the baseline '{baseline}', and so cannot do worse",
            key="control",
            where=by_name[CONTROL].where,
        )

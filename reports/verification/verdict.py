"""What is found about a table, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What is wrong with a part of a table."""

    EDITED = "edited"
    STALE = "stale"
    WRONG = "not what its trials give"
    UNTRACEABLE = "untraceable"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a table."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass
class Verdict:
    """What was found about one table.

    Attributes:
        title: what the table is.
        findings: what is wrong.
        remarks: what a reader should know and that is not wrong, such as which code made it.
        compared: texts that were made again.
        trials: trials whose predictions were read.
    """

    title: str
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    compared: int = 0
    trials: int = 0

    def found(self, kind: Kind, text: str) -> None:
        """Note something that is wrong, once."""
        finding = Finding(kind, text)
        if finding not in self.findings:
            self.findings.append(finding)


def lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield what was found, for people."""
    for each in verdicts:
        made = f"{each.compared} texts made again from the predictions of {each.trials} trials"
        yield f"  {each.title}: " + (
            f"{len(each.findings)} finding{'s' if len(each.findings) > 1 else ''}; {made}"
            if each.findings
            else f"as its trials say; {made}"
        )
        yield from (f"    {finding}" for finding in each.findings)
        yield from (f"    note: {remark}" for remark in each.remarks)

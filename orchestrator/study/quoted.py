"""Rows of other works in a study (``quoted:``): numbers as they are printed there, with their source."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from far.config.document import Document
from far.config.trial import Strict
from far.errors import ConfigError

CITATION = r"^[A-Za-z0-9][A-Za-z0-9_:.+/-]*$"
"""Keys that BibTeX and ``\\cite`` take as they are."""
NUMBERS = ("top1", "top5", "flops", "params")


def _row_name(value: str) -> str:
    if not value.strip():
        raise ValueError("a row needs a name")
    return value


def _said(value: str) -> str:
    if not value.strip() or "\n" in value:
        raise ValueError("must be text on one line")
    return value


def _citation(value: str) -> str:
    if not re.match(CITATION, value):
        raise ValueError(f"'{value}': a citation key holds letters, digits and any of _ : . + / - alone")
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", value):
        raise ValueError(f"'{value}': an address begins with https:// or http:// and holds no spaces")
    return value


RowName = Annotated[str, AfterValidator(_row_name)]
Text = Annotated[str, AfterValidator(_said)]
Percent = Annotated[float, Field(ge=0, le=100)]
Cost = Annotated[float, Field(gt=0)]


class QuotedRow(Strict):
    """A row of another work. It is shown as what it is: never averaged, compared, starred or bold."""

    top1: Percent | None = None
    """Per cent."""
    top5: Percent | None = None
    """Per cent."""
    flops: Cost | None = None
    """Multiply-accumulates of one view, in G (thousand millions)."""
    params: Cost | None = None
    """In M (millions)."""
    source: Text | None = None
    """Whose numbers they are, e.g. ``Tong et al., NeurIPS 2022``."""
    cite: Annotated[str, Field(json_schema_extra={"pattern": CITATION}), AfterValidator(_citation)] | None = None
    r"""Key of the bibliography, for ``\cite``."""
    url: Annotated[str, AfterValidator(_url)] | None = None
    setting: Text
    """What they were measured on, e.g. ``SSv2, ViT-S, 16 frames, 2 clips × 3 crops``."""

    @model_validator(mode="after")
    def _complete(self) -> QuotedRow:
        if all(getattr(self, name) is None for name in NUMBERS):
            raise ValueError(f"quotes no number: give {', '.join(NUMBERS[:-1])} or {NUMBERS[-1]}")
        if self.cite is None and self.url is None:
            raise ValueError("has no source: give cite (the key of your bibliography) or url")
        return self

    @property
    def plain(self) -> dict[str, Any]:
        """What is said, as plain data."""
        return self.model_dump(mode="json", exclude_none=True)


QuotedRows = Annotated[
    dict[RowName, QuotedRow],
    Field(examples=[{"VideoMAE ViT-S": {"top1": 66.8, "cite": "tong2022videomae", "setting": "SSv2, 2 × 3 views"}}]),
]


def quoted_rows(
    quoted: Mapping[str, QuotedRow], rows: Collection[str], document: Document
) -> dict[str, dict[str, Any]]:
    """Return the quoted rows as plain data.

    Raises:
        ConfigError: one has the name of a row that is trained.
    """
    for name in quoted:
        if name in rows:
            raise ConfigError(
                f"a row of the study is called '{name}' too: give the quoted one another name, e.g. '{name} (quoted)'",
                key=f"quoted.{name}",
                where=document.where(("quoted", name)),
            )
    return {name: row.plain for name, row in quoted.items()}

"""Characters for TeX: everything that LaTeX has is set, different names stay different, and the rest is named."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.renderers.tex import CHARACTERS, CYRILLIC, Engine, UnsettableError, described, named, prose, unsettable


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("γ", r"$\gamma$"),
        ("λ", r"$\lambda$"),
        ("✓", r"{\usefont{U}{pzd}{m}{n}\char51 }"),
        ("✓\ufe0f", r"{\usefont{U}{pzd}{m}{n}\char51 }"),
        ("Ž", r"\v{Z}"),
        ("Z\u030c", r"\v{Z}"),
        ("í", r"\'{\i}"),
        ("ậ", r"\d{\^{a}}"),
        ("ά", r"$\acute{\alpha}$"),
        ("x\u20d7", None),
        ("μ µ", r"$\mu$ \textmu{}"),
        ("a--b", "a-{}-b"),
        ("a–-b", "a--{}-b"),
        ("a  b ", r"a \ b\ "),
        ("[x", "{[}x"),
        ("*x", "{*}x"),
        ("Ж", "Ж"),
        ("模", None),
        ("🙂", None),
        ("ế", None),
        ("\u200b", None),
    ],
)
def test_characters(text: str, tex: str | None) -> None:
    if tex is not None:
        assert named(text) == tex
        return
    with pytest.raises(UnsettableError):
        named(text)
    assert named(text, Engine.LUALATEX) == text
    assert unsettable(f"a{text}b{text}", Engine.PDFLATEX) == [text]


def test_what_cannot_be_set_is_described_and_in_notes_named() -> None:
    assert described("模") == "模 (U+6A21, CJK UNIFIED IDEOGRAPH-6A21)"
    assert prose('no "模" here') == "no ''U+6A21'' here"
    assert prose("that's 5 %") == r"that's 5 \%"
    assert r"\allowbreak{}" in prose("/a/very/long/path/that/would/not/fit")


LETTERS = st.characters(categories=["L", "N", "P", "S", "Zs", "Mn"], max_codepoint=0x2FFF)


@given(st.text(LETTERS, min_size=1, max_size=8), st.text(LETTERS, min_size=1, max_size=8))
def test_different_names_stay_different(one: str, other: str) -> None:
    try:
        same = named(one) == named(other)
    except UnsettableError:
        return
    bare = [re.sub("[\ufe0e\ufe0f]", "", unicodedata.normalize("NFC", text)) for text in (one, other)]
    assert not same or bare[0] == bare[1]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_no_text_gets_a_question_mark_or_a_command_of_its_own(text: str) -> None:
    for found in (prose(text), prose(text, Engine.XELATEX)):
        assert found.count("?") <= text.count("?")
    ascii_only = prose(text)
    assert ascii_only.isascii() or CYRILLIC.search(text)
    assert not re.search(r"(?<!\\)[%&#]", re.sub(r"\\#", "", ascii_only))


def test_single_characters_are_different() -> None:
    found: dict[str, str] = {}
    for character in CHARACTERS:
        assert found.setdefault(named(character), character) == character

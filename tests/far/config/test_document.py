"""Reading YAML: plain data, keys as typed, lines, and an end to whatever is built to have none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.config.document import LARGEST_FILE, load_document, parse_yaml
from far.errors import ConfigError

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=10)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(PLAIN)
def test_json_is_read_as_it_was_written(tree: object) -> None:
    assert parse_yaml(json.dumps(tree), "f.yaml", {}) == tree


@given(st.floats(allow_nan=False).map(repr) | st.integers().map(str) | st.sampled_from(["~", "0x10", "1e3", "0.10",
       "null", "true", "2024-01-01", "010", ".inf", "1_000", "no", "0o7", "1:2"]))  # fmt: skip
def test_a_key_keeps_its_text(key: str) -> None:
    lines: dict[tuple[str, ...], int] = {}
    assert parse_yaml(f"\nrows:\n  {key}: 1\n", "f.yaml", lines) == {"rows": {key: 1}}
    assert lines == {("rows",): 2, ("rows", key): 3}


def test_values_are_those_of_yaml() -> None:
    text = "a: [1e3, 0x1F, 0o17, -5, 1_000, .5, yes, true, ~, 2024-01-01]\nb: &x {c: 1, d: 2}\ne: {<<: *x, d: 3}\n"
    assert parse_yaml(text, "f.yaml") == {
        "a": [1000.0, 31, 15, -5, 1000, 0.5, "yes", True, None, "2024-01-01"],
        "b": {"c": 1, "d": 2},
        "e": {"c": 1, "d": 3},
    }


LAUGHS = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (LAUGHS, 6, "more than 300000 values"),
        ("a: 1\nb: &b [*b]", 2, "inside what it is an alias of"),
        ("a: 1\nb: &b {c: {d: *b}}", 2, "inside what it is an alias of"),
        ("a: 1\nb: " + "9" * 5000, 2, "5000 characters"),
        ("a: 1\nb: -0x" + "f" * 5000, 2, "5003 characters"),
        ("a: 1\nb: !include other.yaml", 2, "'!include' is a YAML tag"),
        ("a: 1\nb: !!python/object:os.system {}", 2, "is a YAML tag"),
        ("a: 1\nb: !!set {c}", 2, "'!!set' is a YAML tag"),
        ("a: 1\nb: !!int c", 2, "'c' as !!int"),
        ("a: 1\n? [b]\n: 1", 2, "no key"),
        ("a: 1\nb: {<<: 3}", 2, "'<<' takes"),
        ("a: 1\nb: 2\na: 3", 3, "duplicate key 'a', first in line 1"),
        ("a: 1\nb: {c: 1, c: 2}", 2, "duplicate key 'c'"),
        ("a: 1\n---\nb: 2", 2, "another document"),
        ("a: 1\nb: *nobody", 2, "undefined alias"),
        ("a: \x07", None, "not valid YAML"),
        ('a: 1\n"b\\ud800": 1', 2, "surrogate"),
        ("[" * 1000, None, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_line(text: str, line: int | None, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_yaml(text, "f.yaml", {})
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"f.yaml:{line}: " if line else "f.yaml: ")
    assert "\n" not in str(refused.value)


def test_files_that_are_no_text_or_no_mapping_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    for content, said in ((b"\xff\xfea", "cannot be read"), (b"- a\n", "mapping"), (b"", "mapping")):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=said):
            load_document(file)
    with file.open("wb") as sparse:
        sparse.truncate(LARGEST_FILE + 1)
    with pytest.raises(ConfigError, match="larger than 16 MiB"):
        load_document(file)
    file.write_text("\ufeffstudy: s\n", encoding="utf-8")
    assert load_document(file).data == {"study": "s"}

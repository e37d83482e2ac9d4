"""LaTeX compiles with booktabs alone, fits the width that it is written for, and loses no character."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from far.errors import ConfigError
from reports.renderers import RENDERERS
from reports.renderers.tex import CHARACTERS, UnsettableError, named
from reports.results.results import Results
from reports.tables.registry import build_all

MakeResults = Callable[..., Results]
LONG = "w/o a_very_long_component_name_that_nobody_would_type"
NAMES = ("γ = 0.1", "λ = 0.1", "Ž ✓ Ąžuolas", "[b] c", "*d", LONG, "a & b")
HEAD = "study: own\ntitle: '[x] Ä'\nrow_header: Variant\nbaseline: '*d'\ncompare: [['*d', '[b] c']]\nseeds: 2\n"


def needs(engine: str) -> Any:
    return pytest.mark.skipif(shutil.which(engine) is None, reason=f"{engine} is not installed")


def compiled(folder: Path, text: str, engine: str, setup: str, packages: str = "booktabs") -> str:
    """Compile tables in a document of their own; return the log."""
    (folder / "tables.tex").write_text(text, encoding="utf-8")
    (folder / "main.tex").write_text(
        rf"\documentclass{setup}\usepackage{{{packages}}}\begin{{document}}\input{{tables}}\clearpage\end{{document}}"
    )
    command = [engine, "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / "main.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log


def too_wide(log: str) -> list[str]:
    """Return lines that stand out of the text by more than a point."""
    found = re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)[^\n]*", log)
    return [points for points in found if float(points) > 1]


@pytest.fixture
def results(make_results: MakeResults, tmp_path: Path) -> Iterator[list[Results]]:
    """A table of the paper with a failed trial, and one with names and pairs of its own."""
    message = "".join(c for c in CHARACTERS if c.isascii()) + " é ß 漢字 \\input{/etc/passwd} /a/long/path/" + "x" * 90
    failed = {"state": "failed", "metrics": None, "error": {"kind": "data", "message": message}}
    study = tmp_path / "own.yaml"
    rows = "".join(f'  "{name}": {{recipe.epochs: {n}}}\n' for n, name in enumerate(NAMES, 1))
    study.write_text(f"{HEAD}rows:\n{rows}")
    yield [
        make_results("attention_pattern", seeds=3, changes={("Temporal", 1): failed}),
        make_results("interaction", seeds=2, skip={("w/o Bottleneck", 1)}),
        make_results(study),
    ]


@needs("pdflatex")
@pytest.mark.parametrize(
    ("width", "setup"),
    [
        ("text", "{article}"),
        ("text", "[12pt]{article}"),
        ("column", "{IEEEtran}"),
        ("column", "[twocolumn]{article}"),
        ("page", "{IEEEtran}"),
    ],
)
def test_every_table_fits(results: list[Results], tmp_path: Path, width: str, setup: str) -> None:
    for columns in ((), ("top1", "flops", "delta_top1")):
        tables = build_all([] if columns else [1, 7, 8], results, columns=columns)
        log = compiled(tmp_path, RENDERERS["latex"](tables, width=width), "pdflatex", setup)
        assert too_wide(log) == []
        assert "Float too large" not in log or width == "column"
        assert "root:" not in log


@needs("xelatex")
def test_the_same_file_compiles_in_a_unicode_engine(results: list[Results], tmp_path: Path) -> None:
    log = compiled(tmp_path, RENDERERS["latex"](build_all([1, 7], results)), "xelatex", "{article}")
    assert too_wide(log) == [] and "Missing character" not in log


@needs("pdflatex")
@pytest.mark.parametrize("caption", ["above", "below"])
def test_numbers_are_aligned_by_siunitx_where_it_is_asked_for(
    results: list[Results], tmp_path: Path, caption: str
) -> None:
    if not subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True, check=False).stdout:
        pytest.skip("siunitx is not installed")
    text = RENDERERS["latex"](build_all([7], results), siunitx=True, caption=caption)
    assert r"\usepackage{booktabs,siunitx}" in text and "S[table-format=2.1(1)" in text
    assert (text.index(r"\caption") < text.index(r"\toprule")) == (caption == "above")
    assert too_wide(compiled(tmp_path, text, "pdflatex", "{article}", "booktabs,siunitx")) == []


@pytest.mark.parametrize("engine", ["pdflatex", "xelatex", "lualatex"])
def test_every_character_that_is_said_to_be_set_is_set(engine: str, tmp_path: Path) -> None:
    if shutil.which(engine) is None:
        pytest.skip(f"{engine} is not installed")
    settable = []
    for code in (*range(0xA0, 0x180), *range(0x386, 0x3D0)):
        try:
            settable.append(named(chr(code)))
        except UnsettableError:
            continue
    assert len(settable) > 250
    text = " ".join([*map(named, CHARACTERS), *settable])
    log = compiled(tmp_path, rf"\tracinglostchars=3 {text} \textbf{{{text}}}", engine, "{article}")
    assert "Missing character" not in log


def test_what_pdflatex_cannot_set_is_named_with_its_place(make_results: MakeResults, tmp_path: Path) -> None:
    study = tmp_path / "own.yaml"
    study.write_text("study: own\nrows:\n  模型 A: {}\n  B: {model.interaction: none}\nseeds: 1\n")
    tables = build_all([], [make_results(study, seeds=1)])
    with pytest.raises(ConfigError, match=r"set 模 \(U\+6A21, .*\) in row '模型 A'; 型 .*--latex-engine xelatex"):
        RENDERERS["latex"](tables)
    text = RENDERERS["latex"](tables, engine="xelatex")
    assert "模型 A" in text and r"\tracinglostchars=3" in text


def test_rows_that_begin_like_an_argument_and_greek_ones_stay_apart(make_results: MakeResults, tmp_path: Path) -> None:
    study = tmp_path / "own.yaml"
    rows = "".join(f'  "{name}": {{recipe.epochs: {n}}}\n' for n, name in enumerate(NAMES, 1))
    study.write_text(f"study: own\nrows:\n{rows}seeds: 1\n")
    text = RENDERERS["latex"](build_all([], [make_results(study, seeds=1)]))
    for found in ("{[}b] c", "{*}d", r"$\gamma$ = 0.1", r"$\lambda$ = 0.1", r"\v{Z}", r"\char51"):
        assert found in text
    assert "?" not in text


def test_the_profiles_name_is_written_as_it_is(make_results: MakeResults, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "MyScale.yaml").write_text("profile: MyScale\nextends: demo\n")
    study = tmp_path / "named.yaml"
    study.write_text("study: named\nprofile: MyScale\nrows:\n  a: {recipe.epochs: 2}\nseeds: 1\n")
    assert "{Measured (MyScale)}" in RENDERERS["latex"](build_all([], [make_results(study, seeds=1)]))


def test_commands_in_labels_stay_text() -> None:
    assert named(r"\input{x}") == r"\textbackslash{}input\{x\}"
    assert named("a_b & 5 % − ±") == r"a\_b \& 5 \% $-$ $\pm$"


@pytest.mark.parametrize("width", ["3", "99pt", "colunm", "8.4 em"])
def test_widths_that_are_none(width: str) -> None:
    with pytest.raises(ConfigError, match="--latex-width"):
        RENDERERS["latex"]([], width=width)

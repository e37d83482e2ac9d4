"""LaTeX output compiles with booktabs alone, where a TeX is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.renderers import RENDERERS
from reports.renderers.templates import LATEX, latex
from reports.results.results import Results
from reports.tables.registry import build_all

MakeResults = Callable[..., Results]
DOCUMENT = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{tables}\end{document}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed")
def test_all_tables_compile(make_results: MakeResults, tmp_path: Path) -> None:
    message = "".join(LATEX) + " é ß 漢字 \\input{/etc/passwd}"
    failed = {"state": "failed", "metrics": None, "error": {"kind": "data", "message": message}}
    results = make_results("attention_pattern", seeds=3, changes={("Temporal", 1): failed})
    (tmp_path / "tables.tex").write_text(RENDERERS["latex"](build_all([1, 7, 8], [results])), encoding="utf-8")
    (tmp_path / "main.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "root:" not in done.stdout


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed")
def test_rows_that_begin_like_an_argument_compile(make_results: MakeResults, tmp_path: Path) -> None:
    study = tmp_path / "brackets.yaml"
    rows = "".join(f'  "{name}": {{recipe.epochs: {n}}}\n' for n, name in enumerate(("a", "[b] c", "*d", "e"), 1))
    study.write_text(f"study: brackets\ntitle: '[x]'\nrows:\n{rows}seeds: 1\n")
    text = RENDERERS["latex"](build_all([], [make_results(study, seeds=1)]))
    assert "{[}b] c" in text and "{*}d" in text
    (tmp_path / "tables.tex").write_text(text, encoding="utf-8")
    (tmp_path / "main.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_profiles_name_is_written_as_it_is(make_results: MakeResults, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "MyScale.yaml").write_text("profile: MyScale\nextends: demo\n")
    study = tmp_path / "named.yaml"
    study.write_text("study: named\nprofile: MyScale\nrows:\n  a: {recipe.epochs: 2}\nseeds: 1\n")
    assert "{Measured (MyScale)}" in RENDERERS["latex"](build_all([], [make_results(study, seeds=1)]))


def test_commands_in_labels_stay_text() -> None:
    assert latex(r"\input{x}") == r"\textbackslash{}input\{x\}"
    assert latex("a_b & 5 % − ±") == r"a\_b \& 5 \% $-$ $\pm$"

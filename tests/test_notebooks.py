"""The notebooks of ``examples/`` run from top to bottom.

``python -m tests.test_notebooks`` runs them in a real kernel, their sweeps by Ray.
"""

from __future__ import annotations

import ast
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import farlab
from far.plugins import loaded_plugins, unload_plugin

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
TRACKER = ROOT / "examples" / "variants" / "json_tracker.py"


def code_of(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_cell(text: str, names: dict[str, Any]) -> Any:
    """Run a cell as Jupyter does, and return the value that it would show."""
    tree = ast.parse(text)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last is not None else None


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace that is tracked in a file: a data base of MLflow's would take longer than the trials."""
    (tmp_path / "farlab.toml").write_text(f"tracking_uri = 'jsonl://{tmp_path / 'tracked.jsonl'}'\n")
    monkeypatch.chdir(tmp_path)
    farlab.load_plugin(TRACKER)
    yield tmp_path
    for plugin in loaded_plugins():
        unload_plugin(plugin)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(notebook: Path, session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = [run_cell(text, names) for text in code_of(notebook)]
    outcome = names["outcome"]
    assert outcome.bad == [] and outcome.finished == outcome.total
    for value in shown:
        if type(value).__module__.startswith(("far", "pandas")) and hasattr(value, "_repr_html_"):
            assert value._repr_html_()
    assert r"\begin{tabular" in capsys.readouterr().out
    rows = names["results"].to_frame()
    assert rows["used"].all() and len(rows) == outcome.total


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def main() -> None:
    """Run every notebook in a kernel, each in a folder of its own, by Ray as a user would."""
    import nbformat
    from nbclient import NotebookClient

    for notebook in NOTEBOOKS:
        content = nbformat.read(notebook, 4)
        for cell in content.cells:
            cell.source = cell.source.replace('executor="local", ', "")
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            NotebookClient(
                content, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}
            ).execute()
            print(f"{notebook.stem}: {len(code_of(notebook))} cells")


if __name__ == "__main__":
    main()

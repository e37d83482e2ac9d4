"""Tables 2 to 6 and their figures from a real sweep of the demo, as docs/results.md shows them.

    python docs/results/make.py WORKSPACE

The workspace is a folder for data and trials; one that has them already is only reported on. About half an hour on two
cores that nobody else uses.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
STUDIES = ["attention_pattern", "interaction", "classifier", "head_ratio", "interaction_position"]
SEEDS = ["--seeds", "3"]


def main(workspace: Path) -> None:
    """Run what is missing, then write tables and figures beside this file."""
    workspace.mkdir(parents=True, exist_ok=True)
    farlab(workspace, "sweep", *STUDIES, *SEEDS)
    farlab(workspace, "report", "--table", "2-6", *SEEDS, "-o", HERE / "tables.md")
    farlab(workspace, "figure", "pareto", "--table", "2", *SEEDS, "-o", HERE / "pareto.svg")
    farlab(workspace, "figure", "curves", "--table", "2", *SEEDS, "-o", HERE / "curves.svg")
    farlab(workspace, "verify", HERE / "tables.md")


def farlab(workspace: Path, *arguments: str | Path) -> None:
    """Run a command in the workspace; stop where it fails."""
    subprocess.run([sys.executable, "-m", "farlab", *map(str, arguments)], cwd=workspace, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

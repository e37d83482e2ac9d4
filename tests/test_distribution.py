"""What is installed: the wheel and the source distribution hold every file, know their commit, and work anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("far/", "orchestrator/", "reports/", "studies/", "farlab/")
BUILT = {"far/build.json"}
"""Written by the build itself."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a git checkout"),
]


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def run(command: Sequence[str | Path], cwd: Path) -> str:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FARLAB", "COV_"))}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=own, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Built:
    """Both distributions of a clean checkout, and where the wheel is installed."""

    commit: str
    files: set[str]
    wheel: Path
    source: Path
    from_source: Path
    python: Path


def build_wheel(source: Path, place: Path) -> Path:
    arguments = ["-q", "--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "-w", place, source]
    run([sys.executable, "-m", "pip", "wheel", *arguments], place.parent)
    return next(place.glob("*.whl"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    base = tmp_path_factory.mktemp("distribution")
    checkout = base / "checkout"
    files = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    files = [name for name in files if name and (ROOT / name).is_file()]
    for name in files:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name)
    (checkout / "build" / "lib" / "far").mkdir(parents=True)
    (checkout / "build" / "lib" / "far" / "left_from_an_earlier_build.py").touch()
    git(checkout, "init", "-q")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "as it is")
    wheel = build_wheel(checkout, base / "wheel")
    script = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run([sys.executable, "-c", script, base / "source"], checkout)
    source = next((base / "source").glob("*.tar.gz"))
    from_source = build_wheel(source, base / "from_source")
    venv.create(base / "venv", with_pip=False, symlinks=True)
    python = base / "venv" / "bin" / "python"
    site = next((base / "venv").glob("lib/python*/site-packages"))
    # Named by path, so that no .pth file in them is read: an editable install of this checkout stays out.
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    install = ["-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", "--no-compile"]
    run([sys.executable, *install, from_source], base)
    return Built(git(checkout, "rev-parse", "HEAD").strip(), set(files), wheel, source, from_source, python)


def in_wheel(path: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(path).namelist() if ".dist-info/" not in name}


def test_a_wheel_holds_every_file_of_the_packages(built: Built) -> None:
    expected = {name for name in built.files if name.startswith(PACKAGES)} | BUILT
    assert in_wheel(built.wheel) == expected
    assert in_wheel(built.from_source) == expected


def test_a_source_distribution_holds_every_file_but_those_of_the_hosting(built: Built) -> None:
    with tarfile.open(built.source) as archive:
        names = {name for member in archive if member.isfile() and (name := member.name.partition("/")[2])}
    made = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"} | BUILT
    assert names - made == {name for name in built.files if not name.startswith(".")}


def test_both_know_their_commit(built: Built) -> None:
    for wheel in (built.wheel, built.from_source):
        assert json.loads(zipfile.ZipFile(wheel).read("far/build.json"))["git"] == built.commit


def test_an_installed_wheel_runs_reports_and_sweeps_from_any_directory(
    built: Built, tmp_path: Path, tiny_overrides: list[str]
) -> None:
    farlab = built.python.parent / "farlab"
    study = ["head_ratio", "--seeds", "1", *tiny_overrides]
    place = run([built.python, "-c", "import far, farlab; print(far.__file__, farlab.__file__)"], tmp_path)
    assert all(Path(path).is_relative_to(built.python.parent.parent) for path in place.split())
    run([farlab, "sweep", *study], tmp_path)
    result = json.loads(next(tmp_path.glob("runs/trials/*/result.json")).read_text())
    assert result["code"]["git"] == built.commit and result["code"]["dirty"] is False
    mine = ["mine.yaml", "--seeds", "1", *tiny_overrides]
    video = next(tmp_path.glob("data/*/**/*.mp4"))
    asked = ["-t", "5", "--seeds", "1", *tiny_overrides]
    commands = [
        ["new", "mine", "--plugin"],
        ["sweep", *mine, "--executor", "local"],
        ["report", *asked, "-f", "html", "-o", "tables.html"],
        ["report", *asked, "-o", "page"],
        ["report", *asked, "-f", "latex", "-o", "table.tex"],
        ["report", *asked, "-f", "md", "-o", "table.md"],
        ["report", *asked, "--explain", "1:1", "top1", "-o", "explained.txt"],
        ["figure", "pareto", *asked, "-o", "pareto.png"],
        ["figure", "2", "-o", "patterns.png"],
        ["explain", str(video), "-t", "5", "--seeds", "1", *(f"--set={each}" for each in tiny_overrides)],
        ["cost", "--table", "5"],
        ["report", *mine, "-o", "mine.tex"],
    ]
    script = "import farlab, json, sys\nfor each in json.loads(sys.argv[1]): assert farlab.run(each) == 0, each"
    run([built.python, "-c", script, json.dumps(commands)], tmp_path)
    page = (tmp_path / "page" / "index.html").read_text()
    assert built.commit[:12] in page and "data:image/svg+xml" in page and "could not be drawn" not in page
    assert built.commit in (tmp_path / "explained.txt").read_text()
    assert "Stripes" in (tmp_path / "mine.tex").read_text()
    made = ("tables.html", "table.tex", "table.md", "pareto.png", "patterns.png", "explain.png")
    assert all((tmp_path / name).stat().st_size > 500 for name in made)


def test_an_isolated_build_needs_the_standard_library_alone() -> None:
    """``pip install`` builds where nothing is installed yet; setup.py asks the package for its commit there."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from far.store.environment import code_version; code_version()"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

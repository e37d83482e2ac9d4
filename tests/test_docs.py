"""The documentation: it builds without a warning, its links lead somewhere, and its commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import farlab

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*command, "docs", str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference" / "commands.html").read_text(encoding="utf-8")
    assert all(f"farlab {name}" in page for name in farlab.build_app().commands)
    settings = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\| `data\.(?:share|cache)\w*` \|.*\| never \|", settings, re.MULTILINE)) == 4  # in no key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page: Path) -> None:
    prose = re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    generated = ROOT / "docs" / "reference"
    missing = [
        target
        for target in targets
        if "://" not in target
        and not (page.parent / target).exists()
        and (page.parent / target).resolve().parent != generated
    ]
    assert missing == []


def typed(page: Path) -> Iterator[list[str]]:
    """Yield the commands in a page's blocks of code, as a shell splits them."""
    for block in re.findall(r"^```(?:sh|console|)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.findall(r"(?:^|&& )(?:\$ )?(?:\.venv/bin/)?farlab ([^&]*)", line):
                yield shlex.split(part, comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_exist(page: Path) -> None:
    app = farlab.build_app()
    for words in typed(page):
        command, rest = app, list(words)
        while hasattr(command, "commands") and rest and rest[0] != "COMMAND":
            assert rest[0] in command.commands, f"farlab {' '.join(words)}"
            command = command.commands[rest.pop(0)]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        options = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert options <= known | {"--help"}, f"farlab {' '.join(words)}"


def test_every_command_says_how_it_is_called_from_python() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    table = page[page.index("## Every command") :]
    named = set(re.findall(r"`farlab ([a-z -]+)`", table))
    missing = {" ".join(words) for words, _ in farlab.leaves(farlab.build_app())} - named
    assert missing == set(), "docs/python.md, 'Every command'"


def test_names_in_the_page_on_python_exist() -> None:
    import far

    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"\bfarlab\.([a-z_]+)\(", page)):
        assert callable(getattr(farlab, name)), name
    for name in set(re.findall(r"\bfar\.([a-z_]+)\(", page)):
        assert callable(getattr(far, name)), name
    from farlab.reporting import StudyResults

    for owner, name in re.findall(r"`(Trial|StudyResults)\.([a-z_]+)`", page):
        assert hasattr({"Trial": farlab.Trial, "StudyResults": StudyResults}[owner], name), f"{owner}.{name}"

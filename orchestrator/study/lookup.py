"""Which study a word on the command line means: one look-up for every command, by file, by file name, by ``study:``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from far.config.document import LARGEST_FILE
from far.errors import ConfigError
from far.store.atomic import is_there, read_head
from orchestrator.study.profiles import packaged_studies
from orchestrator.workspace.find import find_workspace

SUFFIXES = (".yaml", ".yml")
"""Of a study's file."""
_NAME = re.compile(r"""^\ufeff?study\s*:\s*(["']?)([\w.-]+)\1\s*(?:\#.*)?$""", re.MULTILINE)


def find_study(path_or_name: Path | str) -> Path:
    """Return the file of a study given by path, or by the name of its file or of the study itself.

    Names are looked for in ``studies/`` here, in that of the workspace, then among the shipped ones.

    Raises:
        ConfigError: there is no such file, or the name means two.
    """
    text = str(path_or_name)
    path = Path(text)
    if (is_there(text) and path.is_file()) or path.suffix in SUFFIXES or len(path.parts) > 1:
        return path
    for directory in study_directories():
        if found := _named(directory, text):
            return found
    known = sorted({file.stem for directory in study_directories() for file in files_in(directory)})
    raise ConfigError(f"unknown study '{text}'", where="command line", choices=known, got=text)


def study_directories() -> list[Path]:
    """Return where a study is looked for by its name: ``studies/`` here, the workspace's, then the shipped ones."""
    roots = [Path("studies"), find_workspace(Path.cwd()).folder / "studies", packaged_studies()]
    distinct = {root.resolve(): root for root in reversed(roots)}
    return [root / part for root in reversed(distinct.values()) for part in (".", "comparisons")]


def study_files(target: Path | str) -> list[Path]:
    """Return the study files that a word on the command line stands for: one, or all in a directory."""
    path = Path(target)
    if not (is_there(str(target)) and path.is_dir()):
        return [find_study(path)]
    files = list(files_in(path))
    if not files:
        raise ConfigError("the directory holds no study (*.yaml, *.yml)", where=str(path))
    return files


def name_in(path: Path) -> str | None:
    """Return what a study's file calls the study, None if it does not say."""
    try:
        match = _NAME.search(read_head(path, LARGEST_FILE).decode(errors="replace"))
    except OSError:
        return None
    return match[2] if match else None


def submitted_name(text: str, known: Sequence[str], store: Path) -> str:
    """Return the name under which a study was submitted.

    Args:
        text: its name, or its file by path or name.
        known: the names of all that were submitted.
        store: to which, for the error message.

    Raises:
        ConfigError: it was not, or the text means a submitted study and the file of another.
    """
    try:
        path = find_study(text)
    except ConfigError:
        path = None
    name = name_in(path) if path is not None else None
    if text in known:
        if name in known and name != text:
            raise ConfigError(f"'{text}' is a study, and the file {path} of the study '{name}': give the other's name")
        return text
    if name in known:
        return str(name)
    called = f"'{name}' ({path})" if name is not None and path is not None and path.is_file() else f"'{text}'"
    raise ConfigError(f"no study {called} was submitted to {store}", choices=known, got=name or text)


def _named(directory: Path, name: str) -> Path | None:
    """Return the file of this name in a directory, or the one whose study is called so.

    Raises:
        ConfigError: these are two files.
    """
    files = list(files_in(directory))
    by_file = [file for file in files if file.stem == name]
    by_study = [file for file in files if file.stem != name and name_in(file) == name]
    if len(by_file) + len(by_study) > 1 and not (len(by_file) == 1 and name_in(by_file[0]) == name):
        meant = [*by_file, *by_study]
        raise ConfigError(
            f"'{name}' means {' and '.join(map(str, meant))}: give the path", where="command line", choices=meant
        )
    return next(iter([*by_file, *by_study]), None)


def files_in(directory: Path) -> Iterator[Path]:
    """Yield a directory's files of studies, sorted."""
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return
    for file in entries:
        if file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file():
            yield file

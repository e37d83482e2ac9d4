"""A new study, and a plug-in next to it, from templates that run as they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from far.errors import ConfigError
from far.plugins.code import shown_path
from orchestrator.study.lookup import SUFFIXES, files_in, name_in, study_directories
from orchestrator.study.schema import name_problem

TEMPLATES = Path(__file__).parent / "templates"
SHIPPED_ROW = "  Sparse-dense: {model.attention: {global: 1, sparse-dense: 1}}"


@dataclass(frozen=True)
class Written:
    """The files of a new study.

    Attributes:
        study: the study.
        plugin: a plug-in with an example, if it was asked for.
        test: its test.
    """

    study: Path
    plugin: Path | None = None
    test: Path | None = None

    @property
    def files(self) -> list[Path]:
        """Those that there are."""
        return [each for each in (self.study, self.plugin, self.test) if each is not None]

    @property
    def commands(self) -> list[tuple[str, str]]:
        """What to type next, and what it does."""
        study = shown_path(self.study.absolute())
        check = (
            [(f"farlab check-plugin {shown_path(self.plugin.absolute())}", "checks the idea")] if self.plugin else []
        )
        return [
            *check,
            (f"farlab validate {study}", "checks the study"),
            (f"farlab plan {study}", "what it would train, and how long that takes"),
            (f"farlab sweep {study}", "trains it; again after any interruption"),
            (f"farlab report {study} -o {self.study.stem}.tex", "the table"),
        ]


def write_study(name: str, folder: Path, *, plugin: bool) -> Written:
    """Write a new study; nothing that is there is touched.

    Args:
        name: of the study.
        folder: where it is written; made if it is not there.
        plugin: whether a plug-in with an example and its test are written next to it.

    Raises:
        ConfigError: the name cannot be a study's, or is taken, or a file of these names is there.
    """
    name = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
    if problem := name_problem(name):
        raise ConfigError(problem, where="command line")
    for directory in dict.fromkeys([folder, *study_directories()]):
        taken = next((file for file in files_in(directory) if name in (file.stem, name_in(file))), None)
        if taken is not None:
            raise ConfigError(
                f"there is a study '{name}': {shown_path(taken)}; choose another name", where="command line"
            )
    stem = re.sub(r"\W", "_", name)
    stem = f"_{stem}" if stem[0].isdigit() else stem
    paths = Written(folder / f"{name}.yaml", *((folder / f"{stem}.py", folder / f"test_{stem}.py") if plugin else ()))
    pattern = f"{name}-stripes"
    row = f'  Stripes: {{model.attention: {{global: 1, "{pattern}": 1}}}}' if plugin else SHIPPED_ROW
    words = {
        "name": name, "file": paths.study.name, "pattern": pattern, "rows": row,
        "plugin": f"{stem}.py", "test": f"test_{stem}.py",
        "plugins": f"plugins: [{stem}.py] # registers '{pattern}'; relative to this file\n" if plugin else "",
    }  # fmt: skip
    texts = [
        Template((TEMPLATES / f"{kind}.txt").read_text(encoding="utf-8")).substitute(words)
        for kind in ("study.yaml", "plugin.py", "test_plugin.py")
    ]
    present = next((path for path in paths.files if path.exists() or path.is_symlink()), None)
    if present is not None:
        raise ConfigError(
            "is there already, and nothing is overwritten: choose another name", where=shown_path(present)
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths.files, texts, strict=False):
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    return paths

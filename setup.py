"""What pyproject.toml cannot say: a build writes down the commit that it was made from."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

sys.path.insert(0, str(Path(__file__).resolve().parent))

from far.store.environment import BUILD_FILE, code_version


def write_commit(packages: Path) -> None:
    """Write the commit of this checkout, or the one that came with this source distribution, beside the code."""
    path = packages / BUILD_FILE
    path.unlink(missing_ok=True)  # it may be a hard link to the checkout's
    path.write_text(json.dumps(code_version()) + "\n", encoding="utf-8")


class BuildPy(build_py):
    """Copies the packages; a wheel then knows its commit. An editable install asks git each time."""

    def run(self) -> None:
        """Build."""
        if self.editable_mode:
            super().run()
            return
        for package in {name.partition(".")[0] for name in self.packages}:
            shutil.rmtree(Path(self.build_lib) / package, ignore_errors=True)  # files of an earlier build, gone since
        super().run()
        write_commit(Path(self.build_lib))


class Sdist(sdist):
    """A source distribution knows its commit, and so does a wheel that is built from it."""

    def make_release_tree(self, base_dir: str, files: Sequence[Any]) -> None:
        """Copy the files, and add the commit."""
        super().make_release_tree(base_dir, files)
        write_commit(Path(base_dir))


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})

"""What tests of study files share: a study from its text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from orchestrator.study import Study, load_study

Load = Callable[..., Study]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return ``load(text, …)``, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def load(text: str, **options) -> Study:
        path = tmp_path / "s.yaml"
        path.write_text(dedent(text))
        return load_study(path, **options)

    return load

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.orchestrator.tracking.tracked import Workspace


@pytest.fixture
def workspace(tmp_path: Path, mlflow_database: Path) -> Workspace:
    shutil.copy(mlflow_database, tmp_path)
    return Workspace(tmp_path)

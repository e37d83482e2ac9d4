from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from far.config.trial import DataConfig, DemoConfig, ModelConfig, RecipeConfig, RunConfig, TrialConfig
from far.data import Manifest, open_manifest

DEMO = DataConfig(demo=DemoConfig(train_clips=400, val_clips=200))


@pytest.fixture(scope="session")
def demo_set(once: Callable[..., Path]) -> Manifest:
    """A small demo set, really generated, shared by the tests."""
    return open_manifest(DEMO, once("demo-data", lambda root: open_manifest(DEMO, root)))


@pytest.fixture(scope="session")
def corpus(once: Callable[..., Path]) -> Path:
    """A folder with a video of each recipe, by its name; not to be written to."""
    # in a process of its own: where decord has been imported, its libvpx stands in for PyAV's, whose encoder then fails
    command, environment = [sys.executable, Path(__file__).with_name("corpus.py")], {**os.environ, "SVT_LOG": "0"}
    return once("corpus", lambda folder: subprocess.run([*command, folder], env=environment, check=True))


@pytest.fixture
def trial() -> TrialConfig:
    return TrialConfig(
        model=ModelConfig.model_validate({"backbone": "tiny", "clip": [16, 64, 64]}),
        data=DEMO,
        recipe=RecipeConfig(batch_size=16),
        run=RunConfig(workers=1),
    )

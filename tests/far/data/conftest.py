from __future__ import annotations

import pytest

from far.config.schema import DataConfig, DemoConfig, ModelConfig, RecipeConfig, RunConfig, TrialConfig
from far.data import Manifest, open_manifest

DEMO = DataConfig(demo=DemoConfig(train_clips=400, val_clips=200))


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A small demo set, really generated, shared by the tests."""
    return open_manifest(DEMO, tmp_path_factory.mktemp("data"))


@pytest.fixture
def trial() -> TrialConfig:
    return TrialConfig(
        model=ModelConfig(backbone="tiny", clip=[16, 64, 64]),
        data=DEMO,
        recipe=RecipeConfig(batch_size=16),
        run=RunConfig(workers=1),
    )

"""The learning rate against the ancestors' formula (VideoMAE ``utils.py:385-405``), written with NumPy as there."""

from __future__ import annotations

import numpy as np
import pytest

from far.config.trial import RecipeConfig
from far.train.schedule import Schedule


def ancestors(base: float, final: float, epochs: int, steps: int, warmup: int) -> np.ndarray:
    ramp = np.linspace(0, base, warmup * steps)
    rest = np.arange(epochs * steps - warmup * steps)
    return np.concatenate((ramp, final + 0.5 * (base - final) * (1 + np.cos(np.pi * rest / len(rest)))))


@pytest.mark.parametrize(("epochs", "steps", "warmup"), [(40, 439, 5), (8, 50, 1), (3, 7, 0)])
def test_rates_equal_the_ancestors(epochs: int, steps: int, warmup: int) -> None:
    recipe = RecipeConfig(epochs=epochs, batch_size=384, lr=1e-3, warmup_epochs=warmup)
    schedule = Schedule.of(recipe, steps)
    rates = [schedule.rate(step) for step in range(schedule.total_steps)]
    np.testing.assert_allclose(rates, ancestors(1.5e-3, 1.5e-6, epochs, steps, warmup), rtol=1e-12)


def test_ssv2_small_reaches_the_scaled_rate() -> None:
    schedule = Schedule.of(RecipeConfig(lr=1e-3, batch_size=384), 439)
    assert schedule.rate(5 * 439 - 1) == pytest.approx(1.5e-3)

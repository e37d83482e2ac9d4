"""A variant of a new kind is one entry: it validates, counts, trains and has its own key; nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from far.architecture import costs, counting
from far.architecture.classifiers import CLASSIFIERS, Classifier
from far.architecture.counting import Count
from far.architecture.interactions import INTERACTIONS, Interaction
from far.architecture.networks import ModelConfig
from far.architecture.sampling import SAMPLERS, sampler
from far.architecture.token_order import TokenOrder
from far.config import parse_override, resolve
from far.config.augmentation import AUGMENTATIONS
from far.config.combinations import without_effect
from far.config.identity import identity, trial_key
from far.config.optimization import OPTIMIZERS, SCHEDULES, Optimizer
from far.config.trial import AugmentConfig, RecipeConfig
from far.data.transforms.augment import augmented
from far.errors import ConfigError
from far.evaluate.metrics import METRICS, Metric
from far.evaluate.predict import Predictions, score
from far.model.vit import build
from far.registry import Registry
from far.train.schedule import Schedule


@contextmanager
def registered(registry: Registry[Any], name: str, entry: Any) -> Iterator[None]:
    registry.register(name)(entry)
    try:
        yield
    finally:
        registry.unregister(name)


def key(*overrides: str) -> str:
    return trial_key(identity(resolve([parse_override(text) for text in overrides]), data_hash="d"))


@dataclass(frozen=True)
class Strided:
    """Every stride-th frame from the first."""

    stride: int

    def train(self, n: int, size: int, rng: np.random.Generator) -> np.ndarray:
        return np.minimum(np.arange(size) * self.stride, n - 1)

    def view(self, n: int, size: int, view: int, views: int) -> np.ndarray:
        return np.minimum(np.arange(size) * self.stride, n - 1)

    def span(self, size: int) -> int:
        return size * self.stride


def test_a_samplers_settings_count_in_the_key_if_it_reads_them() -> None:
    with registered(SAMPLERS, "strided", Strided):
        ours = [key("data.sampling=strided", f"data.stride={stride}") for stride in (2, 4)]
        config = resolve([parse_override("data.sampling=strided"), parse_override("data.stride=2")])
        assert sampler(config.data).view(100, 3, 0, 1).tolist() == [0, 2, 4]
        assert "data.stride" not in without_effect(config)
    assert ours[0] != ours[1]
    assert len({key("data.sampling=segments-mvd", f"data.stride={stride}") for stride in (2, 4)}) == 1


class Excite(nn.Module):
    """Squeeze and excitation (Hu et al. 2018): channels are scaled by what the whole clip holds."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.squeeze, self.excite = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        scale: Tensor = self.excite(self.squeeze(x.mean(1)).relu()).sigmoid()
        return x * scale[:, None]


class SqueezeExcite(Interaction):
    def check(self, model: ModelConfig) -> None:
        if model.sizes[0] % 4:
            raise ConfigError(f"a width of {model.sizes[0]} has no quarter")

    def build(self, model: ModelConfig, order: TokenOrder) -> Excite:
        return Excite(model.sizes[0], model.sizes[0] // 4)

    def count(self, model: ModelConfig) -> Count:
        width, tokens = model.sizes[0], int(np.prod(model.grid))
        layers = counting.linear(1, width, width // 4) + counting.linear(1, width // 4, width)
        return counting.norm(tokens, width) + layers


class Largest(nn.Module):
    """The largest value of each channel, and a learned mixture of both halves of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x.amax(1, keepdim=True))


class MaxPooled(Classifier):
    def features(self, model: ModelConfig) -> int:
        return 1

    def build(self, model: ModelConfig, order: TokenOrder) -> Largest:
        return Largest(model.sizes[0])

    def count(self, model: ModelConfig) -> Count:
        return counting.linear(1, model.sizes[0], model.sizes[0])


SMALL = {"backbone": "tiny", "depth": 2, "clip": [4, 32, 32], "tubelet": [2, 8, 8], "init_scale": 1.0}


@pytest.mark.parametrize(
    ("registry", "setting", "entry"),
    [(INTERACTIONS, "interaction", SqueezeExcite()), (CLASSIFIERS, "classifier", MaxPooled())],
    ids=["interaction", "classifier"],
)
def test_a_module_of_another_kind_is_one_entry(registry: Registry[Any], setting: str, entry: Any) -> None:
    with registered(registry, "own", entry):
        model = ModelConfig.model_validate({**SMALL, setting: "own"})
        net = build(model, 5, seed=0)  # type: ignore[arg-type]
        assert sum(p.numel() for p in net.parameters()) == costs.parameters(model, 5)
        clips = torch.randn(2, 3, *model.clip, generator=torch.Generator().manual_seed(0))
        net(clips).logsumexp(1).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        assert torch.equal(build(model, 5, seed=0)(clips), net(clips))  # type: ignore[arg-type]
        assert (registry.origin("own").module, registry.origin("own").file) == (__name__, __file__)
        ours = key(f"model.{setting}=own")
    assert ours != key()


def test_a_variant_that_does_not_fit_names_those_that_do() -> None:
    with registered(INTERACTIONS, "own", SqueezeExcite()), pytest.raises(ConfigError) as refused:
        resolve([parse_override(text) for text in ("model.interaction=own", "model.width=90", "model.heads=6")])
    assert refused.value.key == "model.interaction"
    assert refused.value.choices == ["none"]


def test_a_name_taken_twice_is_an_error_that_names_both_places() -> None:
    with pytest.raises(ConfigError, match=r"test_new_variants\.py:\d+: .*'none' is registered twice.*interactions\.py"):
        INTERACTIONS.register("none")


class Remembering(nn.Module):
    """Has a buffer, which a build on ``meta`` leaves empty."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(3))


def test_a_module_whose_buffers_nobody_fills_is_refused() -> None:
    class Forgetful(SqueezeExcite):
        def build(self, model: ModelConfig, order: TokenOrder) -> Any:
            return Remembering()

    with (
        registered(INTERACTIONS, "own", Forgetful()),
        pytest.raises(TypeError, match=r"Remembering has buffers, and no method reset_buffers"),
    ):
        build(ModelConfig.model_validate({**SMALL, "interaction": "own"}), 5, seed=0)  # type: ignore[arg-type]


def test_an_optimiser_a_schedule_and_an_augmentation_of_ones_own_count_in_the_key() -> None:
    class Sgd(Optimizer):
        def build(self, groups: list[dict[str, Any]], recipe: RecipeConfig) -> torch.optim.Optimizer:
            return torch.optim.SGD(groups, lr=recipe.lr)

    with (
        registered(OPTIMIZERS, "sgd", Sgd()),
        registered(SCHEDULES, "linear", lambda progress: 1 - progress),
        registered(AUGMENTATIONS, "negative", lambda clip, rng: 255 - clip),
    ):
        names = ("recipe.optimizer=sgd", "recipe.schedule=linear", "recipe.augment.also=[negative]")
        keys = [key(), *(key(name) for name in names), key(*names)]
        assert len(set(keys)) == 5
        assert key("recipe.optimizer=sgd", "recipe.betas=[0.5, 0.5]") == keys[1]
        config = resolve([parse_override(name) for name in names])
        assert Schedule.of(config.recipe, 10).rate(225) == pytest.approx(0.5 * (1e-3 + 1e-6) * 384 / 256, rel=0.01)
        clip = torch.randint(0, 256, (3, 4, 32, 32), dtype=torch.uint8)
        plain = AugmentConfig()
        rng = np.random.default_rng
        ours, theirs = (
            augmented(clip, each, (32, 32), lambda _: rng(0), flip=False) for each in (config.recipe.augment, plain)
        )
        assert torch.equal(ours, 255 - theirs)
    with pytest.raises(ConfigError, match=r"unknown optimiser 'sgd'.*adamw"):
        key("recipe.optimizer=sgd")


def test_a_metric_of_ones_own_is_in_the_scores() -> None:
    predictions = Predictions(["a", "b", "c"], [0, 0, 1], [0] * 3, [0] * 3, [np.eye(3, dtype=np.float32)[0]] * 3)

    def mean_class(probabilities: np.ndarray, labels: np.ndarray, expected: int) -> float:
        right = probabilities.argmax(1) == labels
        return 100.0 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))

    with registered(METRICS, "mean_class", Metric(mean_class)):
        assert score(predictions, 3).metrics["mean_class"] == 50.0

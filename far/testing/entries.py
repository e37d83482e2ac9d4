"""What a plug-in has registered, put to the tests of its axis: ``farlab check-plugin``.

What an entry must be at all is checked when the plug-in is loaded (``far.plugins.axes``); here it is run.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch

from far.architecture import costs
from far.architecture.backbones import BACKBONES
from far.architecture.classifiers import CLASSIFIERS
from far.architecture.interactions import INTERACTIONS, POSITIONS
from far.architecture.networks import NETWORKS, ModelConfig
from far.architecture.patterns import PATTERNS
from far.architecture.position_embeddings import EMBEDDINGS
from far.architecture.sampling import SAMPLERS
from far.config.augmentation import AUGMENTATIONS
from far.config.data import DataConfig
from far.config.optimization import OPTIMIZERS, SCHEDULES
from far.config.recipe import RecipeConfig
from far.errors import ConfigError
from far.evaluate.metrics import METRICS
from far.plugins import Plugin
from far.plugins.axes import pattern_problem
from far.plugins.load import blamed
from far.testing import conformance
from far.testing.conformance import CLASSES, EVEN, ODD, section

Check = tuple[str, Callable[[], None]]
GRIDS = ((2, 4, 6), (3, 7, 7), (8, 14, 14), (1, 1, 1), (5, 3, 4))
"""Of a pattern's labels: even, odd, of the paper, a single token, of no common divisor."""


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes:
        axis: of the entry.
        name: of the entry.
        check: what was checked.
        state: ``passed``, ``failed``, or ``skipped``.
        why: what differs, or why it was skipped.
    """

    axis: str
    name: str
    check: str
    state: Literal["passed", "failed", "skipped"]
    why: str = ""


def run_checks(plugins: Iterable[Plugin]) -> Iterator[Outcome]:
    """Run all checks of what plug-ins have registered; yield what came of each."""
    for plugin in plugins:
        for axis, name, _ in plugin.entries:
            found = CHECKS.get(axis)
            if found is None:
                yield Outcome(axis, name, "conformance", "skipped", "no checks for this axis but those of loading")
                continue
            for check, run in found(name):
                yield _outcome(axis, name, check, run)


def _outcome(axis: str, name: str, check: str, run: Callable[[], None]) -> Outcome:
    logging.disable(logging.CRITICAL)  # what fails is told in one line; torch's compiler logs tracebacks of it
    try:
        run()
    except AssertionError as error:
        return Outcome(axis, name, check, "failed", _brief(error))
    except ImportError as error:
        return Outcome(axis, name, check, "skipped", f"{error.name} is not installed")
    except ConfigError as error:
        return Outcome(axis, name, check, "skipped", f"not possible at this size: {_brief(error)}")
    except Exception as error:
        place = blamed(error)
        said = f"{type(error).__name__}: {_brief(error)}"
        return Outcome(axis, name, check, "failed", f"{place}: {said}" if place else said)
    finally:
        logging.disable(logging.NOTSET)
    return Outcome(axis, name, check, "passed")


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or "it does not hold"


def _of_far(**changes: Any) -> list[Check]:
    """Return the checks of a network of FAR's with such settings, on an even and an odd grid."""
    checks: list[Check] = []
    for clip in (EVEN, ODD):
        grid = "x".join(str(size // patch) for size, patch in zip(clip, (2, 8, 8), strict=True))

        def on(run: Callable[[Any], None], clip: list[int] = clip) -> Callable[[], None]:
            return lambda: run(section(clip, **changes))

        checks += [
            (f"logits and gradients are those of the dense form, {grid} tokens", on(conformance.check_dense_form)),
            (f"parameters, 16-bit types, state dict, {grid} tokens", on(conformance.check_parameters_and_types)),
            (f"FLOPs are fvcore's, {grid} tokens", on(conformance.check_flops)),
        ]
    return [
        *checks,
        ("recomputation gives the same gradients", lambda: conformance.check_recomputation(section(ODD, **changes))),
        ("compiles as one graph", lambda: conformance.check_compilation(section(EVEN, **changes))),
    ]


def _pattern(name: str) -> list[Check]:
    def labels() -> None:
        for grid in GRIDS:
            first = PATTERNS[name](grid)
            assert not (problem := pattern_problem(first, grid)), problem
            assert np.array_equal(first, PATTERNS[name](grid)), f"gives {grid} other labels the second time"

    return [("labels", labels), *_of_far(attention={name: 1, "global": 1})]


def _interaction(name: str) -> list[Check]:
    def at(place: str) -> Check:
        changes = {"interaction": name, "interaction_position": place}
        return f"at {place}", lambda: conformance.check_dense_form(section(EVEN, **changes))

    return [*_of_far(interaction=name), *map(at, list(POSITIONS)[1:])]


def _network(name: str) -> list[Check]:
    def config(**changes: Any) -> ModelConfig:
        small = {"backbone": "tiny", "depth": 2, "clip": [4, 32, 32], "network": name, "init_scale": 1.0}
        error: ConfigError | None = None
        for tubelet in ([2, 8, 8], [1, 8, 8]):
            try:
                return ModelConfig.model_validate({**small, "tubelet": tubelet, **changes})
            except ConfigError as refused:
                error = refused
        assert error is not None
        raise error

    def build(seed: int | None = 0) -> Any:
        return NETWORKS[name].build(config(), CLASSES, seed=seed)

    def trains() -> None:
        net, clips = build(), conformance.clips_of(config())  # type: ignore[arg-type]
        logits = net(clips)
        assert logits.shape == (2, CLASSES), f"gives logits of shape {tuple(logits.shape)}, not {(2, CLASSES)}"
        logits.logsumexp(1).sum().backward()
        lacking = [each for each, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert not lacking, f"{lacking[0]} has no finite gradient"
        torch.manual_seed(99)
        assert torch.equal(build()(clips), logits), "depends on more than the seed"

    def counts() -> None:
        found, counted = sum(p.numel() for p in build().parameters()), costs.parameters(config(), CLASSES)
        assert found == counted, f"has {found} parameters, and its count says {counted}"

    def kinds() -> None:
        net, clips = build().eval(), conformance.clips_of(config())  # type: ignore[arg-type]
        both = net(clips)
        for dtype, tolerance in ((torch.bfloat16, 0.05), (torch.float16, 0.01)):
            low = copy.deepcopy(net).to(dtype)(clips.to(dtype))
            assert low.dtype == torch.float32, f"gives logits of {low.dtype} in {dtype}"
            assert (low - both).abs().max() < tolerance * both.abs().max() + tolerance, f"differs in {dtype}"

    def round_trip() -> None:
        clips = conformance.clips_of(config())  # type: ignore[arg-type]
        net, other = build().eval(), build(1).eval()
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(clips), net(clips)), "another network with its state dict has other logits"

    def skeleton() -> None:
        assert {p.device.type for p in build(None).parameters()} == {"meta"}, "without a seed it is not on torch's meta"

    def grid() -> None:
        net, clips = build().eval(), conformance.clips_of(config())  # type: ignore[arg-type]
        kept: list[Any] = []
        net.last_block.register_forward_pre_hook(lambda module, given: kept.append(given[0]))
        net(clips)
        volume = net.to_grid(kept[0])
        assert tuple(volume.shape[2:]) == config().grid, f"puts tokens on a grid {tuple(volume.shape[2:])}"
        assert torch.equal(net.from_grid(volume, kept[0]), kept[0]), "from_grid does not undo to_grid"

    return [
        ("trains, from the seed alone", trains), ("parameters", counts), ("16-bit types", kinds),
        ("state dict", round_trip), ("builds without values", skeleton), ("tokens and their places", grid),
        ("FLOPs are fvcore's", lambda: conformance.check_flops(config())),
    ]  # fmt: skip


def _backbone(name: str) -> list[Check]:
    sizes = {each.name: getattr(BACKBONES[name], each.name) for each in fields(BACKBONES[name])}
    changes = {"backbone": name, **sizes, "attention": {"global": 1}}

    def check(**more: Any) -> Callable[[], None]:
        return lambda: conformance.check_parameters_and_types(section(EVEN, **changes, **more))

    return [("is the size of a network", check(interaction="none")), ("with an interaction", check())]


def _sampler(name: str) -> list[Check]:
    kind = SAMPLERS[name]
    scheme: Any = kind(**{each.name: getattr(DataConfig(), each.name) for each in fields(kind)})

    def inside() -> None:
        rng = np.random.default_rng(0)
        for frames in (*range(1, 40), 100, 1000):
            for size in (1, 4, 16):
                clips = [scheme.train(frames, size, rng), *(scheme.view(frames, size, at, 3) for at in range(3))]
                for clip in map(np.asarray, clips):
                    fine = clip.shape == (size,) and clip.min() >= 0 and clip.max() < frames
                    assert fine, f"gives a clip of {size} of {frames} frames {clip.tolist()}"

    def ordered() -> None:
        for frames in (1, 7, 40, 100):
            assert (np.diff(scheme.view(frames, 8, 0, 1)) >= 0).all(), f"views of {frames} frames run backwards"

    def repeatable() -> None:
        for frames in (7, 40):
            first, second = (scheme.train(frames, 8, np.random.default_rng(5)) for _ in range(2))
            assert np.array_equal(first, second), "training clips depend on more than the generator"
            assert np.array_equal(scheme.view(frames, 8, 0, 2), scheme.view(frames, 8, 0, 2)), "a view is drawn"

    return [
        ("frames of the video", inside),
        ("views in the order of time", ordered),
        ("draws from its generator", repeatable),
    ]


def _schedule(name: str) -> list[Check]:
    def finite() -> None:
        shares = np.array([SCHEDULES[name](each) for each in np.linspace(0, 1, 101)])
        assert np.isfinite(shares).all() and (shares >= 0).all(), (
            f"gives {shares[~np.isfinite(shares) | (shares < 0)][:3]}"
        )

    return [("finite and not negative from 0 to 1", finite)]


def _optimizer(name: str) -> list[Check]:
    def make(net: torch.nn.Module) -> Any:
        groups = [{"params": list(net.parameters()), "weight_decay": 0.01, "lr_scale": 1.0, "name": "all"}]
        return OPTIMIZERS[name].build(groups, RecipeConfig())

    def step(net: torch.nn.Module, optimizer: Any) -> float:
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        loss = (net(torch.linspace(-1, 1, 32).reshape(8, 4)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def learns() -> None:
        torch.manual_seed(0)
        net = torch.nn.Linear(4, 2)
        optimizer = make(net)
        losses = [step(net, optimizer) for _ in range(50)]
        assert losses[-1] < losses[0], f"the loss goes from {losses[0]:.3g} to {losses[-1]:.3g} in 50 steps"

    def resumes() -> None:
        torch.manual_seed(0)
        net = torch.nn.Linear(4, 2)
        optimizer = make(net)
        step(net, optimizer)
        other = copy.deepcopy(net)
        again = make(other)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        step(net, optimizer)
        step(other, again)
        assert torch.equal(net.weight, other.weight), "goes on otherwise from its state dict"

    return [("the loss falls", learns), ("goes on from its state dict", resumes)]


def _augmentation(name: str) -> list[Check]:
    def run() -> None:
        clip = torch.rand(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        first, second = (AUGMENTATIONS[name](clip.clone(), np.random.default_rng(3)) for _ in range(2))
        assert first.shape == clip.shape, f"gives a clip of shape {tuple(first.shape)}, not {tuple(clip.shape)}"
        assert first.isfinite().all(), "gives values that are not finite"
        assert torch.equal(first, second), "depends on more than its generator"

    return [("shape, finite, draws from its generator", run)]


def _metric(name: str) -> list[Check]:
    def direction() -> None:
        metric, labels = METRICS[name], np.arange(4)
        right, wrong = np.eye(4) * 0.96 + 0.01, np.roll(np.eye(4), 1, axis=1) * 0.96 + 0.01
        best, worst = metric.compute(right, labels, 4), metric.compute(wrong, labels, 4)
        assert np.isfinite([best, worst]).all(), f"computes {best} and {worst}"
        better = best > worst if metric.larger_is_better else best < worst
        assert better, f"computes {best:.4g} where all is right and {worst:.4g} where all is wrong"

    return [("right answers are better than wrong ones", direction)]


CHECKS: Mapping[str, Callable[[str], list[Check]]] = {
    PATTERNS.axis: _pattern,
    INTERACTIONS.axis: _interaction,
    CLASSIFIERS.axis: lambda name: _of_far(classifier=name),
    EMBEDDINGS.axis: lambda name: _of_far(position_embedding=name),
    NETWORKS.axis: _network,
    BACKBONES.axis: _backbone,
    SAMPLERS.axis: _sampler,
    SCHEDULES.axis: _schedule,
    OPTIMIZERS.axis: _optimizer,
    AUGMENTATIONS.axis: _augmentation,
    METRICS.axis: _metric,
}
"""The checks of an entry, by its axis."""

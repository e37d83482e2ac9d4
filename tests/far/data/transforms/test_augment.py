"""Augmentation against its definitions: single operations against Pillow, draws against their distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from far.config.trial import AugmentConfig
from far.data.transforms import geometry, mixup, randaugment
from far.data.transforms.augment import crop_box, draw_erasure, resized_crop
from far.randomness import numpy_rng

BLENDS = {
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}


def picture(seed: int = 0) -> np.ndarray:
    """A smooth coloured picture (40, 56, 3) that does not use the whole range."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(30, 220, (5, 7, 3), dtype=np.uint8))
    return np.asarray(small.resize((56, 40), Image.Resampling.BICUBIC))


def clip_of(*frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(frames).transpose(3, 0, 1, 2).copy())


def frame_of(clip: torch.Tensor, number: int) -> np.ndarray:
    return clip[:, number].permute(1, 2, 0).numpy()


def by_pillow(name: str, image: Image.Image, strength: float) -> Image.Image:
    level = abs(strength)
    if name in BLENDS:
        return BLENDS[name](image).enhance(max(0.1, 1 + 0.9 * strength))
    if name == "solarize-add":
        table = [min(255, i + int(110 * level)) if i < 128 else i for i in range(256)]
        return image.point(table * 3)
    width, height = image.size
    matrices = {
        "shear-x": (1, 0.3 * strength, 0, 0, 1, 0),
        "shear-y": (1, 0, 0, 0.3 * strength, 1, 0),
        "translate-x": (1, 0, 0.45 * strength * width, 0, 1, 0),
        "translate-y": (1, 0, 0, 0, 1, 0.45 * strength * height),
    }
    if name in matrices:
        affine, cubic = Image.Transform.AFFINE, Image.Resampling.BICUBIC
        return image.transform(image.size, affine, matrices[name], resample=cubic, fillcolor=(128, 128, 128))
    return {
        "auto-contrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "invert": lambda: ImageOps.invert(image),
        "posterize": lambda: (
            ImageOps.posterize(image, 4 - int(4 * level)) if level < 1 else Image.new("RGB", image.size)
        ),
        "solarize": lambda: ImageOps.solarize(image, 256 - int(256 * level)),
        "rotate": lambda: image.rotate(30 * strength, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128)),
    }[name]()


@pytest.mark.parametrize("strength", [0.0, 0.33, -0.9, 1.0, -1.0])
@pytest.mark.parametrize("name", list(randaugment.OPERATIONS))
def test_operations_do_what_pillow_does(name: str, strength: float) -> None:
    frames = [picture(0), picture(1)]
    ours = randaugment.OPERATIONS[name](clip_of(*frames), strength)
    assert ours.dtype == torch.uint8
    for number, frame in enumerate(frames):
        theirs = np.asarray(by_pillow(name, Image.fromarray(frame), strength)).astype(int)
        difference = np.abs(frame_of(ours, number).astype(int) - theirs)
        geometric = name in ("rotate", "shear-x", "shear-y", "translate-x", "translate-y")
        if geometric:  # at the border the libraries weigh the outside differently
            assert np.median(difference) <= 1
            assert (difference <= 3).mean() > 0.9
        else:
            assert difference.max() <= 1


@pytest.mark.parametrize("name", list(randaugment.OPERATIONS))
def test_all_frames_change_alike(name: str) -> None:
    frame = picture()
    ours = randaugment.OPERATIONS[name](clip_of(frame, frame, frame), 0.8)
    assert torch.equal(ours[:, 0], ours[:, 2])


@pytest.mark.parametrize("name", list(randaugment.OPERATIONS))
def test_operations_stay_on_the_clips_device(name: str) -> None:
    # a device without values refuses every tensor that was made on the CPU, and every look at a value
    clip = torch.empty(3, 2, 40, 56, dtype=torch.uint8, device="meta")
    for strength in (0.0, 0.5, -1.0):
        ours = randaugment.OPERATIONS[name](clip, strength)
        assert (ours.device.type, ours.dtype, ours.shape) == ("meta", torch.uint8, clip.shape)


@pytest.mark.parametrize("resampling", ["bicubic", "bilinear"])
def test_a_box_of_the_result_is_cut_from_the_whole(resampling: str) -> None:
    """Whatever is not computed outside of the box, the pixels inside are the same, bit for bit."""
    clip = clip_of(picture(0), picture(1))
    config = AugmentConfig(randaug_ops=4, randaug_probability=0.7)
    for number in range(60):
        draws = randaugment.draw(config, numpy_rng(number, "ops"))
        box = crop_box(40, 56, (0.1, 0.9), (0.75, 4 / 3), numpy_rng(number, "box"))
        whole = randaugment.apply(clip, draws, None, resampling)
        assert torch.equal(randaugment.apply(clip, draws, box, resampling), geometry.cut(whole, box)), draws


def test_bilinear_differs_from_bicubic_in_motions_alone() -> None:
    clip = clip_of(picture(0))
    for name, operation in randaugment.OPERATIONS.items():
        one, other = (
            randaugment.apply(clip, [randaugment.Draw(name, 0.37)], None, how) for how in ("bicubic", "bilinear")
        )
        assert torch.equal(one, other) != isinstance(operation, randaugment.Motion), name
        assert (one.int() - other.int()).abs().float().mean() < 4


def test_a_flat_picture_survives_every_operation() -> None:
    flat = np.full((16, 16, 3), 77, np.uint8)
    for operation in randaugment.OPERATIONS.values():
        assert operation(clip_of(flat), 0.5).shape == (3, 1, 16, 16)


def test_randaugment_draws_follow_their_definition() -> None:
    config = AugmentConfig(randaug_ops=4, randaug_magnitude=9.0, randaug_std=0.5)
    draws = [randaugment.draw(config, numpy_rng(0, "test", n)) for n in range(3000)]
    kept = [len(one) for one in draws]
    assert np.mean(kept) == pytest.approx(2, abs=0.08)
    assert np.var(kept) == pytest.approx(1, abs=0.1)
    everything = [one for draw in draws for one in draw]
    counts = [sum(one.operation == name for one in everything) for name in randaugment.OPERATIONS]
    assert stats.chisquare(counts).pvalue > 1e-3
    strengths = np.array([one.strength for one in everything])
    assert np.mean(strengths > 0) == pytest.approx(0.5, abs=0.03)
    magnitudes = 10 * np.abs(strengths)
    assert magnitudes.max() == 10  # clipped: two standard deviations above nine
    below = magnitudes[magnitudes < 9]
    assert stats.kstest(9 - below, stats.halfnorm(scale=0.5).cdf).pvalue > 1e-3


def test_crop_boxes_follow_their_definition() -> None:
    # on a large square nearly every box of this range fits at the first try
    boxes = np.array([crop_box(1000, 1000, (0.1, 0.5), (0.75, 4 / 3), numpy_rng(1, "box", n)) for n in range(3000)])
    top, left, height, width = boxes.T
    share = height * width / 1e6
    assert stats.kstest(share, stats.uniform(0.1, 0.4).cdf).pvalue > 1e-3
    ratio = np.log(width / height)
    assert stats.kstest(ratio, stats.uniform(math.log(0.75), math.log(16 / 9)).cdf).pvalue > 1e-3
    assert stats.kstest(top / (1000 - height), stats.uniform().cdf).pvalue > 1e-3
    assert (top + height).max() <= 1000
    assert (left + width).max() <= 1000


def test_a_crop_that_never_fits_is_the_centre() -> None:
    # ten times as wide as high: no box of half the area has an allowed aspect
    assert crop_box(10, 100, (0.9, 1.0), (0.75, 4 / 3), numpy_rng(0)) == (0, 43, 10, 13)


def test_a_whole_crop_keeps_the_pixels() -> None:
    clip = clip_of(picture())
    assert torch.equal(resized_crop(clip, (0, 0, 40, 56), (40, 56)), clip)
    part = resized_crop(clip, (4, 6, 20, 28), (20, 28))
    assert torch.equal(part, clip[..., 4:24, 6:34])


def test_erasing_follows_its_definition() -> None:
    shares, hits, noise = [], 0, []
    for n in range(1500):
        clip = torch.full((3, 2, 64, 64), 7.0)
        if erasure := draw_erasure((2, 64, 64), 0.25, numpy_rng(2, "erase", n)):
            erasure.put(clip)
        changed = clip != 7
        assert torch.equal(changed[:, 0], changed[:, 1])  # one box in all frames
        if changed.any():
            hits += 1
            shares.append(float(changed[0, 0].float().mean()))
            noise.append(clip[changed][:50])
            assert not torch.equal(clip[:, 0], clip[:, 1])  # but each frame its own noise
    assert hits / 1500 == pytest.approx(0.25, abs=0.04)
    assert min(shares) >= 0.018
    assert max(shares) <= 0.34
    assert np.mean(shares) == pytest.approx((0.02 + 1 / 3) / 2, abs=0.02)
    assert stats.kstest(torch.cat(noise).numpy(), stats.norm().cdf).pvalue > 1e-4


# -- Mixup and CutMix --------------------------------------------------------------------------------------------


def test_mixing_draws_follow_their_definition() -> None:
    config = AugmentConfig(mixup=0.8, cutmix=1.0)
    draws = [mixup.draw(config, 224, 224, numpy_rng(3, "mix", n)) for n in range(4000)]
    assert all(draws)
    cut = [one for one in draws if one.box]
    assert len(cut) / 4000 == pytest.approx(0.5, abs=0.03)
    shares = [one.share for one in draws if not one.box]
    assert stats.kstest(shares, stats.beta(0.8, 0.8).cdf).pvalue > 1e-3


def test_mixed_clips_are_rounded_once_from_float32() -> None:
    own, other = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 4, 8, 6), np.float32))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        mixed = torch.full_like(own, torch.nan, dtype=dtype)
        mixup.blend_into(mixed, own, other, mixup.Mix(0.3))
        assert torch.equal(mixed, (own * 0.3 + other * (1 - 0.3)).to(dtype))


def test_cutmix_shares_are_the_pixels() -> None:
    config = AugmentConfig(cutmix=1.0)
    ones, zeros = torch.ones(3, 2, 48, 32), torch.zeros(3, 2, 48, 32)
    for n in range(200):
        mix = mixup.draw(config, 48, 32, numpy_rng(4, "cut", n))
        assert mix is not None
        mixed = torch.empty_like(ones)
        mixup.blend_into(mixed, ones, zeros, mix)
        assert float(mixed.mean()) == pytest.approx(mix.share, abs=1e-6)  # cut in (H, W), never in (T, H)
        assert torch.equal(mixed[:, 0], mixed[:, 1])


def test_mixing_can_be_partly_off() -> None:
    half = AugmentConfig(mixup=0.8, mix_probability=0.5)
    off = [mixup.draw(half, 8, 8, numpy_rng(5, "off", n)) is None for n in range(2000)]
    assert np.mean(off) == pytest.approx(0.5, abs=0.04)
    assert not AugmentConfig().mixes


def test_soft_targets_are_smoothed_as_the_ancestors_do() -> None:
    # off = 0.1 / C, on = 0.9 + 0.1 / C, for each of the two labels, weighted
    targets = mixup.soft_targets([1, 2], [3, 2], [0.7, 0.2], classes=4, smoothing=0.1)
    on, off = 0.9 + 0.1 / 4, 0.1 / 4
    expected = [[off, 0.7 * on + 0.3 * off, off, 0.3 * on + 0.7 * off], [off, off, on, off]]
    torch.testing.assert_close(targets, torch.tensor(expected))

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from far.data.transforms.geometry import crop, normalise, normalise_into, resize, resize_to_cover, to_tensor


def frames(height: int, width: int) -> torch.Tensor:
    return to_tensor(np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(20, 30), (64, 64), (37, 91)])
def test_resizing_is_bilinear(size: tuple[int, int]) -> None:
    clip = frames(48, 80)
    expected = F.interpolate(clip.transpose(0, 1).float(), size, mode="bilinear").transpose(0, 1)
    assert (resize(clip, size).float() - expected).abs().max() <= 1.1  # rounded, with weights in fixed point
    assert (resize(clip, size).float() - expected).mean().abs() < 0.3  # of 255


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (240, 427, (224, 224), (224, 398)),  # the short side becomes 224: int(224 * 427 / 240)
        (427, 240, (224, 224), (398, 224)),
        (128, 180, (48, 64), (48, 67)),
        (128, 170, (48, 64), (48, 64)),  # 63.75 columns would not cover: 64 x 128 / 170 rows = 48
        (64, 64, (64, 64), (64, 64)),
    ],
)
def test_the_short_side_decides(height: int, width: int, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert tuple(resize_to_cover(frames(height, width), size).shape[-2:]) == expected


def test_three_crops_reach_from_end_to_end() -> None:
    clip = frames(10, 25)
    columns = [0, 7, 15]  # int(k * (25 - 10) / 2)
    for index, left in enumerate(columns):
        assert torch.equal(crop(clip, (10, 10), index, 3), clip[..., left : left + 10])
    tall = clip.transpose(-1, -2)
    assert torch.equal(crop(tall, (10, 10), 1, 3), tall[..., 7:17, :])


def test_one_crop_is_the_centre() -> None:
    clip = frames(20, 30)
    assert torch.equal(crop(clip, (10, 10)), clip[..., 5:15, 10:20])


def test_a_batch_is_normalised_as_each_clip_alone() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    clips = [crop(frames(20, 30), (10, 10)), frames(10, 10).contiguous(), frames(10, 20)[..., ::2]]
    batch = torch.full((3, 3, 3, 10, 10), torch.nan)
    normalise_into(batch, clips, mean, std)
    for clip, normalised in zip(clips, batch, strict=True):
        assert torch.equal(normalised, normalise(clip, mean, std))
        expected = (clip / 255 - torch.tensor(mean).view(3, 1, 1, 1)) / torch.tensor(std).view(3, 1, 1, 1)
        torch.testing.assert_close(normalised, expected)

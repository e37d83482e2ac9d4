from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from far.config.trial import DataConfig, DemoConfig
from far.data import Manifest, open_manifest
from far.data.decoding.decoder import decode
from far.data.decoding.indexes import open_indexes
from far.data.decoding.scan import index_file
from far.data.sources import demo
from far.data.sources.manifest import read_manifest
from far.errors import ConfigError, DataError

TINY = DataConfig(demo=DemoConfig(train_clips=10, val_clips=10, size=32))


STEP = 4
MIDDLE = demo.FRAMES // 2 // STEP
Split = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def grey(demo_set: Manifest) -> dict[str, Split]:
    """Every fourth frame, grey (N, T, 64, 64), of each split with its labels, decoded by decord."""
    indexes = open_indexes(demo_set)
    frames = np.arange(0, demo.FRAMES, STEP)
    found = {}
    for split in ("train", "val"):
        videos = demo_set.split(split)
        clips = [
            decode(demo_set.file(v), indexes.get(v), frames).frames.mean(axis=-1, dtype=np.float32) for v in videos
        ]
        found[split] = np.stack(clips) / 255, np.array([v.label for v in videos])
    return found


def test_classes_come_in_time_reversed_pairs() -> None:
    times = np.linspace(-1, 1, demo.FRAMES)
    assert len(demo.MOTIONS) >= 8
    for label, partner in enumerate(demo.reversals()):
        forward = list(demo.MOTIONS.values())[label](times, 0.7)
        backward = list(demo.MOTIONS.values())[partner](times, 0.7)
        assert partner != label
        for name in ("dx", "dy", "angle", "zoom"):
            np.testing.assert_allclose(getattr(forward, name), getattr(backward, name)[::-1], atol=1e-12)


def test_every_motion_is_at_rest_in_the_middle_frame() -> None:
    for motion in demo.MOTIONS.values():
        pose = motion(np.zeros(1), 1.3)
        assert all(abs(float(value[0])) < 1e-12 for value in (pose.dx, pose.dy, pose.angle, pose.zoom))


def test_middle_frame_depends_on_everything_but_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = demo.digit_pool("train")
    middles = []
    for label in range(len(demo.MOTIONS)):
        monkeypatch.setattr(demo, "label_of", lambda index, label=label: label)
        middles.append(demo.render(DemoConfig(), "train", 3, pool)[demo.FRAMES // 2])
    assert all(np.array_equal(middles[0], middle) for middle in middles[1:])


def test_training_and_validation_share_no_digit_image() -> None:
    train, val = demo.digit_pool("train"), demo.digit_pool("val")
    assert len(train) + len(val) == 1797
    # scikit-learn's set itself holds no image twice, so index-disjoint pools are disjoint in pixels
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in val}


def test_middle_frame_alone_is_at_chance(grey: dict[str, Split]) -> None:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    assert MIDDLE * STEP == demo.FRAMES // 2
    (x, y), (x_val, y_val) = ((clips[:, MIDDLE], labels) for clips, labels in (grey["train"], grey["val"]))
    model = make_pipeline(PCA(40, whiten=True, random_state=0), LogisticRegression(C=0.1, max_iter=300))
    model.fit(x.reshape(len(x), -1), y)
    assert model.score(x.reshape(len(x), -1), y) > 0.3  # it can fit: chance on validation is not for want of trying
    accuracy = model.score(x_val.reshape(len(x_val), -1), y_val)
    assert accuracy < 0.17  # 200 videos at chance 0.1: above 0.17 once in a thousand runs


def test_order_in_time_tells_the_classes_apart(grey: dict[str, Split]) -> None:
    from sklearn.ensemble import RandomForestClassifier

    def moments(split: str) -> tuple[np.ndarray, np.ndarray]:
        clips, labels = grey[split]
        change = np.abs(clips - np.median(clips, axis=1, keepdims=True))
        mass = np.where(change > np.quantile(change, 0.97, axis=(1, 2, 3), keepdims=True), change, 0)
        bright = np.abs(clips - np.median(clips, axis=(2, 3), keepdims=True)) ** 2
        rows = []
        for weight in (mass + 1e-6, bright):
            total = weight.sum(axis=(2, 3))
            grid = np.arange(64)
            rows += [
                (weight.sum(axis=2) * grid).sum(-1) / total,
                (weight.sum(axis=3) * grid).sum(-1) / total,
                total,
            ]
        series = np.concatenate(rows, axis=1)
        return np.concatenate([series, np.diff(series, axis=1)], axis=1), labels

    x, y = moments("train")
    x_val, y_val = moments("val")
    accuracy = RandomForestClassifier(300, random_state=0).fit(x, y).score(x_val, y_val)
    assert accuracy > 0.35


def test_generation_is_deterministic_and_safe_for_two_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: open_manifest(TINY, tmp_path / "a"), range(2))
    other = open_manifest(TINY, tmp_path / "b")
    assert first.content_hash == second.content_hash == other.content_hash
    assert [path.name for path in (tmp_path / "a").iterdir()] == [first.directory.name]  # nothing partial is left


def test_files_are_what_the_manifest_says(demo_set: Manifest) -> None:
    video = demo_set.split("val")[7]
    frames = decode(demo_set.file(video), index_file(demo_set.file(video)), np.arange(demo.FRAMES)).frames
    assert frames.shape == (video.frames, video.height, video.width, 3)
    assert demo_set.file(video).read_bytes()[4:8] == b"ftyp"
    counts = np.bincount([v.label for v in demo_set.split("val")], minlength=demo_set.classes)
    assert counts.min() == counts.max() == 20


def test_other_configuration_is_another_data_set(tmp_path: Path) -> None:
    harder = DataConfig(demo=TINY.demo.model_copy(update={"noise": 0.2}))
    first, second = open_manifest(TINY, tmp_path), open_manifest(harder, tmp_path)
    assert first.directory != second.directory
    assert first.content_hash != second.content_hash


def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    open_manifest(TINY, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20, 20)


def test_the_folder_can_be_moved(tmp_path: Path) -> None:
    manifest = open_manifest(TINY, tmp_path)
    shutil.move(manifest.directory, tmp_path / "elsewhere")
    moved = read_manifest(tmp_path / "elsewhere")
    assert moved.content_hash == manifest.content_hash
    assert moved.file(moved.videos[0]).is_file()


def test_unknown_source_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.source: no prepared data set 'demmo'.*farlab data prepare.*'demo'"):
        open_manifest(DataConfig(source="demmo"), tmp_path)


def test_wrong_number_of_classes_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.classes: .* has 10 classes, not 8"):
        open_manifest(DataConfig(classes=8, demo=TINY.demo), tmp_path)


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    manifest = open_manifest(TINY, tmp_path)
    (manifest.directory / "manifest.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="not a data set manifest"):
        open_manifest(TINY, tmp_path)

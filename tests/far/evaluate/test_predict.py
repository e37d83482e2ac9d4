"""Merging views and scoring."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.evaluate.predict import Predictions, score
from far.store import correctness


def views(*entries: tuple[str, int, int, int, list[float]]) -> Predictions:
    made = Predictions()
    for name, label, clip, crop, logits in entries:
        made.ids.append(name)
        made.labels.append(label)
        made.clips.append(clip)
        made.crops.append(crop)
        made.logits.append(np.array(logits, dtype=np.float32))
    return made


def test_a_video_is_answered_by_the_mean_softmax_not_the_mean_logit() -> None:
    # Mean logits favour class 0 (5 against 4); mean probabilities favour class 1.
    two = views(("v", 1, 0, 0, [10.0, 0.0, 0.0]), ("v", 1, 1, 0, [0.0, 8.0, 0.0]), ("v", 1, 2, 0, [0.0, 1.0, 0.0]))
    expected = np.mean([np.exp(x) / np.exp(x).sum() for x in np.stack(two.logits).astype(float)], axis=0)
    assert score(two, 1).top1 == (100.0 if expected.argmax() == 1 else 0.0)
    assert score(two, 1).loss == pytest.approx(-np.log(expected[1]))


def test_unanswered_videos_stay_in_the_denominator() -> None:
    scores = score(views(("a", 0, 0, 0, [1.0, 0.0])), expected=4)
    assert (scores.top1, scores.evaluated, scores.expected) == (25.0, 1, 4)


def test_nothing_answered() -> None:
    scores = score(Predictions(), expected=3)
    assert (scores.top1, scores.evaluated) == (0.0, 0)


def test_a_constant_answer_never_scores() -> None:
    assert score(views(("a", 0, 0, 0, [0.0, 0.0, 0.0])), 1).top1 == 0.0


@given(
    st.lists(st.lists(st.floats(-20, 20, width=32), min_size=6, max_size=6), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_order_and_duplicates_of_views_do_not_matter(logits: list[list[float]], random: object) -> None:
    entries = [(f"v{i % 4}", i % 4, i // 4, 0, row) for i, row in enumerate(logits)]
    plain = score(views(*entries), 4)
    shuffled = [*entries, *entries[: len(entries) // 2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    mixed = score(views(*shuffled), 4)
    assert (plain.top1, plain.top5, plain.evaluated) == (mixed.top1, mixed.top5, mixed.evaluated)
    assert plain.loss == pytest.approx(mixed.loss)


def test_written_views_are_sorted_and_single(tmp_path: Path) -> None:
    made = views(("b", 1, 0, 0, [1, 2]), ("a", 0, 1, 0, [3, 4]), ("a", 0, 0, 0, [5, 6]), ("b", 1, 0, 0, [1, 2]))
    made.write(tmp_path / "predictions.parquet")
    frame = pd.read_parquet(tmp_path / "predictions.parquet")
    assert list(zip(frame["id"], frame["clip"], strict=True)) == [("a", 0), ("a", 1), ("b", 0)]
    assert list(tmp_path.iterdir()) == [tmp_path / "predictions.parquet"]


def test_the_answers_in_the_result_are_those_that_were_scored() -> None:
    two = views(("b", 0, 0, 0, [1.0, 0.0, 0.0]), ("a", 1, 0, 0, [2.0, 0.0, 0.0]), ("c", 2, 0, 0, [0.0, 0.0, 1.0]))
    scores = score(two, 4)
    assert scores.answers["videos"] == correctness.digest(["a", "b", "c"])
    assert correctness.unpack(scores.answers, "top1").tolist() == [False, True, True]
    assert correctness.unpack(scores.answers, "top5").all()
    assert json.loads(json.dumps(scores.answers)) == scores.answers


def test_pieces_change_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fits into one: videos of one, two and three views, more of each than a piece holds."""
    rng = np.random.default_rng(0)
    made = views(
        *(
            (f"v{n:02d}", n % 7, clip, 0, list(3 * rng.standard_normal(7)))
            for n in range(23)
            for clip in range(1 + n // 9)
        )
    )
    whole, frame = score(made, 30), tmp_path / "whole.parquet"
    made.write(frame)
    monkeypatch.setattr("far.evaluate.predict.PIECE", 4)
    assert score(made, 30) == whole
    assert score(made, 30).answers == whole.answers
    made.write(tmp_path / "pieces.parquet")
    assert pd.read_parquet(tmp_path / "pieces.parquet").equals(pd.read_parquet(frame))
    pieces = [made.piece(start, start + 4) for start in range(0, len(made.ids) + 4, 4)]
    again = Predictions()
    for piece in pieces:
        again.extend(piece)
    assert score(again, 30) == whole

"""The worked examples: each is one file of at most 30 lines, and conforms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from far.data.sources.layouts import read_listing
from far.errors import ConfigError
from far.plugins import load_plugin, only_within
from far.testing import conformance
from orchestrator.executors.registry import EXECUTORS
from orchestrator.tracking.base import make_tracker
from orchestrator.tracking.tracked import Sweep, TrackedTrial
from orchestrator.workspace.settings import checked_uri

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples" / "variants").glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def examples() -> Iterator[None]:
    with only_within():
        for path in EXAMPLES:
            load_plugin(path)
        yield


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 30


@pytest.mark.parametrize(
    "variant",
    [
        {"attention": {"global": 1, "three-stripe": 2}},
        {"interaction": "squeeze-excite"},
        {"classifier": "max-and-mean"},
    ],
    ids=str,
)
def test_a_part_of_the_network_conforms(variant: dict[str, Any]) -> None:
    model = conformance.section(conformance.ODD, **variant)
    conformance.check_dense_form(model)
    conformance.check_parameters_and_types(model)
    conformance.check_recomputation(model)


def test_the_layout_reads_its_folders(tmp_path: Path) -> None:
    for name in ("train/up__1.mp4", "train/down__1.mp4", "val/up__2.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    listing = read_listing("flat", tmp_path)
    assert listing.labels == ["down", "up"]
    assert {(video.id, video.split, video.label) for video in listing.videos} == {
        ("up__1", "train", 1),
        ("down__1", "train", 0),
        ("up__2", "val", 1),
    }


def test_the_executor_is_chosen_by_its_name() -> None:
    assert "core to spare" in EXECUTORS["patient"].where(None)  # type: ignore[arg-type]
    assert type(EXECUTORS["patient"].make(None, None)).__name__ == "PatientExecutor"  # type: ignore[arg-type]


def test_the_tracker_is_chosen_by_its_scheme(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "result.json").write_text(json.dumps({"metrics": {"top1": 50.0}}))
    trials = [TrackedTrial("key", "A", 0, tmp_path / "key"), TrackedTrial("other", "A", 1, tmp_path / "other")]
    uri = checked_uri(f"jsonl://{tmp_path}/lines", "tracking_uri")
    tracker = make_tracker(uri, [Sweep("s", "demo", trials, tmp_path / "state", tmp_path, {})])
    tracker.start()
    assert tracker.close(timeout=1.0)
    assert json.loads((tmp_path / "lines").read_text()) == {"row": "A", "seed": 0, "top1": 50.0}
    with pytest.raises(ConfigError, match="no address of a tracking store"):
        checked_uri("nowhere://x", "tracking_uri")

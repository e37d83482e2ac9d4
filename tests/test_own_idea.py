"""The documentation's worked example: ideas in one file, videos in class folders, two workers, a LaTeX table."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

import farlab
from far.data.sources.demo_writer import directory_of
from far.data.sources.manifest import read_manifest
from orchestrator.executors.ray.cluster import prepare_environment

prepare_environment(None)

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "own_idea"
SMALL = [
    "model.depth=1", "model.clip=[4, 32, 32]", "model.tubelet=[2, 8, 8]", "recipe.epochs=3", "recipe.batch_size=4",
    "recipe.warmup_epochs=0", "recipe.lr_reference_batch=4",
]  # fmt: skip
"""What makes a trial of the example one of half a second."""


def videos(root: Path, data: Path, tiny_config: object) -> Path:
    """Write a data set of three classes in folders: four videos of each to train on, two to validate."""
    manifest = read_manifest(directory_of(tiny_config.data.demo, data))  # type: ignore[attr-defined]
    counts: Counter[tuple[str, int]] = Counter()
    for video in manifest.videos:
        if video.label < 3 and counts[video.split, video.label] < {"train": 4, "val": 2}[video.split]:
            counts[video.split, video.label] += 1
            place = root / video.split / f"class {video.label}"
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(manifest.file(video), place)
    return root


@pytest.mark.slow  # nine trials on a Ray cluster of its own
def test_three_ideas_on_videos_of_ones_own_become_a_table(
    tmp_path: Path, tiny_data: Path, tiny_config: object, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    videos(tmp_path / "videos", tiny_data, tiny_config)
    for name in ("my_ideas.py", "my_study.yaml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    assert farlab.run(["data", "prepare", "folder", "videos", "--name", "my_videos"]) == 0
    assert "data.source=my_videos data.classes=3" in capsys.readouterr().out
    assert farlab.run(["sweep", "my_study.yaml", *SMALL]) == 0, capsys.readouterr()
    assert "9/9 trials finished" in capsys.readouterr().out
    results = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("runs/trials/*/result.json")}
    specs = {key: json.loads((tmp_path / "runs/trials" / key / "trial.json").read_text()) for key in results}
    ran = Counter(spec["attempts"][0]["pid"] for spec in specs.values())
    assert len(results) == 9 and len(ran) == 2, "two workers"
    parts = {part for spec in specs.values() for source in spec["sources"].values() for part in source["parts"]}
    ours = {"attention pattern 'three-stripe'", "token-group interaction 'squeeze-excite'", "classifier 'max-and-mean'"}
    assert ours <= parts and not any("my_ideas" in part for part in parts)
    assert sorted(len(spec["plugins"]) for spec in specs.values()) == [0] * 3 + [1] * 6
    assert farlab.run(["report", "my_study.yaml", *SMALL, "-o", "table.tex"]) == 0
    table = (tmp_path / "table.tex").read_text()
    assert all(row in table for row in ("Plain", "Stripes", r"Stripes, SE \& max")) and "missing" not in table
    shutil.move(tmp_path / "my_ideas.py", tmp_path / "elsewhere.py")  # the store has what it needs
    key = next(key for key, spec in specs.items() if spec["config"]["model"]["interaction"] == "squeeze-excite")
    assert farlab.run(["evaluate", key]) == 0
    assert f"top-1 {results[key]['metrics']['top1']:.2f} %" in capsys.readouterr().out

"""Problems that would make every trial on a data set fail, found in its manifest before training."""

from __future__ import annotations

from far.config.trial import DataConfig, TrialConfig
from far.data.sources.diagnostics import counted, one_line, some
from far.data.sources.manifest import Manifest, Video


def training_problems(manifest: Manifest, config: TrialConfig) -> list[str]:
    """Return why a trial cannot be trained or validated on a data set, a sentence each; nothing if it can.

    Args:
        manifest: the data set.
        config: the trial.
    """
    splits = {name: [video for video in manifest.videos if video.split == name] for name in ("train", "val")}
    problems = []
    for split, videos in splits.items():
        words = {"train": "training", "val": "validation"}[split]
        unlabelled = [video for video in videos if video.label < 0]
        if not videos:
            problems.append(f"it has no {words} videos")
        elif unlabelled:
            problems.append(
                f"{len(unlabelled)} of its {len(videos)} {words} videos without a label: {_names(unlabelled)}"
            )
        elif not any(video.frames for video in videos):
            problems.append(f"none of its {counted(len(videos), f'{words} video')} can be opened: {_names(videos)}")
    if splits["train"]:
        problems += _batch_problems(len(splits["train"]), config)
    return [_about(config.data, problem) for problem in problems]


def generation_problems(config: TrialConfig) -> list[str]:
    """Return the like for the demo data set, from its settings alone."""
    return [_about(config.data, problem) for problem in _batch_problems(config.data.demo.train_clips, config)]


def _batch_problems(videos: int, config: TrialConfig) -> list[str]:
    batch = config.recipe.batch_size
    if videos >= batch:
        return []
    return [f"a batch of {batch} (recipe.batch_size) is larger than its {counted(videos, 'training video')}"]


def _about(data: DataConfig, problem: str) -> str:
    return f"the data set '{one_line(data.source)}' cannot be trained on: {problem}"


def _names(videos: list[Video]) -> str:
    return some((one_line(video.id) for video in videos), shown=3)

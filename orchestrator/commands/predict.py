"""``farlab predict``: what a trained network sees in new videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from far.data.sources.diagnostics import counted
from far.errors import ConfigError
from orchestrator.cli.answers import FORMATS, chosen_format, written
from orchestrator.cli.datasets import progress_bar
from orchestrator.cli.inputs import COMMAND_LINE, mode, modes
from orchestrator.cli.options import TrustOption
from orchestrator.cli.trained import (
    DataOption,
    ViewsOption,
    check_code,
    data_of,
    parse_views,
)
from orchestrator.cli.trials import TrialArgument, find_trial
from orchestrator.cli.videos import find_videos
from orchestrator.workspace.plugins import load_trial_plugins
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from far.trained.classifier import Answers, Classifier
    from orchestrator.workspace.workspace import Workspace

PREDICT_INPUTS = ("checkpoint", "views", "top", "format_", "output", "trust")
MOST_NAMED = 20
"""Videos that could not be read and are named; the rest is counted."""


@modes(
    mode("with --split, which takes the videos of a data set", (*PREDICT_INPUTS, "split", "data"), when="split"),
    mode("without --split", (*PREDICT_INPUTS, "videos")),
)
def predict(
    checkpoint: TrialArgument,
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VIDEO...]", help="Video files, folders of them, or patterns such as 'clips/*.mp4'.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="The test, val or train videos of a data set instead, labelled or not.", show_default=False),
    ] = None,
    data: DataOption = None,
    views: ViewsOption = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Likeliest classes a video.")] = 1,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}; default: by -o, else term.", show_default=False),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.")] = None,
    trust: TrustOption = False,
) -> int:  # fmt: skip
    """Say what a trained network sees in new videos: names of classes and their probabilities.

    Examples:
        farlab predict head_ratio/1:1/0 holiday.mp4 clips/ -k 5
        farlab predict 30c4 --split test --views 2x3 -f answers -o test.csv
    """
    chosen = chosen_format(format_, output, top)
    workspace, clips_crops = open_workspace(), parse_views(views)
    if split is None and not videos:
        raise ConfigError("no video is named: VIDEO... or --split test", where=COMMAND_LINE)
    files = find_videos(videos or ())
    directory = find_trial(checkpoint, workspace.store).directory
    load_trial_plugins(directory)

    from far.trained.network import trial_config

    manifest = None if split is None else data_of(trial_config(directory), data, split, workspace)
    from far.trained.classifier import Classifier

    classifier = Classifier.load(directory, data_root=workspace.settings.data_root)
    with progress_bar("classifying views") as progress:
        if manifest is None or split is None:
            answers = classifier.classify(files, views=clips_crops, progress=progress)
        else:
            answers = classifier.classify_split(manifest, split, views=clips_crops, progress=progress)
    _say_notes(classifier, answers, directory, workspace)
    written(answers, top, chosen, output)
    return 3 if answers.unreadable else 0


def _say_notes(classifier: Classifier, answers: Answers, directory: Path, workspace: Workspace) -> None:
    check_code(directory, classifier.trained, workspace)
    if not classifier.knows_names:
        print(
            "note: nothing here knows the names of the classes: the trial is of an earlier version, and the data set "
            "that it was trained on is not here",
            file=sys.stderr,
        )
    for name, why in [*answers.unreadable.items()][:MOST_NAMED]:
        print(f"unreadable: {name}: {why}", file=sys.stderr)
    if answers.unreadable:
        every = len(answers) + len(answers.unreadable)
        print(f"{len(answers.unreadable)} of {counted(every, 'video')} could not be read", file=sys.stderr)

"""One trial from Python: trained, looked at, and its network asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config.identity import identity, trial_key
from far.distributed import Launched
from far.errors import ConfigError
from far.evaluate.frame_order import ORDERS
from far.store.paths import TrialPaths
from far.store.records import read_epochs, read_result, read_spec
from far.text import rounded
from farlab.arguments import Overrides, assignments, console, load_plugins, shown_progress
from orchestrator.cli.trained import check_labels, data_of
from orchestrator.cli.trials import find_trial
from orchestrator.cli.videos import find_videos
from orchestrator.executors.signals import handlers_restored
from orchestrator.one_trial import describe, train_described
from orchestrator.plan.changed_code import verdict_of
from orchestrator.store.store import Store
from orchestrator.workspace.plugins import load_trial_plugins
from orchestrator.workspace.trust import trusting
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    import pandas as pd

    from far.config import TrialConfig
    from far.evaluate.predict import Evaluation
    from far.model.interface import VideoNetwork
    from far.store.records import Result
    from far.trained.classifier import Answers, Classifier
    from far.trained.gradcam import Explanation
    from orchestrator.workspace.workspace import Workspace


@dataclass(frozen=True)
class Trial:
    """A trial of a store. What needs its network loads it when it is used for the first time.

    Attributes:
        directory: its folder.
        workspace: where it was looked up.
    """

    directory: Path
    workspace: Workspace

    def __repr__(self) -> str:
        top1 = self.metrics.get("top1")
        return f"Trial({self.key}: {self.state}{'' if top1 is None else f', top-1 {rounded(top1, 2)} %'})"

    @property
    def key(self) -> str:
        """Its key."""
        return self.directory.name

    @property
    def state(self) -> str:
        """Where it stands: ``finished``, ``running``, ``failed``, …"""
        return Store(self.directory.parent.parent).state(self.key)

    @property
    def result(self) -> Result:
        """What it came to, as in ``result.json``; empty if it has no result yet."""
        return read_result(TrialPaths(self.directory)) or {}

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """``top1`` and ``top5`` in percent, ``loss`` in nats; empty if it has no result yet."""
        return self.result.get("metrics") or {}

    @cached_property
    def config(self) -> TrialConfig:
        """Its resolved configuration.

        Raises:
            WeightsError: the folder is not a trial's.
        """
        from far.trained.network import trial_config

        return trial_config(self.directory)

    def epochs(self) -> pd.DataFrame:
        """Return a line an epoch that is done, counted from 0, as ``metrics.jsonl`` has it."""
        import pandas as pd

        return pd.DataFrame(read_epochs(TrialPaths(self.directory)))

    def as_dict(self) -> dict[str, Any]:
        """Return what is being run: identity, configuration, starts, code; what ``trial.json`` says."""
        return dict(read_spec(TrialPaths(self.directory)))

    @property
    def changed_code(self) -> str:
        """What of the code that decides its numbers has changed since, in words; empty if nothing is known to have."""
        return verdict_of(self.directory, self.config, self.workspace.store).text

    # -- its network --

    @cached_property
    def classifier(self) -> Classifier:
        """Its network with the names of the classes, as the last checkpoint has it.

        Raises:
            WeightsError: there is no complete checkpoint.
            DamagedError: the checkpoint cannot be loaded.
        """
        from far.trained.classifier import Classifier

        return Classifier.load(self.directory, data_root=self.workspace.settings.data_root)

    @property
    def model(self) -> VideoNetwork:
        """Its network in evaluation mode: normalised clips (B, 3, T, H, W) to logits (B, classes)."""
        return self.classifier.trained.model

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, in the order of the answers."""
        return self.classifier.classes

    def classify(
        self,
        videos: str | Path | Sequence[str | Path] = (),
        *,
        split: str | None = None,
        data: str | None = None,
        views: tuple[int, int] | None = None,
        progress: bool = False,
    ) -> Answers:
        """Say what is to be seen in videos; one that cannot be read stands in the answers' ``unreadable``.

        Args:
            videos: files, folders of them, or patterns.
            split: ``test``, ``val`` or ``train`` videos of a data set instead, labelled or not.
            data: a prepared data set instead of the trial's own.
            views: temporal clips and spatial crops; default: the trial's own.
            progress: show a bar on standard error.

        Raises:
            ConfigError: no video is named, or a name stands for none; there is no such data set or split.
        """
        named = [str(each) for each in ([videos] if isinstance(videos, str | Path) else videos or ())]
        if bool(named) == (split is not None) or (data is not None and split is None):
            raise ConfigError("name either videos, or a split and if you like its data set")
        with shown_progress("classifying views", shown=progress) as show:
            if split is None:
                return self.classifier.classify(find_videos(named), views=views, progress=show)
            manifest = data_of(self.config, data, split, self.workspace)
            return self.classifier.classify_split(manifest, split, views=views, progress=show)

    def evaluate(
        self,
        split: str = "val",
        *,
        views: tuple[int, int] | None = None,
        order: str = "natural",
        data: str | None = None,
        progress: bool = False,
    ) -> Evaluation:
        """Test the network on the labelled videos of a split.

        Args:
            split: ``val``, ``test`` or ``train``.
            views: temporal clips and spatial crops; default: the trial's own.
            order: of frames: ``natural``, ``reversed`` or ``shuffled``.
            data: a prepared data set instead of the trial's own.
            progress: show a bar on standard error.

        Raises:
            ConfigError: there is no such split, order or data set, or its classes are others.
            DataError: a video has no label.
        """
        from far.trained.network import evaluate_trained

        arrange = ORDERS[order]
        manifest = data_of(self.config, data, split, self.workspace)
        trained = self.classifier.trained
        check_labels(manifest, self.directory, trained, self.workspace)
        root = self.workspace.settings.data_root
        with shown_progress("evaluating views", shown=progress) as show:
            return evaluate_trained(
                trained, data_root=root, manifest=manifest, split=split, views=views, arrange=arrange, progress=show
            )[1]

    def grad_cam(self, video: str | Path, target: int | None = None) -> Explanation:
        """Return where the network looks for a class in the middle view of a video: ``heat`` (T, H, W) in [0, 1].

        Args:
            video: a file.
            target: the class's number; default: the one it answers.

        Raises:
            DataError: the video cannot be read.
        """
        from far.trained.gradcam import explain, load_clip

        return explain(self.classifier.trained, load_clip(Path(video), self.config), target)


def load_trial(trial: str | Path, *, trust: bool = False) -> Trial:
    """Return a trial of the workspace's store, or of any folder; the plug-ins that it ran are loaded.

    Args:
        trial: its key or how that begins, its folder, or ``ROW/SEED`` or ``STUDY/ROW/SEED``.
        trust: load the plug-ins of a trial that others could have written.

    Raises:
        ConfigError: there is none such, it may be several, or its plug-ins cannot be loaded.
    """
    workspace = open_workspace()
    directory = find_trial(str(trial), workspace.store).directory
    with trusting(trust):
        load_trial_plugins(directory)
    return Trial(directory, workspace)


def run_trial(
    config: str | Path = "demo",
    *,
    overrides: Overrides | None = None,
    seed: int = 0,
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    progress: bool = True,
) -> Trial:
    """Train one trial in this process, without Ray; the same call again goes on with it, or finds it finished.

    Args:
        config: a profile's name or file, or the ``trial.json`` of a trial to repeat, which has its own seed.
        overrides: settings, as ``{"recipe.epochs": 3}``.
        seed: of initialisation, order and augmentation.
        plugins: files or modules to be loaded first; they stay loaded.
        trust: load plug-ins that others could have written.
        progress: print a line an epoch.

    Raises:
        ConfigError: it is invalid, or cannot be trained on the data that are here.
        KeyboardInterrupt: it was interrupted; it has a checkpoint, and the same call goes on.
        FarError: what the trial ended by; its result says the same.
    """
    load_plugins(plugins)
    with trusting(trust):
        described = describe(str(config), assignments(overrides), seed)
    workspace, screen = open_workspace(), console(shown=progress)
    with handlers_restored():
        train_described(described, workspace, Launched(), screen.print)
    whole = identity(
        described.config,
        data_hash=workspace.data_hash(described.config.data),
        weights_hash=workspace.weights_hash(described.config.init),
    )
    return Trial(workspace.store.paths(trial_key(whole)).directory, workspace)

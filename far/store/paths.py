"""Where the files of a trial lie.

The order of writing is the protocol: ``trial.json`` first, metrics and checkpoints on the way, ``result.json``
last. A trial is finished when its ``result.json`` parses and says so; any other goes on from its checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrialPaths:
    """Every path of one trial; nothing else spells a file name of the store."""

    directory: Path

    @property
    def key(self) -> str:
        """The trial's key."""
        return self.directory.name

    @property
    def trial(self) -> Path:
        """What is being run: identity, resolved configuration, profile, MLflow run id, attempts."""
        return self.directory / "trial.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per line, appended as training goes on."""
        return self.directory / "metrics.jsonl"

    @property
    def predictions(self) -> Path:
        """Scores of every evaluated video."""
        return self.directory / "predictions.parquet"

    @property
    def classes(self) -> Path:
        """Names of the classes, in the order of the network's answers."""
        return self.directory / "classes.json"

    @property
    def checkpoints(self) -> Path:
        """DeepSpeed checkpoints."""
        return self.directory / "checkpoints"

    @property
    def result(self) -> Path:
        """Written last; its presence is what "done" means."""
        return self.directory / "result.json"

    @property
    def plugins(self) -> Path:
        """The plug-ins that it runs, each in a folder named by its digest."""
        return self.directory / "plugins"

    @property
    def earlier(self) -> Path:
        """What the trial had come to before it was run again: folders like its own, numbered from 1."""
        return self.directory / "earlier"

    @property
    def progress(self) -> Path:
        """Where the trial is within its epoch, replaced about once per second while it runs."""
        return self.directory / "progress.json"

    @property
    def cancel(self) -> Path:
        """Its presence asks whoever runs the trial to stop within about a second; a new submission removes it."""
        return self.directory / "cancel"

    @property
    def log(self) -> Path:
        """Everything the trial's processes print."""
        return self.directory / "log.txt"

    @property
    def lock(self) -> Path:
        """Held by whoever writes into the directory."""
        return self.directory / "writer.lock"

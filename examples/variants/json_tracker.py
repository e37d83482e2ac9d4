"""A tracker: ``--tracking-uri jsonl:///tmp/results.jsonl`` gets a line per finished trial."""

import json
from pathlib import Path

from far.store.paths import TrialPaths
from orchestrator.tracking.base import TRACKERS


@TRACKERS.register("jsonl")
class JsonTracker:
    problem, reason, troubles = None, "", ()

    def __init__(self, uri, sweeps, rebuild):
        self.path, self.sweeps = Path(uri.partition("://")[2]), sweeps

    def start(self):
        """Everything is written in the end."""

    def add(self, study, trial):
        next(sweep for sweep in self.sweeps if sweep.study == study).trials.append(trial)

    def close(self, **limits):
        results = [(t, TrialPaths(t.directory).result) for sweep in self.sweeps for t in sweep.trials]
        lines = [
            {"row": t.row, "seed": t.seed, **json.loads(r.read_text())["metrics"]} for t, r in results if r.exists()
        ]
        self.path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return True

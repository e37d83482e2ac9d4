"""Entries on every axis of the orchestrator and of reports, and on two of training."""

from pathlib import Path

from far.architecture.backbones import BACKBONES, Backbone
from far.data.sources.layouts import LAYOUTS
from far.evaluate.metrics import METRICS, Metric
from orchestrator.executors.local import LocalExecutor
from orchestrator.executors.registry import EXECUTORS, Local
from orchestrator.tracking.base import TRACKERS
from reports.figures import FIGURES, Drawing, FigureSpec
from reports.renderers import RENDERERS

BACKBONES.register("mini")(Backbone(width=48, depth=1, heads=4))
METRICS.register("right")(Metric(lambda p, labels, expected: float((p.argmax(1) == labels).sum())))


class Own(Local):
    builder = f"{__name__}:OwnExecutor"


class OwnExecutor(LocalExecutor):
    def run(self, queue, stop):
        Path("executed").touch()
        super().run(queue, stop)


EXECUTORS.register("own")(Own())


@TRACKERS.register("lines")
class Lines:
    problem, reason, troubles = None, "", ()

    def __init__(self, uri, sweeps, rebuild):
        self.sweeps = sweeps

    def start(self):
        """Nothing."""

    def add(self, study, trial):
        """Nothing."""

    def close(self, **limits):
        Path("tracked").write_text(str(sum(len(sweep.trials) for sweep in self.sweeps)))
        return True


@RENDERERS.register("count")
def count(tables):
    return f"{len(tables)} tables\n"


def draw(results, options):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0, 0, f"{len(results.rows)} rows")
    return Drawing(figure, "Rows", "How many rows there are", "a number")


FIGURES.register("rows")(FigureSpec(draw, "How many rows"))


@LAYOUTS.register("own")
def read(root, diagnostics):
    raise OSError(5, "read by the plug-in")

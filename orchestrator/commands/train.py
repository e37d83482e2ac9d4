"""``farlab train``: one trial here, without Ray."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from ruamel.yaml import YAML

from far.architecture.networks import NETWORKS
from far.distributed import Launched
from far.plugins import load_plugin
from far.text import rounded
from far.train.schedule import Schedule
from orchestrator.cli.console import make_console
from orchestrator.cli.inputs import refuse_given
from orchestrator.cli.options import PluginOption, TrustOption, refuse_same_key
from orchestrator.cli.quiet import talk
from orchestrator.one_trial import Described, describe, train_described
from orchestrator.plan.starts import start_of
from orchestrator.store.record import is_record
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from far.config import TrialConfig


MOST_SEED = 2**32 - 1
"""What every library's generator takes."""


def train(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="A profile's name or file, or the trial.json of a trial to repeat."),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE...]")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Seed of initialisation, order and augmentation.")
    ] = 0,
    plugin: PluginOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show configuration, rates and steps; train nothing.")
    ] = False,
    trust: TrustOption = False,
) -> int:
    """Train one trial here; under torchrun, in all its processes. The same command again resumes it.

    Examples:
        farlab train demo recipe.epochs=2
        farlab train demo --seed 3 --dry-run
        farlab train runs/trials/30c4ed757f75eb80/trial.json
    """
    refuse_same_key(overrides or [])
    for path in plugin or ():
        load_plugin(path)
    if is_record(config):
        refuse_given("seed", because="the trial's record has its seed")
    described = describe(config, overrides or [], seed)
    return _show(described.config, described.notes) if dry_run else _train(described)


def _train(described: Described) -> int:
    launched = Launched()

    def say(text: str) -> None:
        if launched.rank == 0:
            talk(text)

    result = _line(train_described(described, open_workspace(), launched, say))
    if launched.rank == 0:
        print(result, flush=True)
    return 0


def _line(result: Mapping[str, Any]) -> str:
    metrics = result["metrics"]
    return (
        f"top-1 {rounded(metrics['top1'], 2)} %, top-5 {rounded(metrics['top5'], 2)} %, "
        f"evaluated {result['evaluated']} of {result['expected']} videos"
    )


def _show(config: TrialConfig, notes: tuple[str, ...] = ()) -> int:
    """Print the resolved configuration, the rate of each parameter group, and the steps.

    Returns:
        The exit code: 2 if training would fail on the data that are here.
    """
    from far.train.parameter_groups import parameter_groups

    workspace = open_workspace()
    start = start_of(config, workspace)
    problems = workspace.data_problems(config)
    YAML().dump(config.model_dump(mode="json"), sys.stdout)
    console = make_console()
    counts = workspace.video_counts(config.data)
    steps = counts[0] // config.recipe.batch_size if counts else None
    schedule = Schedule.of(config.recipe, steps or 1)
    model = config.model.model_copy(update={"position_embedding": start.positions}) if start else config.model
    net = NETWORKS[model.network].build(model, config.data.classes, seed=None)
    table = Table("parameters", "tensors", "weight decay", "peak learning rate", title_justify="left")
    for group in parameter_groups(net, model, config.recipe):
        rate = f"{schedule.peak * group['lr_scale']:.3g}"
        table.add_row(group["name"], str(len(group["params"])), str(group["weight_decay"]), rate)
    console.print(table)
    if config.init.weights is not None:
        print(f"initial weights {config.init.weights}: {start or 'not here'}")
    length = "steps unknown: the data are not here"
    if steps is not None:
        length = f"{steps} steps per epoch, {schedule.total_steps if steps else 0} in all"
    console.print(f"{length}; warm-up {config.recipe.warmup_epochs:g} epochs to {schedule.peak:.3g}")
    for note in notes:
        console.print(f"note: {note}", markup=False)
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    return 2 if problems else 0

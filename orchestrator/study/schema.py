"""What a study file may say, strictly; the settings in it are checked by ``far.config``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from far.config.trial import Positive, Strict
from far.errors import ConfigError
from far.evaluate.metrics import METRICS
from far.strict import named_in
from orchestrator.study.factorial import MOST_COMPONENTS, MOST_ROWS, fewest_rows
from orchestrator.study.paper import result_tables
from orchestrator.study.quoted import QuotedRows, RowName
from orchestrator.study.search_methods import PRUNERS, SAMPLERS

Settings = dict[str, Any]
"""Settings of a trial, nested or dotted; checked against ``TrialConfig`` when a row is resolved."""

LONGEST_NAME = 100
PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


def name_problem(value: str) -> str:
    """Return why something cannot be the name of a study, empty if it can."""
    if len(value) > LONGEST_NAME:
        return f"a name of {len(value)} characters, and at most {LONGEST_NAME} fit"
    if re.match(PATTERN, value):
        return ""
    slug = re.sub(r"^[_.-]+|[_.-]+$", "", re.sub(r"[^A-Za-z0-9_.-]+", "-", value))
    return f"'{value}': a name begins with a letter or a digit and holds letters, digits, '_', '.' and '-' alone" + (
        f", e.g. {slug}" if slug else ""
    )


def _name(value: str) -> str:
    if problem := name_problem(value):
        raise ValueError(problem)
    return value


def _fraction(value: str) -> str:
    if not re.match(FRACTION, value):
        raise ValueError(f"'{value}': a fraction is 1/2, 1/4, 1/8 or another power of 2")
    return value


Name = Annotated[str, Field(max_length=LONGEST_NAME, json_schema_extra={"pattern": PATTERN}), AfterValidator(_name)]
Seed = Annotated[int, Field(ge=0)]
Axis = Annotated[list[Any], Field(min_length=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Margin = Annotated[float, Field(gt=0, le=100)]
"""Percentage points of accuracy."""
FACTORIAL = "factorial"
FRACTION = r"^1/(2|4|8|16|32|64|128|256)$"


AUTO = "auto"
"""Of ``resources.gpus``: shared as measured memory allows."""
MOST_SEEDS = 10_000
"""A number beyond this is a seed where the number of seeds was asked for."""


class Component(Strict):
    """One part of the full model that can be taken away."""

    without: Annotated[Settings, Field(min_length=1)]
    """Settings that switch the component off."""
    full: Settings = Field(default={})
    """Settings that switch it on, where the study's base does not."""


class AblateConfig(Strict):
    """Ablation over named components, in the order in which they are listed."""

    components: Annotated[dict[str, Component], Field(min_length=1)]
    modes: Annotated[list[Literal["leave-one-out", "add-one-in", "cumulative", "factorial"]], Field(min_length=1)] = (
        Field(default=["leave-one-out"])
    )
    fraction: Annotated[str, Field(json_schema_extra={"pattern": FRACTION}), AfterValidator(_fraction)] | None = None
    """Of the factorial's 2^k rows, e.g. ``1/2``: a regular fraction, balanced in all components."""

    @property
    def is_factorial(self) -> bool:
        """Whether its rows cross the components, so that interactions can be estimated."""
        return FACTORIAL in self.modes

    @property
    def divisor(self) -> int:
        """The number by which the factorial's 2^k rows are divided."""
        return int(self.fraction.removeprefix("1/")) if self.fraction else 1

    @model_validator(mode="after")
    def _affordable(self) -> AblateConfig:
        number = len(self.components)
        if self.fraction is not None and not self.is_factorial:
            raise ConfigError("has no effect: it is a fraction of a factorial's rows", key="ablate.fraction")
        if not self.is_factorial:
            return self
        if self.fraction is None and number > MOST_COMPONENTS:
            raise ConfigError(
                f"a factorial over {number} components has {2**number} rows, and at most {MOST_ROWS} are crossed in "
                f"full: state a fraction, e.g. fraction: 1/{2 ** (number - MOST_COMPONENTS)}",
                key="ablate.modes",
            )
        fewest = fewest_rows(number)
        possible = [f"1/{2**p}" for p in range(1, number + 1) if fewest <= 2 ** (number - p) <= MOST_ROWS]
        if self.fraction is not None and self.fraction not in possible:
            rows = 2**number // self.divisor
            raise ConfigError(
                f"leaves {rows} row{'s' if rows != 1 else ''} for {number} components, where "
                + (f"{fewest} to {MOST_ROWS} can be balanced" if possible else "all are needed: leave it out"),
                key="ablate.fraction",
                choices=possible,
                got=self.fraction,
            )
        return self


class ResourcesConfig(Strict):
    """What one trial takes; left out, the configuration's ``run.devices`` and ``run.cpus`` decide."""

    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] | None = None
    """A whole number, a part of one GPU (0: none), or ``auto``: the part that the row's measured memory needs."""
    cpus: PositiveFloat | None = None
    concurrent: Positive | None = None
    """Largest number of trials at once."""

    @field_validator("gpus")
    @classmethod
    def _whole_or_part(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float) and value > 1 and value != int(value):
            raise ConfigError(
                f"{value} GPUs: more than one GPU must be a whole number",
                key="resources.gpus",
                choices=[int(value), int(value) + 1],
            )
        return value

    @property
    def gpu_number(self) -> float | None:
        """GPUs of a trial as a number; None if the configuration decides, which it does until ``auto`` is resolved."""
        return None if isinstance(self.gpus, str) else self.gpus


class RetryConfig(Strict):
    """What happens to a trial that did not end well (never to a configuration error, nor to divergence)."""

    lost: Annotated[int, Field(ge=0)] = 3
    """Times a trial is started again from its last checkpoint after its worker or node was lost."""
    out_of_memory: Annotated[int, Field(ge=0)] = 4
    """Times the micro-batch is halved and the accumulation doubled."""
    wait_seconds: Annotated[float, Field(ge=0)] = 2.0
    """Before the first retry; doubled each time."""


class BudgetConfig(Strict):
    """Where a sweep stops starting trials (exit code 4)."""

    gpu_hours: PositiveFloat | None = None
    hours: PositiveFloat | None = None
    """Wall clock."""
    trials: Positive | None = None


MEASURED = ("flops", "params", "seconds", "steps", "epochs", "peak_memory_bytes")
"""What a result has a number for in addition to the registered metrics, by which each epoch is validated."""


def _one_of(*names: Iterable[str]) -> Any:
    """Describe the names of registries in the schema for editors."""
    return Field(json_schema_extra=lambda described: described.update(enum=[each for kind in names for each in kind]))


class Objective(Strict):
    """A quantity of a finished trial and its good direction: by default more accuracy, less of anything else."""

    metric: Annotated[str, Field(json_schema_extra=lambda described: described.update(enum=[*METRICS, *MEASURED]))] = (
        "top1"
    )
    direction: Literal["maximize", "minimize"] = "maximize"

    @model_validator(mode="before")
    @classmethod
    def _usual_direction(cls, values: Any) -> Any:
        name = values.get("metric", "top1") if isinstance(values, dict) else None
        if isinstance(name, str) and "direction" not in values:
            larger = name in METRICS and METRICS[name].larger_is_better
            return {**values, "direction": "maximize" if larger else "minimize"}
        return values

    @field_validator("metric")
    @classmethod
    def _metric(cls, value: str) -> str:
        if value not in METRICS and value not in MEASURED:
            raise PydanticCustomError("literal_error", "unknown metric", {"choices": [*METRICS, *MEASURED]})
        return value


class Parameter(Strict):
    """Values that a search may try for one setting: ``choices``, ``each_block``, or ``low`` and ``high``."""

    choices: Axis | None = None
    each_block: Axis | None = None
    """Chosen independently for every block, e.g. head layouts for ``model.attention``."""
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: PositiveFloat | None = None
    integer: bool = False

    @field_validator("choices", "each_block")
    @classmethod
    def _distinct(cls, values: list[Any] | None) -> list[Any] | None:
        names = plain_names(values or [])
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"{json.dumps(name)} is listed twice")
            if isinstance(name, float) and not math.isfinite(name):
                raise ValueError(f"{name} is no finite number")
        return values

    @field_validator("low", "high", "step")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError(f"a range needs finite numbers, not {value}")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Parameter:
        is_range = self.low is not None or self.high is not None
        if (self.choices is not None) + (self.each_block is not None) + is_range != 1:
            raise ValueError("give exactly one of: choices; each_block; low and high")
        if not is_range:
            if self.log or self.step is not None or self.integer:
                raise ValueError("log, step and integer belong to a range")
            return self
        if self.low is None or self.high is None or self.low >= self.high:
            raise ValueError(f"a range needs low < high, not {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range needs low > 0")
        if self.log and self.step is not None:
            raise ValueError("a range is logarithmic or stepped, not both")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"a step of {self.step:g} is longer than the range of {self.high - self.low:g}")
        if self.integer and any(value % 1 for value in (self.low, self.high, self.step or 1)):
            raise ValueError("a range of whole numbers needs a low, a high and a step that are whole numbers")
        return self


def plain_names(values: list[Any]) -> list[str | int | float | bool]:
    """Return what Optuna's storage, which takes plain values only, calls these values: others go by their JSON."""
    return [
        value if isinstance(value, str | int | float | bool) else json.dumps(value, default=str) for value in values
    ]


class SearchConfig(Strict):
    """Search, in addition to the ablation, by Optuna through Ray Tune."""

    space: Annotated[dict[str, Parameter], Field(min_length=1)]
    trials: Positive = 20
    sampler: Annotated[str, named_in(SAMPLERS), _one_of(SAMPLERS)] = "tpe"
    pruner: Annotated[str, named_in(PRUNERS), _one_of(PRUNERS)] = "none"
    objectives: Annotated[list[Objective], Field(min_length=1)] = Field(default=[Objective()])
    seed: Seed = 0

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped early."""
        return PRUNERS[self.pruner].make is not None

    @model_validator(mode="after")
    def _possible(self) -> SearchConfig:
        names = [objective.metric for objective in self.objectives]
        if len(set(names)) < len(names):
            raise ConfigError(f"an objective is listed twice: {', '.join(names)}", key="search.objectives")
        if self.prunes and len(names) > 1:
            raise ConfigError("pruning needs a single objective: use pruner: none", key="search.pruner")
        if self.prunes and names[0] not in METRICS:
            raise ConfigError(
                f"a pruner needs a value of each epoch, which '{names[0]}' has not: use pruner: none",
                key="search.objectives",
                choices=METRICS,
                got=names[0],
            )
        return self


class StudyFile(Strict):
    """A study: one table of the paper, or a question of one's own."""

    study: Name
    title: str = ""
    description: str = ""
    table: Annotated[int, Field(json_schema_extra={"enum": result_tables()})] | None = None
    """The paper's table that this study reproduces; its numbers are then printed alongside."""
    row_header: str = "Row"
    plugins: list[str] = Field(default=[], examples=[["my_ideas.py"]])
    """Files, folders and installed modules that register variants of one's own; paths are relative to this file."""
    profile: Name | None = None
    """The scale to run at unless the command line says otherwise."""
    base: Settings = Field(default={})
    rows: dict[RowName, Settings | None] = Field(default={}, examples=[{"A": {"recipe.lr": 0.001}, "B": {}}])
    ablate: AblateConfig | None = None
    grid: dict[str, Axis] = Field(default={}, examples=[{"recipe.lr": [0.001, 0.002]}])
    """Every combination."""
    zip: dict[str, Axis] | list[dict[str, Axis]] = Field(
        default={}, examples=[{"recipe.lr": [0.001, 0.002], "recipe.epochs": [20, 10]}]
    )
    """Coupled settings, taken in step; a list of such groups is combined."""
    include: dict[RowName, Settings] = Field(default={}, examples=[{"A": {"recipe.lr": 0.001}}])
    """Rows added after grid and zip."""
    exclude: list[Annotated[Settings, Field(min_length=1)]] = Field(default=[])
    """Combinations left out: those in which every named setting has the given value (``row: NAME`` too)."""
    scales: dict[Name, dict[str, Annotated[Settings, Field(min_length=1)]]] = Field(default={})
    """By profile and row, what a row has at this scale, under what it sets itself; ``profile: NAME`` stands for all of
    another profile's settings. The study then runs at these profiles only."""
    baseline: str | None = None
    """The row that the others are compared with; default: the first."""
    compare: Annotated[list[list[RowName]], Field(min_length=1)] | None = Field(default=None, examples=[[["A", "B"]]])
    """Pairs of rows to compare in addition to those with the baseline: the first against the second."""
    equal_within: Margin | None = None
    """Percentage points within which two rows count as equal; default: the profile's."""
    placebo: bool = False
    """Add a row that is the baseline with other seeds: no difference may be found."""
    control: Annotated[Settings, Field(min_length=1)] | None = None
    """Add a row that is the baseline with these settings and must do worse."""
    quoted: QuotedRows = Field(default={})
    """Rows of other works, shown next to one's own: no trials."""
    seeds: Positive | Annotated[list[Seed], Field(min_length=1)] = Field(default=2, examples=[3, [0, 1, 4]])
    """A number n for 0 … n-1, or a list."""
    resources: ResourcesConfig = ResourcesConfig()
    retry: RetryConfig = RetryConfig()
    budget: BudgetConfig = BudgetConfig()
    search: SearchConfig | None = None

    @field_validator("table")
    @classmethod
    def _in_paper(cls, value: int | None) -> int | None:
        if value is not None and value not in result_tables():
            raise ConfigError(
                f"the paper has no table {value} of results", key="table", choices=result_tables(), got=value
            )
        return value

    @field_validator("compare")
    @classmethod
    def _in_pairs(cls, value: list[list[str]] | None) -> list[list[str]] | None:
        for index, names in enumerate(value or ()):
            if len(names) != 2:
                raise ConfigError(f"compares two rows, and here are {len(names)}", key=f"compare.{index}")
        return value

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: int | list[int]) -> int | list[int]:
        if isinstance(value, list) and len(set(value)) != len(value):
            raise ConfigError("a seed is listed twice", key="seeds")
        if isinstance(value, int) and value > MOST_SEEDS:
            raise ConfigError(
                f"{value} seeds are more than {MOST_SEEDS}; to name one seed, write [{value}]", key="seeds"
            )
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> StudyFile:
        if not (self.rows or self.ablate or self.grid or self.zip or self.include or self.search):
            raise ConfigError(
                "the study varies nothing",
                key="rows",
                choices=["rows", "ablate", "grid", "zip", "include", "search"],
            )
        return self

    @model_validator(mode="after")
    def _has_what_to_check(self) -> StudyFile:
        """Refuse what needs rows where the study only searches, and a factorial that something multiplies."""
        if not (self.rows or self.ablate or self.grid or self.zip or self.include):
            for key in ("compare", "placebo", "control", "quoted"):
                if getattr(self, key):
                    raise ConfigError(
                        "needs rows to stand beside: this study only searches",
                        key=key,
                        choices=["rows", "ablate", "grid", "zip", "include"],
                    )
        if self.ablate is not None and self.ablate.is_factorial:
            for key in ("grid", "zip"):
                if getattr(self, key):
                    raise ConfigError(
                        "would multiply a factorial's rows: make it a component, or another study", key=key
                    )
        return self

    @property
    def seed_list(self) -> list[int]:
        """The seeds themselves."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

"""The cost columns: exact counts of what a configuration builds, beside the paper's digits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from far.architecture.costs import flops, parameters
from far.config.trial import ModelConfig, TrialConfig
from orchestrator.study import Study, load_study
from orchestrator.study.names import pair_names
from orchestrator.study.paper import paper_facts
from reports.paper import paper_table, printed_table
from reports.paper.studies import shipped_study

GIGA, MEGA = 1e9, 1e6

PAPER_SCALE = (
    "model.backbone=small",
    "model.clip=[16, 224, 224]",
    "model.tubelet=[2, 16, 16]",
    "model.mlp_ratio=4.0",
    "data.classes=174",
)
"""What Tables 2-6 were counted on, laid over the shipped studies and profile (paper, Sections 4.1 to 4.3)."""

PLAIN: dict[str, Any] = {"attention": {"global": 1}, "interaction": "none", "classifier": "global-mean"}
OURS: Mapping[str, Mapping[str, Any]] = {
    f"{method} ViT-{size[0].upper()}": {"backbone": size, "position_embedding": positions, **model}
    for model, methods in (
        (PLAIN, {"VideoMAE": "sinusoid-1d", "MVD": "sincos-3d"}),
        ({}, {"FAR (VideoMAE)": "sinusoid-1d", "FAR (MVD)": "sincos-3d"}),
    )
    for method, positions in methods.items()
    for size in ("small", "base")
}
"""The rows of Tables 7 and 8 that the paper measured itself."""

FLOPS_NOTE = (
    "FLOPs: multiply-accumulates of one view in fvcore's convention (attention's products count, LayerNorm "
    "5 per element, softmax and activations nothing)."
)
OTHER_SCALE_NOTE = "The paper's numbers are those of its own models (Tables 2-6: ViT-S, 16 x 224 x 224, 174 classes)"
TRUNCATED_NOTE = "Global: 56.9502 G rounds to 57.0; the paper's 56.9 cuts the digits off (Tables 7 and 8 print 57)."
PARAMS_NOTE = (
    "Parameters: counted on each row's own model and classes. The paper's 22.0 / 23.4 / 25.9 appear when the "
    "group-mean's classifier (2 x width to classes) is counted in every row, also where the row has the global "
    "mean; counted as built they are 21.9 / 23.3 / 25.8 in Table 3, and 23.3 / 23.4 in Table 4."
)


@dataclass(frozen=True)
class CostRow:
    """One model: exact counts, and what the paper prints for it (in G and M)."""

    row: str
    flops: int
    params: int
    paper: Mapping[str, float | None] = field(default_factory=dict)

    def agrees(self, metric: str) -> bool | None:
        """Whether the count prints the paper's digits; None where the paper prints none."""
        printed = self.paper.get(metric)
        if printed is None:
            return None
        count = self.flops / GIGA if metric == "flops" else self.params / MEGA
        return f"{count:.{decimals(printed)}f}" == f"{printed:.{decimals(printed)}f}"


@dataclass(frozen=True)
class CostTable:
    """The cost columns of one table, study or profile."""

    title: str
    rows: tuple[CostRow, ...]
    table: int | None = None
    comparable: bool = True
    """Whether the counts are at the paper's scale."""
    reason: str = ""
    """Why they are not."""

    @property
    def notes(self) -> list[str]:
        """Footnotes that the rows call for."""
        found = [FLOPS_NOTE]
        if not self.comparable and any(row.paper for row in self.rows):
            return [*found, f"{OTHER_SCALE_NOTE}, {self.reason or 'not of this profile'}."]
        if any(row.agrees("flops") is False and row.row == "Global" for row in self.rows):
            found.append(TRUNCATED_NOTE)
        if any(row.agrees("params") is False for row in self.rows):
            found.append(PARAMS_NOTE)
        return found

    def as_json(self) -> dict[str, Any]:
        """Return ``{"table", "title", "rows": [{"row", "flops", "params", "paper"}], "notes"}``."""
        rows = [
            {"row": row.row, "flops": row.flops, "params": row.params, "paper": dict(row.paper)} for row in self.rows
        ]
        return {"table": self.table, "title": self.title, "rows": rows, "notes": self.notes}


def decimals(printed: float) -> int:
    """Return the number of decimals with which the paper printed a number."""
    return 0 if float(printed).is_integer() and isinstance(printed, int) else 1


def cost_of_table(number: int) -> CostTable:
    """Return the cost columns of one of the paper's tables, at the paper's own scale.

    Raises:
        ConfigError: the paper has no such table of results.
    """
    paper = paper_table(number)
    facts = paper_facts()[number]
    if facts.data_set:
        models = {name: ModelConfig.model_validate(values) for name, values in OURS.items()}
        rows = _rows(((name, model, facts.classes) for name, model in models.items()), number)
        return CostTable(f"Table {number}: {paper.title}", rows, number)
    study = load_study(shipped_study(number), profile="demo", overrides=PAPER_SCALE)
    return CostTable(f"Table {number}: {paper.title}", _rows(_models(study), number), number)


def cost_of_study(study: Study) -> CostTable:
    """Return the cost columns of a study's rows, at the study's own scale."""
    with_ = f" with {' '.join(study.overrides)}" if study.overrides else ""
    title = f"{study.title} (profile {study.profile.name}{with_})"
    rows = _rows(_models(study), study.table)
    other = _of_other_models(rows, study.table)
    reason = f"not of this profile{with_} (other models: {', '.join(other)})" if other else ""
    return CostTable(title, rows, study.table, not other, reason)


def _of_other_models(rows: Iterable[CostRow], table: int | None) -> list[str]:
    """Return the rows that the paper has too, but whose model counts otherwise in its setting."""
    own = {row.row: row for row in rows}
    theirs = {row.row: row for row in cost_of_table(table).rows} if table and any(r.paper for r in rows) else {}
    pairs = [(own[name], theirs[printed]) for name, printed in pair_names(own, theirs).items()]
    return [own.row for own, paper in pairs if (own.flops, own.params) != (paper.flops, paper.params)]


def _models(study: Study) -> Iterable[tuple[str, ModelConfig, int]]:
    checks = (study.placebo, study.control)  # of no table
    return ((row.name, row.config.model, row.config.data.classes) for row in study.rows if row.name not in checks)


def cost_of_trial(name: str, config: TrialConfig) -> CostTable:
    """Return the costs of one configuration, e.g. that of a profile."""
    return CostTable(f"Profile {name}", _rows([(name, config.model, config.data.classes)], None))


def _rows(models: Iterable[tuple[str, ModelConfig, int]], table: int | None) -> tuple[CostRow, ...]:
    models, paper = list(models), printed_table(table)
    about = paper.rows_of([name for name, _, _ in models]) if paper else {}
    rows = []
    for name, model, classes in models:
        printed = about.get(name)
        numbers = {m: n for m, n in printed.numbers.items() if m in ("flops", "params")} if printed else {}
        rows.append(CostRow(name, flops(model, classes), parameters(model, classes), numbers))
    return tuple(rows)

"""A factorial's main effects and interactions as a table of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.comparison import compare_rows
from reports.results.results import Results
from reports.results.state import State
from reports.tables.differences import withheld_text
from reports.tables.footnotes import scale_warning
from reports.tables.model import Cell, Column, Note, Origin, Row, Table

if TYPE_CHECKING:
    from reports.analysis.looks import Standing
    from reports.statistics.contrasts import Effect

TIMES = " × "


def build_effects(results: Results) -> Table:
    """Lay out the effects of a study whose rows cross components.

    Args:
        results: as collected; rows that are no part of the design are only looked at for their variances.
    """
    comparison = compare_rows(results)
    standing = comparison.standing if comparison is not None else None
    effects, problems = _effects(results, standing)
    return Table(
        key=f"{results.study}-effects",
        caption=f"Effects of the components of {results.study}",
        columns=(
            Column("row", "Effect", Origin.LABEL),
            Column("effect_top1", "points of Top-1"),
            Column("p", "p"),
            Column("p_holm", "p (Holm)"),
        ),
        rows=tuple(_rows(effects, standing)),
        profile=results.profile,
        study=results.study,
        warning=scale_warning(results),
        notes=tuple(Note(text) for text in [*_notes(results, effects, standing), *problems]),
    )


def _effects(results: Results, standing: Standing | None) -> tuple[list[Effect], list[str]]:
    from reports.analysis.correctness import row_outcomes
    from reports.statistics import seed_variances
    from reports.statistics.contrasts import factorial_effects

    outcomes, problems = row_outcomes(results)
    if standing is None or any(not outcomes[name].correct for name in results.present):
        return [], problems
    rows = {row.name: outcomes[row.name] for row in results.rows if row.finished and row.name != results.placebo}
    found = factorial_effects(
        rows, results.present, results.components, level=standing.level, spread=seed_variances(rows)
    )
    return found, problems


def _rows(effects: list[Effect], standing: Standing | None) -> list[Row]:
    from reports.statistics import holm, stars

    claimed = [effect for effect in effects if effect.p is not None and standing is not None and not standing.withheld]
    adjusted = dict(zip([e.components for e in claimed], holm([e.p or 0.0 for e in claimed]), strict=True))
    rows = []
    for effect in effects:
        name, p = TIMES.join(effect.components), adjusted.get(effect.components)
        shown = p is not None
        cells = {
            "row": Cell(name),
            "effect_top1": Cell(
                effect.mean,
                signed=True,
                interval=effect.interval if shown else None,
                values=tuple(effect.per_seed.values()),
                stars=stars(p) if p is not None else "",
            ),
            "p": Cell(_p(effect.p) if shown else None),
            "p_holm": Cell(_p(p) if shown else None),
        }
        data = {
            "row": name,
            "components": list(effect.components),
            "mean": effect.mean,
            "se": effect.se,
            "df": effect.df,
            "interval": list(effect.interval) if shown and effect.interval else None,
            "p": effect.p if shown else None,
            "p_holm": p,
            "per_seed": {str(seed): value for seed, value in effect.per_seed.items()},
            "aliases": [list(alias) for alias in effect.aliases],
        }
        rows.append(Row(name, cells, State.FINISHED, data=data))
    return rows


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _notes(results: Results, effects: list[Effect], standing: Standing | None) -> list[str]:
    if not effects:
        lacking = [name for name in results.present if not results.row(name).finished]
        return [f"Nothing to tell yet: {len(lacking)} of {len(results.present)} rows have not finished."]
    notes = [
        "One component: the mean of the rows with it minus the mean of those without. Two: by how many points the "
        "effect of either is larger where the other is there. Over all settings of the others."
    ]
    assert standing is not None
    if standing.withheld:
        notes.append(withheld_text(standing))
    else:
        notes.append(
            f"Intervals at this look's level ({standing.level:g}); stars: p < 0.05, 0.01, 0.001 by Holm over the "
            "effects."
        )
    for effect in effects:
        if effect.aliases:
            others = ", ".join(TIMES.join(alias) for alias in effect.aliases)
            notes.append(f"This fraction does not tell {TIMES.join(effect.components)} from {others}.")
    return notes

"""``farlab power``: how many seeds a difference takes, and which of the paper's differences could be resolved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from far.errors import ConfigError
from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import JsonOption, ProfileOption, ResultTargets, SeedsOption
from reports.analysis.comparison import compare_rows
from reports.selection import Selection, say_notes

if TYPE_CHECKING:
    from reports.results.results import Results
    from reports.statistics import Design


ONE_ONLY = "answered by one row only"
GRID_SEEDS = (2, 3, 5, 10, 20)
GRID_VIDEOS = (400, 2_000, 10_000, 24_777)
MOST = 1_000_000_000
"""Of videos and of rows."""
WITHOUT_END = 10**12
"""So many seeds that the videos alone are what is left of a difference's variance."""


@modes(
    mode("with --paper", ("seed_sd", "disagreement", "paper", "json_"), when="paper"),
    mode(
        "where the variances are measured",
        ("targets", "difference", "videos", "goal", "table", "study", "profile", "seeds", "json_"),
        when=("targets", "table", "study"),
    ),
    mode(
        "without a study",
        ("difference", "videos", "rows", "seed_sd", "disagreement", "goal", "json_"),
    ),
)
def power(
    targets: ResultTargets = None,
    difference: Annotated[
        float, typer.Option("--difference", "-d", help="Difference to detect, in points of accuracy.")
    ] = 0.4,
    videos: Annotated[
        int | None,
        typer.Option(min=2, max=MOST, help="Videos in the validation set; default: SSv2's 24,777, or the study's."),
    ] = None,
    rows: Annotated[
        int,
        typer.Option(min=2, max=MOST, help="Rows of the study, all of which contribute to the variance over seeds."),
    ] = 5,
    seed_sd: Annotated[
        float, typer.Option(min=0, max=100, help="Standard deviation over seeds of one row, in points (assumed).")
    ] = 0.15,
    disagreement: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="Videos that exactly one of two rows answers correctly, in percent (assumed)."
        ),
    ] = 10.0,
    goal: Annotated[float, typer.Option(min=0.06, max=0.999, help="Probability of detecting it (power).")] = 0.8,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", "-t", help="Estimate the variances from this table's trials.", show_default=False),
    ] = None,
    study: Annotated[
        list[str] | None,
        typer.Option("--study", help="Estimate the variances from this study's trials.", show_default=False),
    ] = None,
    profile: ProfileOption = None,
    seeds: SeedsOption = None,
    paper: Annotated[bool, typer.Option("--paper", help="The paper's own differences, two seeds each.")] = False,
    json_: JsonOption = False,
) -> None:
    """Say how many seeds it takes to see a difference between two rows (paired by video and seed).

    Examples:
        farlab power
        farlab power head_ratio --difference 0.5
        farlab power --paper
    """
    if not 0 < abs(difference) <= 100:
        text = "a difference of 0 cannot be seen" if difference == 0 else "accuracies differ by 100 points at most"
        raise ConfigError(text, key="--difference", where="command line")
    if paper:
        typer.echo(published(seed_sd, disagreement, json_))
        return
    if table or study or targets:
        results = Selection(table, study, targets, profile, seeds).read()
        for each in results:
            say_notes(each)
        found = measured(results, videos)
    else:
        from reports.statistics.power import Design, assumed

        design = Design(assumed(seed_sd, disagreement), videos or GRID_VIDEOS[-1], rows)
        said = f"assumed: {seed_sd} points between seeds of a row, {disagreement:g} % of videos {ONE_ONLY}"
        found = Basis(design, design, rows - 1, said)
    typer.echo(answer(difference, found, goal, json_))


@dataclass(frozen=True)
class Basis:
    """What the answer rests on.

    Attributes:
        low, high: the design at the least and the most variance between seeds that there may be.
        comparisons: in the table.
        said: where the variances come from.
    """

    low: Design
    high: Design
    comparisons: int
    said: str

    def needed(self, difference: float, goal: float) -> tuple[int | None, int | None]:
        """Seeds for one comparison at the least variance, and for each of a table's at the most."""
        from reports.statistics import seeds_needed

        return seeds_needed(difference, self.low, goal=goal), seeds_needed(difference, self.together, goal=goal)

    @property
    def together(self) -> Design:
        """Each of the table's comparisons, at the most variance."""
        return replace(self.high, level=self.high.level / max(self.comparisons, 1))

    def said_of_seeds(self, difference: float, goal: float) -> str:
        """Say how many seeds it takes."""
        least, most = self.needed(difference, goal)
        if least is None:
            return _out_of_reach(difference, self.low, goal)
        if most is None:
            return f"{least} seeds per row or more; by Holm {_out_of_reach(difference, self.together, goal)}"
        return f"{least}–{most} seeds per row" if most > least else f"{least} seeds per row"


def measured(studies: Sequence[Results], videos: int | None) -> Basis:
    """Return the mean variances of the studies' differences, as far as their seeds tell, and where they come from.

    Args:
        studies: whose rows are compared.
        videos: in the validation set; None: those of the studies.

    Raises:
        ConfigError: no row has two seeds in common with the one that it is compared with.
    """
    from reports.statistics import Components
    from reports.statistics.power import Design, seed_variance_range

    found, rows = [], 2
    for results in studies:
        comparison = compare_rows(results, claim=False)
        if comparison:
            found += [d for d in comparison.differences.values() if d.components is not None]
            rows = max(rows, comparison.rows)
    if not found:
        raise ConfigError(
            "no row has two finished seeds in common with the one it is compared with; run the study first"
        )
    parts = [d.components for d in found if d.components is not None]
    mean = Components(
        *(sum(getattr(part, name) for part in parts) / len(parts) for name in ("seed", "video", "noise"))
    ).for_planning()
    disagreement = sum(100 * (d.gained + d.lost) / d.videos for d in found) / len(found)
    least = min(d.seeds for d in found)
    said = (
        f"measured on {len(found)} differences of {least} seeds and {found[0].videos} videos: "
        f"{100 * mean.seed**0.5:.2f} points between seeds of a difference, {disagreement:.1f} % of videos {ONE_ONLY}; "
        "the range is that of the variance between seeds, as far as these tell it"
    )
    low, high = seed_variance_range(Design(mean, found[0].videos, rows), least)
    count = videos or found[0].videos
    return Basis(replace(low, videos=count), replace(high, videos=count), len(found), said)


def answer(difference: float, basis: Basis, goal: float, as_json: bool) -> str:
    """Return the number of seeds, and power by seeds and videos around it."""
    from reports.statistics import detectable
    from reports.statistics import power as power_of

    design = basis.high
    videos = design.videos
    curve = {
        v: {n: power_of(difference, replace(design, videos=v), n) for n in GRID_SEEDS}
        for v in sorted({*GRID_VIDEOS, videos})
    }
    limits = {n: detectable(design, n, goal=goal) for n in GRID_SEEDS}
    smallest = {n: value if value <= 100 else None for n, value in limits.items()}  # no accuracies differ by more
    if as_json:
        found = {
            "difference": difference,
            "videos": videos,
            "rows": design.rows,
            "goal": goal,
            "seeds_needed": list(basis.needed(difference, goal)),
            "detectable": smallest,
            "power": curve,
            "basis": basis.said,
        }
        return json.dumps(found, indent=2)
    said = basis.said_of_seeds(difference, goal)
    lines = [
        f"To see {difference:g} points with {100 * goal:g} % power on {videos:,} videos: {said}.",
        f"(The least: one comparison, planned; the most: each of {basis.comparisons} by Holm. {design.rows} rows, "
        "all of which tell how much seeds vary.)",
        f"({basis.said})",
        "",
        "power     seeds" + "".join(f"{n:>7}" for n in GRID_SEEDS),
    ]
    lines += [f"{v:>8,} videos" + "".join(f"{100 * p:>6.0f}%" for p in row.values()) for v, row in curve.items()]
    seen = "".join("   none" if value is None else f"{value:>7.2f}" for value in smallest.values())
    return "\n".join([*lines, f"smallest seen  {seen}  points, {videos:,} videos, one comparison"])


def _out_of_reach(difference: float, design: Design, goal: float) -> str:
    from reports.statistics import power as power_of
    from reports.statistics.power import MOST_SEEDS

    if power_of(difference, design, WITHOUT_END) >= goal:
        return f"more than {MOST_SEEDS:,} seeds per row"
    return "no number of seeds is enough: the videos are too few"


def published(seed_sd: float, disagreement: float, as_json: bool) -> str:
    """Return which of the paper's differences its design could resolve."""
    from reports.statistics.published import SEEDS, claims

    found = claims(seed_sd, disagreement)
    if as_json:
        return json.dumps([{**asdict(claim), "resolvable": claim.resolvable} for claim in found], indent=2)
    lines = [
        f"The paper's top-1 differences, {SEEDS} seeds each; assumed: {seed_sd:g} points between seeds of a row and "
        f"{disagreement:g} % of videos",
        "answered by one row only. Resolvable: the design finds a difference of this size with 80 % power.",
        "",
        f"{'table':<6}{'row against':<56}{'Δ':>6}  {'power':>6}  {'resolvable':<11}{'seeds needed':>12}",
    ]
    for c in found:
        names = f"{c.row} against {c.reference}"
        needed = "> 1000" if c.seeds_needed is None else str(c.seeds_needed)  # exact: of what is assumed
        verdict = "yes" if c.resolvable else "no, rounding" if c.within_rounding else "no"
        lines.append(f"{c.table:<6}{names:<56}{c.difference:>+6.1f}  {100 * c.power:>5.0f}%  {verdict:<13}{needed:>10}")
    yes = sum(c.resolvable for c in found)
    limits = sorted(c.detectable for c in found)
    lines += ["", f"{yes} of {len(found)} could be resolved; two seeds find {limits[0]:.1f}–{limits[-1]:.1f} points or "
              "more, one comparison at a time, by the rows of the table."]  # fmt: skip
    return "\n".join(lines)

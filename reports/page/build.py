"""One page with everything: tables, figures, statistics, costs, environment, provenance. Self-contained HTML."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import FarError
from far.pictures import save_picture
from far.store.paths import TrialPaths
from orchestrator.study.as_typed import here, study_word
from orchestrator.study.profiles import packaged_studies
from orchestrator.workspace.find import find_workspace
from reports.figures import FIGURES as SPECS
from reports.figures import drawn
from reports.figures.order import measured
from reports.figures.style import DATES, styled
from reports.page.summary import compared, cost_text, distinct, has_run, seeds_needed, states_but_finished, summarise
from reports.page.trials import RowSettings, row_settings, trial_lines
from reports.renderers.templates import LINE_MAY_END, as_html, fill
from reports.results.results import Results
from reports.shown import can_be_opened_elsewhere, command, without_places
from reports.tables.model import Row, Table, folded
from reports.text import MINUS, number
from reports.verification.record import sealed

if TYPE_CHECKING:
    from reports.figures import Options

FIGURES = ("pareto", "classes", "curves")
"""Figures of every study; ``order`` joins them once its evaluations have been made (``farlab figure order``)."""
MOST_CLASSES = 12
"""Classes in the page's figure, so that it is no taller than its neighbour."""


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page.

    Attributes:
        title: of the figure.
        caption: how to read it.
        alt: what it shows, in words.
        data: the SVG as base64; empty with the reason in ``problem``.
        place: ``half`` or ``wide``, or ``alone`` for a half without a neighbour.
        problem: why it could not be drawn.
    """

    title: str
    caption: str = ""
    alt: str = ""
    data: str = ""
    place: str = "half"
    problem: str = ""


@dataclass(frozen=True)
class Section:
    """A table with the figures and statistics of its study, and what the page's end says of its trials."""

    table: Table
    results: Results | None = None
    drawn: Sequence[Picture] = ()
    tests: Sequence[Mapping[str, str]] = ()
    spent: Sequence[Mapping[str, str]] = ()
    trials: Sequence[Mapping[str, str]] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses of the trials' runs by key, where other machines may open them."""
    settings: RowSettings | None = None
    command: str = ""

    @property
    def place(self) -> dict[str, str]:
        """Where the study and the trials lie, as the command line names them."""
        found: dict[str, str] = {}
        if self.results and self.results.path:
            found["Study"] = study_word(self.results.path)
        if self.results and self.results.store:
            found["store"] = here(self.results.store)
        return found

    @property
    def pictures(self) -> list[Picture]:
        """The figures that could be drawn, placed such that the page has no holes."""
        found = [each for each in self.drawn if not each.problem]
        halves = [each for each in found if each.place == "half"]
        if len(halves) % 2:
            found[found.index(halves[-1])] = replace(halves[-1], place="alone")
        return sorted(found, key=lambda each: each.place == "wide")

    @property
    def problems(self) -> list[Picture]:
        """The figures that could not be drawn."""
        return [each for each in self.drawn if each.problem]


def build_page(
    tables: Sequence[Table],
    results: Sequence[Results],
    options: Options,
    *,
    refresh: int | None = None,
    live: str = "",
    pictures: Pictures | None = None,
) -> str:
    """Return the page.

    Args:
        tables: as laid out.
        results: of the studies behind them.
        options: where data and weights lie.
        refresh: seconds after which a browser loads the page again, while it is being rewritten.
        live: version of the page, of one that a server refreshes.
        pictures: figures drawn before.
    """
    pictures = pictures or Pictures()
    left = {(found.study, found.profile): found for found in results}
    sections = [section(table, left.pop((table.study, table.profile), None), options, pictures) for table in tables]
    studies = [each for each in sections if each.results]
    trials = distinct(results).values()
    # What holds for all studies is said once, at the top.
    warnings = {table.warning for table in tables if table.source is not None or table.warning}
    profiles = {found.profile for found in results}
    common = len(warnings) == len(profiles) == 1
    page = fill(
        "page.html.jinja",
        title="FARLab report",
        sections=sections,
        summaries=[summarise(each.table, each.results) for each in studies if each.results],
        further=[each.table for each in sections if not each.results],
        records=studies,
        said_above=common,
        warning=warnings.pop() if common else "",
        profile=profiles.pop() if common else "",
        finished=sum(map(has_run, trials)),
        trials=len(trials),
        set_aside=states_but_finished(trials, run=True),
        others=states_but_finished(trials, run=False),
        cost=cost_text(trials),
        environments=environments(results),
        refresh=refresh,
        live=live,
    )
    return sealed(without_places(page, _places(results, options), LINE_MAY_END), "html", tables)


def _places(results: Sequence[Results], options: Options) -> list[tuple[str, str]]:
    """Return the folders of this machine that a page may come from, and what a reader sees instead."""
    own = (Path.cwd(), find_workspace(Path.cwd()).folder, packaged_studies().parent)
    others = [Path.home(), *(found.store for found in results if found.store), options.data_root, options.weights_root]
    roots = [(folder, "") for folder in own]
    roots += [
        (folder.absolute(), "~" if folder == Path.home() else folder.name)
        for folder in others
        if not any(folder.absolute().is_relative_to(each) for each in own)
    ]
    both = [(form, word) for root, word in roots for form in (root, root.resolve())]
    return [(as_html(str(root)), word) for root, word in both]


def section(table: Table, results: Results | None, options: Options, drawn_before: Pictures) -> Section:
    """Return everything about one table."""
    if results is None:
        return Section(table)
    names = [*(FIGURES if results.finished else ()), *(["order"] if _order_known(results) else [])]
    pictures = [drawn_before.picture(name, results, options) for name in names]
    links = {t.key: t.link for t in results.finished if t.link and can_be_opened_elsewhere(t.link)}
    return Section(
        folded(table),
        results,
        pictures,
        tests(table),
        spent(results),
        trial_lines(results),
        links,
        row_settings(results),
        command(results),
    )


class Pictures:
    """Figures of a page, drawn again only where their trials have changed since."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[str, str, str], tuple[object, Picture]] = {}

    def picture(self, name: str, results: Results, options: Options) -> Picture:
        """Return a figure of a study."""
        place = (name, results.study, results.profile)
        trials = [trial for row in results.rows for trial in row.planned]
        state: list[object] = [(t.row, t.seed, t.key, t.state, t.result.get("finished_at")) for t in trials]
        if name == "curves":  # which has what still runs
            files = [TrialPaths(t.directory).metrics for t in trials if t.directory is not None]
            state += [file.stat().st_size if file.exists() else 0 for file in files]
        if self._drawn.get(place, (None,))[0] != state:
            self._drawn[place] = (state, picture(name, results, options))
        return self._drawn[place][1]


def picture(name: str, results: Results, options: Options) -> Picture:
    """Draw one figure for the page; what cannot be drawn says why instead."""
    spec, buffer = SPECS[name], io.BytesIO()
    try:
        with styled():
            drawing = drawn(name, results, replace(options, most_classes=MOST_CLASSES))
            save_picture(drawing.figure, buffer, format="svg", metadata=DATES["svg"], transparent=True)
    except FarError as error:
        return Picture(spec.title, problem=str(error))
    except Exception as error:  # matplotlib's own errors are of any type, and a page is more than one figure
        return Picture(spec.title, problem=f"could not be drawn ({type(error).__name__}: {error})")
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(spec.title, drawing.caption, drawing.alt, data, "wide" if spec.wide else "half")


def _order_known(results: Results) -> bool:
    return bool(results.finished) and all(measured(trial) is not None for trial in results.finished)


def tests(table: Table) -> list[dict[str, str]]:
    """Return the comparisons of a table, a line each, as text; columns that say nothing are left out."""
    lines = [_test(row, delta) for row, delta in compared(table)]
    said = {name for line in lines for name, text in line.items() if text != "–"}
    return [{name: text for name, text in line.items() if name in said} for line in lines]


def _test(row: Row, delta: Mapping[str, Any]) -> dict[str, str]:
    return {
        "row": row.name,
        "against": delta["baseline"],
        "Δ top-1": f"{number(delta['mean'], 2, signed=True)}{_interval(delta['interval'])}",
        "p": _p(delta["p"]),
        "p, Holm": _p(delta["p_holm"]),
        "p, equal": _p(delta["p_equal_holm"]),
        "verdict": " ".join(filter(None, (delta["verdict"] or delta["why_no_verdict"], delta["direction"]))),
        "seeds": str(delta["seeds"]),
        "McNemar p by seed": ", ".join(_p(p, 2) for p in delta["mcnemar_p"].values()),
        "gained / lost": f"{number(delta['gained'], 0)} / {number(delta['lost'], 0)}",
        "for 80 % power": seeds_needed(delta) or "–",
    }


def _interval(interval: Sequence[float] | None) -> str:
    return f" [{', '.join(number(end, 2, signed=True) for end in interval)}]" if interval else ""


def _p(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}g}".replace("-", MINUS)


def spent(results: Results) -> list[dict[str, str]]:
    """Return what each row's finished trials took."""
    lines = []
    for row in results.rows:
        seconds = [float(t.result["seconds"]) for t in row.finished if t.result.get("seconds")]
        memory = [int(t.result["peak_memory_bytes"]) for t in row.finished if t.result.get("peak_memory_bytes")]
        devices = {str((t.result.get("env") or {}).get("device", "")) for t in row.finished} - {""}
        if seconds:
            lines.append(
                {
                    "row": row.name,
                    "trials": str(len(seconds)),
                    "minutes per trial": number(sum(seconds) / len(seconds) / 60, 1),
                    "in all": cost_text(row.finished),
                    "peak memory (GiB)": number(max(memory) / 2**30, 1) if memory else "–",
                    "device": ", ".join(sorted(devices)) or "–",
                }
            )
    return lines


def environments(results: Sequence[Results]) -> list[dict[str, str]]:
    """Return the distinct environments and code versions that trials ran in, with how many did."""
    counts: Counter[tuple[tuple[str, str], ...]] = Counter()
    for trial in {t.key: t for found in results for t in found.finished}.values():
        code, env = trial.result.get("code") or {}, trial.result.get("env") or {}
        facts = {f"code {name}": value for name, value in code.items()} | dict(env)
        facts["data"] = trial.result.get("data_hash")
        counts[tuple((str(k), str(v)) for k, v in facts.items() if v is not None)] += 1
    return [{"trials": str(count), **dict(facts)} for facts, count in counts.most_common()]

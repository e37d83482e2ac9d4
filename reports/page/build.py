"""One page with everything: tables, figures, statistics, costs, environment, provenance. Self-contained HTML."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import FarError
from far.pictures import save_picture
from orchestrator.study.profiles import packaged_studies
from orchestrator.workspace.find import find_workspace
from reports.figures import FIGURES as SPECS
from reports.figures import drawn
from reports.figures.order import FILE
from reports.figures.style import styled
from reports.page.trials import RowSettings, row_settings, trial_lines
from reports.renderers.templates import as_html, fill
from reports.results.results import Results, count_trials
from reports.results.state import State
from reports.shown import can_be_opened_elsewhere, command, here, study_word, without_places
from reports.tables.model import Row, Table, folded
from reports.text import number
from reports.verification.record import sealed

if TYPE_CHECKING:
    from reports.figures import Options

FIGURES = ("pareto", "curves", "classes")
"""Figures of every study; ``order`` joins them once its evaluations have been made (``farlab figure order``)."""


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page; ``data`` is base64 PNG, or empty with the reason in ``problem``."""

    title: str
    data: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Section:
    """Everything about one table."""

    table: Table
    results: Results | None = None
    pictures: Sequence[Picture] = ()
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


def build_page(
    tables: Sequence[Table], results: Sequence[Results], options: Options, *, refresh: int | None = None
) -> str:
    """Return the page.

    Args:
        tables: as laid out.
        results: of the studies behind them.
        options: where data and weights lie.
        refresh: seconds after which a browser loads the page again, while it is being rewritten.
    """
    by_study = {(found.study, found.profile): found for found in results}
    sections = [section(table, by_study.get((table.study, table.profile)), options) for table in tables]
    total = count_trials(results)
    page = fill(
        "page.html.jinja",
        title="FARLab report",
        sections=sections,
        total={state.value: count for state, count in total.items()},
        finished=total[State.FINISHED],
        trials=total.total(),
        profiles=sorted({found.profile for found in results}),
        environments=environments(results),
        refresh=refresh,
    )
    return sealed(without_places(page, _places(results, options)), "html", tables)


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


def section(table: Table, results: Results | None, options: Options) -> Section:
    """Return everything about one table."""
    if results is None:
        return Section(table)
    pictures = [picture(name, results, options) for name in FIGURES if results.finished]
    if _order_known(results):
        pictures.append(picture("order", results, options))
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


def picture(name: str, results: Results, options: Options) -> Picture:
    """Draw one figure for the page; what cannot be drawn says why instead."""
    from matplotlib import pyplot

    spec, buffer = SPECS[name], io.BytesIO()
    try:
        with styled():
            figure = drawn(name, results, options)
            save_picture(figure, buffer, format="png", dpi=160)
    except FarError as error:
        return Picture(spec.title, problem=str(error))
    except Exception as error:  # matplotlib's own errors are of any type, and a page is more than one figure
        return Picture(spec.title, problem=f"could not be drawn ({type(error).__name__}: {error})")
    finally:
        pyplot.close("all")
    return Picture(spec.title, base64.b64encode(buffer.getvalue()).decode())


def _order_known(results: Results) -> bool:
    return bool(results.finished) and all(t.directory and (t.directory / FILE).is_file() for t in results.finished)


def tests(table: Table) -> list[dict[str, str]]:
    """Return the comparisons of a table, a line each, as text."""
    lines = []
    for row in table.rows:
        deltas: Any = row.data.get("delta")
        delta = deltas.get("top1") if deltas else None
        pairs: Any = row.data.get("pairs") or ()
        lines += [_test(row, found) for found in (delta, *pairs) if found]
    return lines


def _test(row: Row, delta: Mapping[str, Any]) -> dict[str, str]:
    return {
        "row": row.name,
        "against": delta["baseline"],
        "Δ top-1": number(delta["mean"], 2, signed=True),
        "95 % interval": _interval(delta["interval"]),
        "p": _p(delta["p"]),
        "p, Holm": _p(delta["p_holm"]),
        "p, equal": _p(delta["p_equal_holm"]),
        "verdict": " ".join(filter(None, (delta["verdict"] or delta["why_no_verdict"], delta["direction"]))),
        "seeds": str(delta["seeds"]),
        "McNemar p by seed": ", ".join(f"{p:.2g}" for p in delta["mcnemar_p"].values()),
        "gained / lost videos per seed": f"{delta['gained']:.0f} / {delta['lost']:.0f}",
        "seeds for 80 % power": _range(delta["seeds_needed"]),
    }


def _interval(interval: Sequence[float] | None) -> str:
    return f"[{', '.join(number(end, 2, signed=True) for end in interval)}]" if interval else "–"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _range(seeds: Sequence[int | None] | None) -> str:
    if seeds is None:
        return "–"
    least, most = seeds
    return "out of reach" if least is None else f"{least} or more" if most is None else f"{least}–{most}"


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
                    "minutes a trial": f"{sum(seconds) / len(seconds) / 60:.1f}",
                    "hours in all": f"{sum(seconds) / 3600:.2f}",
                    "peak memory (GiB)": f"{max(memory) / 2**30:.1f}" if memory else "–",
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

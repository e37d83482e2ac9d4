"""Results from Python: a study's trials as data frames, as tables that render themselves, as figures."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import ConfigError
from farlab import frames
from farlab.arguments import Overrides, Seeds, Studies, assignments, load_plugins, seed_text, texts
from orchestrator.workspace.settings import load_settings
from orchestrator.workspace.trust import trusting
from reports.figures import FIGURES, NUMBERS, Options, drawn
from reports.figures import names as figure_names
from reports.figures.explain import draw as draw_explanations
from reports.figures.style import styled
from reports.output import write
from reports.renderers import RENDERERS, SUFFIXES
from reports.renderers.templates import fill
from reports.results.changed_code import code_notes
from reports.selection import Selection
from reports.tables.model import folded
from reports.tables.provenance import trace
from reports.tables.registry import build_all, build_tables
from reports.verification.record import sealed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from reports.figures import Drawing
    from reports.results.results import Results
    from reports.tables.model import Table as LaidOut


@dataclass(frozen=True)
class Table:
    """A table, which Jupyter shows as such. Its documents carry the record that ``farlab verify`` checks.

    Attributes:
        laid_out: the table as typed cells, which know their state, seeds and trials.
    """

    laid_out: LaidOut

    def to_latex(self) -> str:
        """Return LaTeX to be put into a paper with ``\\input``."""
        return self.render("latex")

    def to_markdown(self) -> str:
        """Return Markdown as GitHub shows it."""
        return self.render("md")

    def to_html(self) -> str:
        """Return a whole page."""
        return self.render("html")

    def to_csv(self) -> str:
        """Return tidy CSV: a line a row and quantity."""
        return self.render("csv")

    def to_json(self) -> str:
        """Return JSON, with unrounded numbers and the keys of trials."""
        return self.render("json")

    def render(self, format_: str) -> str:
        """Return the table in any registered format.

        Raises:
            ConfigError: there is no such format.
        """
        return Tables([self]).render(format_)

    def save(self, path: Path | str) -> None:
        """Write the table in the format that the file's ending says; see ``Tables.save``."""
        Tables([self]).save(path)

    def to_frame(self, *, numbers: bool = False) -> pd.DataFrame:
        """Return a line a row and a column a column.

        Args:
            numbers: unrounded numbers without deviations and marks, by the columns' keys (``top1``, …), instead of what
                people read.
        """
        import pandas as pd

        table = self.laid_out
        label, *columns = table.columns
        lines = [
            {
                (column.key if numbers else column.title): (cell.value if numbers else cell.text)
                for column in columns
                for cell in [table.cell(row, column)]
            }
            for row in table.rows
        ]
        return pd.DataFrame(lines, index=pd.Index([row.name for row in table.rows], name=label.title))

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return RENDERERS["term"]([self.laid_out])

    def _repr_html_(self) -> str:
        return fill("table.html.jinja", table=folded(self.laid_out))

    def _repr_markdown_(self) -> str:
        return RENDERERS["md"]([self.laid_out])


class Tables(Sequence[Table]):
    """Several tables of one document.

    Args:
        tables: in order.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tuple(tables)

    def render(self, format_: str) -> str:
        """Return the tables as one document in any registered format.

        Raises:
            ConfigError: there is no such format.
        """
        if format_ not in RENDERERS:
            raise ConfigError(f"unknown format '{format_}'", choices=RENDERERS, got=format_)
        laid_out = [table.laid_out for table in self._tables]
        return sealed(RENDERERS[format_](laid_out), format_, laid_out)

    def to_latex(self) -> str:
        """Return LaTeX to be put into a paper with ``\\input``."""
        return self.render("latex")

    def save(self, path: Path | str, format_: str | None = None) -> None:
        """Write the tables in one document.

        Args:
            path: the file; its ending says the format.
            format_: the format, whatever the ending is.

        Raises:
            ConfigError: no format has this ending, or the file cannot be written.
        """
        target = Path(path)
        chosen = format_ or SUFFIXES.get(target.suffix.lower())
        if chosen is None:
            raise ConfigError("no format has this ending", where=str(target), choices=SUFFIXES, got=target.suffix)
        write(self.render(chosen), target)

    def __len__(self) -> int:
        return len(self._tables)

    def __getitem__(self, index: Any) -> Any:
        return Tables(self._tables[index]) if isinstance(index, slice) else self._tables[index]

    def __iter__(self) -> Iterator[Table]:
        return iter(self._tables)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return self.render("term")

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self._tables)

    def _repr_markdown_(self) -> str:
        return RENDERERS["md"]([table.laid_out for table in self._tables])


@dataclass(frozen=True)
class StudyResults:
    """A study's trials, and which of their numbers count.

    Attributes:
        found: the rows with their trials, as every report reads them (``reports.results.results``).
    """

    found: Results = field(repr=False)

    def __repr__(self) -> str:
        planned = sum(len(row.planned) for row in self.found.rows)
        return (
            f"StudyResults({self.study}, profile {self.found.profile}: {len(self.found.finished)} of {planned} trials)"
        )

    @property
    def study(self) -> str:
        """The study's name."""
        return self.found.study

    @property
    def rows(self) -> list[str]:
        """The names of its rows."""
        return [row.name for row in self.found.rows]

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the study and of the code behind its numbers, and what stood in the way."""
        return [*self.found.problems, *self.found.remarks, *code_notes(self.found)]

    def to_frame(self, by: str = "trial", *, every: bool = False) -> pd.DataFrame:
        """Return a line a trial, an epoch or a video.

        Every line says the trial (``study``, ``profile``, ``row``, ``seed``, ``key``), its ``state``, whether its
        numbers are ``used`` in tables and figures, and ``why`` not. A mean over a row's lines is the table's mean.

        Args:
            by: ``trial``: metrics, costs and the settings that the rows vary; ``epoch``: losses in nats, accuracies in
                percent, counted from 1; ``video``: each video's label, answer and scores.
            every: give the numbers of trials that are not used too, as they are. Without, a line of such a trial has
                none, and there are no lines of its epochs and videos.

        Raises:
            ConfigError: there are no such lines.
            DataError: a trial's predictions cannot be read.
        """
        return frames.to_frame(self.found, by, every=every)

    def tables(self) -> Tables:
        """Return the study's tables: its rows, the effects of a factorial, what its search has found."""
        return Tables([Table(each) for each in build_tables(self.found)])

    def table(self) -> Table:
        """Return the table of the study's rows."""
        return self.tables()[0]

    def explain(self, row: str, metric: str) -> str:
        """Return in words what is behind a cell: its trials, code, data and files.

        Raises:
            ConfigError: there is no such row or metric.
        """
        return trace([self.found], row, metric)

    def figure(self, name: str, *, rows: Sequence[str] = (), metric: str = "top1") -> Figure:
        """Return a figure, ``curves``, ``pareto``, ``classes``, ``order`` or a plug-in's; see ``farlab.figure``."""
        return _drawn(name, self.found, rows=rows, metric=metric)

    def grad_cam(
        self,
        videos: str | Path | Sequence[str | Path],
        *,
        rows: Sequence[str] = (),
        seed: int | None = None,
        target: str | None = None,
        frames: int = 8,
    ) -> Figure:
        """Return Grad-CAM over the same frames for several rows (the paper's Figures 6 and 7).

        Args:
            videos: files.
            rows: default: all that have finished.
            seed: of the trials; default: the first that has finished.
            target: the class, by name or number; default: see ``farlab explain``.
            frames: shown of each clip.

        Raises:
            ConfigError: there is no such row or class.
            DataError: a row has no finished trial, or a video cannot be read.
        """
        paths = [Path(each) for each in ([videos] if isinstance(videos, str | Path) else videos)]
        chosen = [self.found.row(row).name for row in rows]
        with _drawing():
            root = load_settings().data_root
            return _titled(
                draw_explanations(self.found, paths, chosen, seed=seed, target=target, frames=frames, data_root=root)
            )

    def _repr_html_(self) -> str:
        return self.tables()._repr_html_()


def results(
    study: str | Path | int,
    *,
    profile: str | None = None,
    seeds: Seeds | None = None,
    overrides: Overrides | None = None,
    store: Path | str | None = None,
    tracking: str | None = None,
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
) -> StudyResults:
    """Return what is known of a study's trials.

    Args:
        study: a name or file; or the number of a table of the paper.
        profile: at what scale; default: the workspace's.
        seeds: as the sweep was given.
        overrides: as the sweep was given.
        store: read this store instead of the workspace's.
        tracking: read this MLflow server instead; ``mlflow`` is the workspace's own.
        plugins: files or modules to be loaded first.
        trust: load plug-ins that others could have written.

    Raises:
        ConfigError: there is no such study, it is invalid, or the table has none or several.
        TrackingError: the server cannot be read.
    """
    found = _load(study, False, profile, seeds, overrides, store, tracking, plugins, trust)
    if len(found) != 1:
        names = [each.study for each in found]
        raise ConfigError(f"'{study}' stands for {len(found)} studies: name one", choices=names)
    return StudyResults(found[0])


def tables(
    *studies: str | Path | int,
    profile: str | None = None,
    seeds: Seeds | None = None,
    overrides: Overrides | None = None,
    store: Path | str | None = None,
    tracking: str | None = None,
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
) -> Tables:
    """Return the tables of studies, and of the paper, for one document.

    Args:
        studies: names, files or folders; numbers are tables of the paper. Default: all of the paper's, and every study
            in the store.
        profile: at what scale; default: the workspace's.
        seeds: as the sweep was given.
        overrides: as the sweep was given.
        store: read this store instead of the workspace's.
        tracking: read this MLflow server instead; ``mlflow`` is the workspace's own.
        plugins: files or modules to be loaded first.
        trust: load plug-ins that others could have written.

    Raises:
        ConfigError: there is no such study or table.
    """
    numbers = [each for each in studies if isinstance(each, int)]
    found = _load(studies, not studies, profile, seeds, overrides, store, tracking, plugins, trust)
    return Tables([Table(each) for each in build_all(numbers, found, everything=not studies)])


def figure(
    name: str,
    study: str | Path | int | None = None,
    *,
    rows: Sequence[str] = (),
    metric: str = "top1",
    video: Path | str | None = None,
    profile: str | None = None,
    seeds: Seeds | None = None,
    overrides: Overrides | None = None,
    store: Path | str | None = None,
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
) -> Figure:
    """Return a figure as matplotlib's, whose ``axes`` can be changed before it is saved.

    Args:
        name: ``patterns`` (the paper's figure 2), which needs no study; ``curves``, ``pareto``, ``classes``, ``order``.
        study: whose results; a name, a file, or a number of a table of the paper.
        rows: only these; of ``patterns``, the attention patterns.
        metric: what is drawn, where the figure leaves it open.
        video: draw the patterns on this video.
        profile: as the sweep was given, like ``seeds`` and ``overrides``.
        seeds: see ``profile``.
        overrides: see ``profile``.
        store: read this store instead of the workspace's.
        plugins: files or modules to be loaded first.
        trust: load plug-ins that others could have written.

    Raises:
        ConfigError: there is no such figure, study or row.
        DataError: there is nothing to draw yet.
    """
    load_plugins(plugins)
    found = None
    if study is not None:
        found = results(study, profile=profile, seeds=seeds, overrides=overrides, store=store, trust=trust).found
    return _drawn(name, found, rows=rows, metric=metric, video=None if video is None else Path(video))


def _load(
    studies: Any,
    everything: bool,
    profile: str | None,
    seeds: Seeds | None,
    overrides: Overrides | None,
    store: Path | str | None,
    tracking: str | None,
    plugins: Sequence[str | Path],
    trust: bool,
) -> list[Results]:
    load_plugins(plugins)
    asked = [studies] if isinstance(studies, str | Path | int) else list(studies or ())
    named: Studies = [each for each in asked if not isinstance(each, int)]
    selection = Selection(
        [str(each) for each in asked if isinstance(each, int)],
        texts(named) if named or not (asked or everything) else None,
        assignments(overrides),
        profile,
        seed_text(seeds),
        None if store is None else Path(store),
        tracking,
        everything,
    )
    with trusting(trust):
        selection.load_plugins()
        return selection.read()


def _drawn(name: str, found: Results | None, *, rows: Sequence[str], metric: str, video: Path | None = None) -> Figure:
    chosen = NUMBERS.get(str(name), str(name))
    if chosen not in FIGURES:
        raise ConfigError(f"unknown figure '{name}'", choices=figure_names(), got=name)
    if FIGURES[chosen].needs_results and found is None:
        raise ConfigError(f"the figure '{name}' is drawn from results: name a study")
    settings = load_settings()
    wanted = tuple(rows) if found is None else tuple(found.row(row).name for row in rows)
    options = Options(wanted, video, metric, data_root=settings.data_root, weights_root=settings.weights_root)
    with _drawing():
        return _titled(drawn(chosen, found if FIGURES[chosen].needs_results else None, options))


def _drawing() -> Any:
    """Draw in the style of the reports; a session that shows figures already keeps its screen."""
    return styled(headless="matplotlib.pyplot" not in sys.modules and "ipykernel" not in sys.modules)


def _titled(drawing: Drawing) -> Figure:
    """Return a drawing's figure under its title, labelled with its caption."""
    drawing.figure.suptitle(drawing.title, fontsize=9)
    drawing.figure.set_label(drawing.caption)
    return drawing.figure

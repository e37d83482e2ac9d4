"""What the commands of reports take, and the results that it selects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from far.architecture.patterns import PATTERNS
from far.config import load_document
from far.errors import ConfigError
from orchestrator.cli.completion import offer_rows, offer_studies
from orchestrator.cli.inputs import refuse_given
from orchestrator.cli.options import (
    existing_store,
    parse_seeds,
    split_targets,
)
from orchestrator.study import study_files
from orchestrator.study.names import read_names
from orchestrator.workspace.plugins import load_study_plugins, load_workspace_plugins
from orchestrator.workspace.settings import checked_uri
from reports.paper import paper_tables
from reports.paper.studies import studies_for, studies_of_table, tables_with_study
from reports.results.changed_code import code_notes
from reports.results.collect import collect
from reports.tables.registry import need_no_study

if TYPE_CHECKING:
    from reports.results.results import Results


TableOption = Annotated[
    list[str] | None, typer.Option("--table", "-t", help="The study of this table of the paper.", show_default=False)
]
StudyOption = Annotated[
    list[str] | None,
    typer.Option("--study", help="A study file or name.", show_default=False, autocompletion=offer_studies),
]
RowOption = Annotated[
    list[str] | None,
    typer.Option("--row", "-r", help="Only this row; may be repeated.", show_default=False, autocompletion=offer_rows),
]
RowsOption = Annotated[str | None, typer.Option(help="Only these rows, separated by commas.", show_default=False)]
StoreOption = Annotated[Path | None, typer.Option(help="Read this store instead of the workspace's.")]


@dataclass(frozen=True)
class Selection:
    """What a report was asked for, as the command line says it.

    Attributes:
        table: numbers of the paper's tables, see ``parse_tables``.
        study: names of studies.
        targets: further studies, and overrides.
        profile: the scale; None: as for ``farlab sweep``.
        seeds: instead of the studies' own.
        store: instead of the workspace's.
        tracking: tracking server that is read instead of a store; ``mlflow`` is the workspace's.
        everything: the paper's tables, and every study in the store.
    """

    table: Sequence[str] | None = None
    study: Sequence[str] | None = None
    targets: Sequence[str] | None = None
    profile: str | None = None
    seeds: str | None = None
    store: Path | None = None
    tracking: str | None = None
    everything: bool = False

    @cached_property
    def numbers(self) -> list[int]:
        """The paper's tables that are asked for.

        Raises:
            ConfigError: there is no such table.
        """
        return parse_tables(self.table or ())

    @cached_property
    def _parts(self) -> tuple[list[str], list[str]]:
        """Names of studies, and overrides."""
        names, overrides = split_targets([*(self.targets or ())])
        return [*(self.study or ()), *names], overrides

    def load_plugins(self) -> None:
        """Load the plug-ins of the workspace and of the studies that are named, before what they add is looked up."""
        load_workspace_plugins()
        for path in study_paths(self._parts[0]):
            load_study_plugins(load_document(path))

    def read(self) -> list[Results]:
        """Return the results that are asked for.

        Raises:
            ConfigError: nothing is, or what does not exist.
        """
        studies, overrides = self._parts
        numbers, tracking = self.numbers, self.tracking
        if not (numbers or studies or self.everything):
            raise ConfigError("name what to report: STUDY, --table N or --all", where="command line")
        if self.everything:
            refuse_given("table", because="--all has every table")
        if tracking is not None:
            tracking = tracking if tracking == "mlflow" else checked_uri(tracking, "--from")
            refuse_given("store", because="--from reads the tracking server instead")
        known, standing = tables_with_study(), need_no_study()
        wanted = known if self.everything else [n for n in numbers if n in known or n not in standing]
        of_tables = [path for n in known for path in studies_of_table(n)] if self.everything else studies_for(wanted)
        found = list({path.resolve(): path for path in [*of_tables, *study_paths(studies)]}.values())
        if not found:
            unread = ("targets", "profile", "seeds", "store", "from_")
            refuse_given(*unread, because="this table needs no results of yours")
        return collect(
            found,
            profile=self.profile,
            seeds=parse_seeds(self.seeds),
            overrides=overrides,
            store=existing_store(self.store),
            tracking=tracking,
            of_tables=of_tables,
            optional=[path for n in wanted if n in standing for path in studies_of_table(n)],
            everything=self.everything,
        )

    def read_one(self) -> Results:
        """Return the results of the one study that is asked for.

        Raises:
            ConfigError: none is, or several are.
        """
        wrong = ConfigError("name one study: STUDY or --table N", where="command line")
        if not (self.table or self._parts[0]):
            raise wrong
        found = self.read()
        if len(found) != 1:
            raise wrong
        say_notes(found[0])
        return found[0]


def study_paths(names: Sequence[str]) -> list[Path]:
    """Return the files of studies given by name, file or directory, each once."""
    return list({file.resolve(): file for name in names for file in study_files(name)}.values())


def parse_tables(texts: Sequence[str]) -> list[int]:
    """Read ``5``, ``2,5``, ``2-6`` or ``2..6``, each possibly several times.

    Raises:
        ConfigError: a part is no number, or no table of the paper.
    """
    numbers: list[int] = []
    for part in ",".join(texts).replace("..", "-").split(",") if texts else []:
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise ConfigError(f"'{part}' is not a table's number", key="--table", choices=paper_tables(), got=part)
        numbers += range(int(first), int(last or first) + 1)
    unknown = [n for n in numbers if n not in paper_tables()]
    if unknown:
        raise ConfigError(f"the paper has no table {unknown[0]}", key="--table", choices=paper_tables(), got=unknown[0])
    return list(dict.fromkeys(numbers))


def say_notes(results: Results) -> None:
    """Print on standard error what a reader must know of a study and of the code behind its numbers."""
    for text in (*results.remarks, *code_notes(results)):
        typer.echo(f"note: {text}", err=True)


def named_rows(row: list[str] | None, rows: str | None, results: Results | None) -> tuple[str, ...]:
    """Return the rows that ``--row A --row B`` or ``--rows A,B`` name; without a study, the attention patterns.

    Raises:
        ConfigError: there is no such row, or it is not clear which is meant.
    """
    if row and rows is not None:
        raise ConfigError("--row and --rows say the same; give one of them", key="--rows", where="command line")
    if rows is not None:
        known = list(PATTERNS) if results is None else [each.name for each in results.rows]
        what = "attention pattern" if results is None else "row"
        return tuple(read_names(rows, known, what=what, key="--rows"))
    named = row or () if results is None else (results.row(name).name for name in row or ())
    return tuple(dict.fromkeys(named))

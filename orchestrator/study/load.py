"""Reading a study: find the file, check it, lay profile < base < row < command line over each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from far.config import Document, TrialConfig, load_document, parse_overrides, resolve
from far.config.layers import Layer, Source, flatten, refuse_without_effect, resolved
from far.config.messages import validated
from far.errors import ConfigError
from far.plugins import Plugin
from orchestrator.study.checks import CONTROL, PLACEBO, check_rows, refuse_idle_control
from orchestrator.study.expand import Draft, expand
from orchestrator.study.lookup import find_study
from orchestrator.study.names import find_name
from orchestrator.study.profiles import Profile, find_profile, profile_directories
from orchestrator.study.quoted import quoted_rows
from orchestrator.study.scales import Scales
from orchestrator.study.schema import MOST_SEEDS, BudgetConfig, ResourcesConfig, RetryConfig, SearchConfig, StudyFile
from orchestrator.study.search import check_search
from orchestrator.workspace.plugins import load_study_plugins, load_workspace_plugins
from orchestrator.workspace.settings import load_settings


@dataclass(frozen=True)
class Row:
    """One row of the table: its name and its configuration, complete but for the seed."""

    name: str
    config: TrialConfig
    settings: dict[str, Any]
    """What the row itself sets, by dotted key: what makes it differ from the base."""
    where: str
    """``file:line`` where the row is written."""
    seeds: tuple[int, ...] | None = None
    """Seeds of its own; None: the study's."""
    present: tuple[str, ...] | None = None
    """Components that a row of a factorial has; None for other rows."""


@dataclass(frozen=True)
class Study:
    """A study, resolved: every row is a valid configuration."""

    name: str
    title: str
    table: int | None
    row_header: str
    rows: tuple[Row, ...]
    baseline: str | None
    """The row that others are compared with; None in a study that only searches."""
    seeds: tuple[int, ...]
    profile: Profile
    path: Path
    resources: ResourcesConfig
    retry: RetryConfig
    budget: BudgetConfig
    search: SearchConfig | None
    overrides: tuple[str, ...] = ()
    file: StudyFile | None = field(default=None, repr=False)
    base: tuple[Layer, ...] = field(default=(), repr=False)
    """Profile and base, under every row; a search lays its proposals over them."""
    notes: tuple[str, ...] = ()
    """What was adapted in the rows, in words."""
    compare: tuple[tuple[str, str], ...] = ()
    """Further pairs of rows to compare, the first against the second."""
    equal_within: float | None = None
    """Percentage points within which two rows count as equal: the study's own, else the profile's."""
    placebo: str | None = None
    """The row that is the baseline with other seeds."""
    control: str | None = None
    """The row that is the baseline with settings that must do worse."""
    plugins: tuple[Plugin, ...] = ()
    """That it names."""
    quoted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Rows of other works, by name, as the file has them (``orchestrator.study.quoted``)."""
    components: tuple[str, ...] = ()
    """What its factorial crosses; see ``Row.present``."""

    def seeds_of(self, row: Row) -> tuple[int, ...]:
        """Return the seeds at which a row is trained."""
        return self.seeds if row.seeds is None else row.seeds

    def row(self, name: str) -> Row:
        """Return a row by its name, or by a spelling of it that only one row has.

        Raises:
            ConfigError: there is no such row, or several.
        """
        by_name = {row.name: row for row in self.rows}
        found = find_name(name, by_name)
        if found is None:
            raise ConfigError(f"study '{self.name}' has no row '{name}'", choices=by_name, got=name)
        return by_name[found]


def refuse_same_name(studies: Iterable[Study]) -> None:
    """Refuse two studies of one name: a store keeps one submission a name.

    Raises:
        ConfigError: naming both files.
    """
    by_name: dict[str, Path] = {}
    for study in studies:
        other = by_name.setdefault(study.name, study.path)
        if other != study.path:
            raise ConfigError(f"two studies are called '{study.name}'", key="study", where=f"{other}, {study.path}")


def load_study(
    path_or_name: Path | str,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | int | None = None,
) -> Study:
    """Read, check and expand a study.

    Args:
        path_or_name: a file, or the name of a study in ``studies/`` or of a shipped one.
        profile: the scale; default: the study's own, then that of ``farlab.toml``.
        overrides: ``dotted.key=value``, laid over every row.
        seeds: instead of the study's: a number n for 0 … n-1, or a list.

    Raises:
        ConfigError: anything in it is invalid; with file, line, dotted key and nearest valid choice.
    """
    path = find_study(path_or_name)
    document = load_document(path)
    settings = load_settings()
    load_workspace_plugins(settings)
    plugins = load_study_plugins(document)
    file = validated(StudyFile, document.data, document.where)
    name = profile or file.profile or settings.profile
    asked = "command line" if profile else document.where(("profile",)) if file.profile else str(settings.file)
    places = profile_directories(path.parent, settings.workspace)
    scales = Scales(file, document, name, asked, places)
    chosen = find_profile(name, places, where=asked, abstract=scales.complete)
    base = (*chosen.layers, Layer(file.base, lambda keys: document.where(("base", *keys)), Source.BASE))
    over = parse_overrides(overrides)
    no_seed(*base, *over)
    drafts = scales.checked(expand(file, document))
    baseline = _baseline(file, drafts, document)
    seed_list = tuple(_seeds(seeds) if seeds is not None else file.seed_list)
    checks = check_rows(file, drafts, baseline, seed_list, document)
    made = [_row(draft, base, scales.layers(draft), over, document) for draft in drafts]
    made += [_row(check.draft, base, scales.layers(check.baseline), over, document, check.seeds) for check in checks]
    rows = tuple(row for row, _ in made)
    if file.control is not None:
        refuse_idle_control(rows, baseline)
    every = [*drafts, *(check.draft for check in checks)]
    _effective(rows, every, () if file.search else over, file.resources, document)
    if not rows and file.search is None:
        raise ConfigError("every row is excluded", key="exclude", where=document.where(("exclude",)))
    if file.search is not None:
        resolve((*base, *over))  # what proposals go over
        check_search(file.search, (*base, *over), over, rows, document)
    return Study(
        name=file.study,
        title=file.title,
        table=file.table,
        row_header=file.row_header,
        rows=rows,
        baseline=baseline,
        seeds=seed_list,
        profile=chosen,
        path=path,
        resources=file.resources,
        retry=file.retry,
        budget=file.budget,
        search=file.search,
        overrides=tuple(overrides),
        file=file,
        base=(*base, *over),
        notes=tuple(dict.fromkeys(note for _, notes in made for note in notes)),
        compare=_pairs(file, drafts, document),
        equal_within=chosen.equal_within if file.equal_within is None else file.equal_within,
        plugins=tuple(plugins),
        placebo=PLACEBO if file.placebo else None,
        control=CONTROL if file.control is not None else None,
        quoted=quoted_rows(file.quoted, [row.name for row in rows], document),
        components=tuple(file.ablate.components) if file.ablate is not None and file.ablate.is_factorial else (),
    )


def _row(
    draft: Draft,
    base: Sequence[Layer],
    scale: Sequence[Layer],
    over: Sequence[Layer],
    document: Document,
    seeds: tuple[int, ...] | None = None,
) -> tuple[Row, tuple[str, ...]]:
    settings: dict[str, Any] = {}
    for layer in (*scale, *draft.layers):
        no_seed(layer)
        settings.update({".".join(path): setting.value for path, setting in flatten(layer).items()})
    made = resolved((*base, *scale, *draft.layers, *over))
    row = Row(draft.name, made.config, settings, document.where(draft.source), seeds, draft.present)
    return row, made.notes


def no_seed(*layers: Layer, instead: str = "'seeds' in the study, or --seeds") -> None:
    """Refuse a seed among the settings of a study or of a command: it is an axis of its own.

    Raises:
        ConfigError: there is one.
    """
    for layer in layers:
        for path, setting in flatten(layer).items():
            if path == ("seed",):
                raise ConfigError(
                    f"the seed is an axis of its own: use {instead}",
                    key="seed",
                    where=setting.where,
                )


def _effective(
    rows: Sequence[Row],
    drafts: Sequence[Draft],
    over: Sequence[Layer],
    resources: ResourcesConfig,
    document: Document,
) -> None:
    """Refuse settings that are written for rows, or given on the command line, and change nothing in any of them."""
    trials = [(row.config, (*draft.layers, *over)) for row, draft in zip(rows, drafts, strict=True)]
    fixed = {"run.devices": "gpus", "run.cpus": "cpus"}
    for layer in over:
        for path, setting in flatten(layer).items():
            name = fixed.get(".".join(path), "")
            value = resources.gpu_number if name == "gpus" else getattr(resources, name, None)
            if value is not None and not (name == "gpus" and value < 1):
                raise ConfigError(
                    f"has no effect: resources.{name} of the study is {value:g}",
                    key=".".join(path),
                    where=setting.where,
                )
    refuse_without_effect(trials)
    gpus = resources.gpu_number or 0
    for row in rows:
        if row.config.model.needs_the_batch and gpus >= 1 and gpus != row.config.run.devices:
            raise ConfigError(
                f"{gpus:g} conflicts with run.devices = {row.config.run.devices}: the statistics of row '{row.name}' "
                "are over the videos of all devices at once, so both must say the same",
                key="resources.gpus",
                where=document.where(("resources", "gpus")),
            )


def _baseline(file: StudyFile, drafts: Sequence[Draft], document: Document) -> str | None:
    if file.baseline is None:
        return drafts[0].name if drafts else None
    return _known(file.baseline, drafts, document, "baseline")


def _pairs(file: StudyFile, drafts: Sequence[Draft], document: Document) -> tuple[tuple[str, str], ...]:
    """Return the pairs of rows that are compared; a row with itself, and a pair that is listed twice, are mistakes."""
    pairs: list[tuple[str, str]] = []
    for index, (first, second) in enumerate(file.compare or ()):
        path = ("compare", str(index))
        wrong = "compares a row with itself" if first == second else ""
        if (first, second) in pairs or (second, first) in pairs:
            wrong = "is listed twice"
        if wrong:
            raise ConfigError(f"[{first}, {second}] {wrong}", key=".".join(path), where=document.where(path))
        pairs.append((_known(first, drafts, document, *path), _known(second, drafts, document, *path)))
    return tuple(pairs)


def _known(name: str, drafts: Sequence[Draft], document: Document, *path: str) -> str:
    """Return the name of a row.

    Raises:
        ConfigError: no row has it.
    """
    if name not in {draft.name for draft in drafts}:
        raise ConfigError(
            f"no row is called '{name}'",
            key=".".join(path),
            where=document.where(path),
            choices=[draft.name for draft in drafts],
            got=name,
        )
    return name


def _seeds(seeds: Sequence[int] | int) -> list[int]:
    if isinstance(seeds, int) and seeds > MOST_SEEDS:
        raise ConfigError(f"{seeds} seeds are more than {MOST_SEEDS}; to name one seed, write {seeds},", key="--seeds")
    found = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not found or min(found) < 0 or len(set(found)) != len(found):
        raise ConfigError(f"seeds must be distinct, at least one, and not negative: {seeds}", key="--seeds")
    return found

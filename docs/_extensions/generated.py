"""The reference of commands and settings, written from the code at each build into ``docs/reference``."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ByteSize
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import farlab
from far.config.identity import is_counted
from far.config.trial import TrialConfig
from far.strict import Added, ReadBy, Strict
from orchestrator.study.json_schema import study_schema
from orchestrator.study.schema import StudyFile
from orchestrator.workspace.settings import SettingsFile

PRIVATE = re.compile(r"``([^`]+)``")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for sources."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference"
    folder.mkdir(exist_ok=True)
    for name, lines in (("commands", commands()), ("configuration", configuration())):
        text = "\n".join(lines) + "\n"
        page = folder / f"{name}.md"
        if not page.exists() or page.read_text() != text:  # an unchanged page is not read again
            page.write_text(text)


def commands() -> Iterator[str]:
    """Return the page of commands: what each does, its arguments and its options."""
    yield "# Commands"
    yield ""
    yield "What `farlab COMMAND --help` prints, on one page."
    for path, command in _walk((), farlab.build_app()):
        usage = " ".join(_usage(p) for p in command.params if p.param_type_name == "argument")
        yield from ("", f"## farlab {' '.join(path)}", "", _prose(command.help or ""), "")
        yield from ("```console", f"farlab {' '.join(path)} {usage}".rstrip(), "```", "")
        rows = [
            (f"`{', '.join([*p.opts, *p.secondary_opts]) if p.param_type_name == 'option' else _usage(p)}`", _said(p))
            for p in command.params
            if p.name != "help" and not p.hidden
        ]
        yield from _table(("option", ""), rows)


def _walk(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name in sorted(command.commands):
        yield from _walk((*path, name), command.commands[name])


def _usage(argument: Any) -> str:
    if argument.metavar:
        return str(argument.metavar)
    name = argument.name.upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _said(parameter: Any) -> str:
    described = getattr(parameter, "type_descriptor", None)
    kind = described.annotation if described else None
    said = _prose(getattr(parameter, "help", None) or "").replace("\n", " ")
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        said += f" One of {', '.join(f'`{each.value}`' for each in kind)}."
    if parameter.default is not None and parameter.default is not False and parameter.show_default:
        said += f" Default: `{getattr(parameter.default, 'value', parameter.default)}`."
    return said


def configuration() -> Iterator[str]:
    """Return the page of settings: a trial's, a study file's and ``farlab.toml``'s."""
    yield "# Configuration"
    yield ""
    yield "## Settings of a trial"
    yield ""
    yield "In a profile, in a study's `base` and `rows`, and after any command as `recipe.epochs=4`."
    yield "*Key* says when a setting decides which trial it is: always, unless something else stands there."
    schema = study_schema()["$defs"]["Settings"]["properties"]
    for name in TrialConfig.model_fields:
        if name in schema and "properties" in schema[name]:
            yield from ("", f"### {name}", "")
            yield from _table(
                ("setting", "value", "default", "key", ""), list(_settings(_section(name), (name,), schema))
            )
    for title, lead, section in (
        ("Study files", "The keys of a study file; [Studies](../studies.md) says how they work together.", StudyFile),
        ("farlab.toml", "The settings of a workspace.", SettingsFile),
    ):
        yield from ("", f"## {title}", "", lead, "")
        notes = _notes(section)
        rows = [
            (f"`{field.alias or name}`", _default(field), notes.get(name, ""))
            for name, field in section.model_fields.items()
        ]
        yield from _table(("key", "default", ""), rows)


def _section(name: str) -> type[Strict]:
    annotation = TrialConfig.model_fields[name].annotation
    found = [kind for kind in (annotation, *get_args(annotation)) if inspect.isclass(kind) and issubclass(kind, Strict)]
    return found[0]


def _settings(section: type[Strict], path: tuple[str, ...], schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    notes = {name: said for member in reversed(section.members()) for name, said in _notes(member).items()}
    for name, field in section.fields().items():
        key = ".".join((*path, name))
        kind = field.annotation
        if inspect.isclass(kind) and issubclass(kind, Strict):
            yield from _settings(kind, (*path, name), schema)
            continue
        yield f"`{key}`", _values(schema.get(key, {})), _default(field), _counted(key, field), notes.get(name, "")


def _values(described: dict[str, Any]) -> str:
    kinds = [described, *described.get("anyOf", ())]
    names = [str(choice) for kind in kinds for choice in kind.get("enum", ())]
    if names:
        return ", ".join(f"`{name}`" for name in names)
    low = {
        f"{sign} {kind[key]:g}"
        for kind in kinds
        for sign, key in (("≥", "minimum"), (">", "exclusiveMinimum"))
        if key in kind
    }
    high = {f"≤ {kind['maximum']:g}" for kind in kinds if kind.get("maximum", 1e9) < 1e9}
    types = [kind["type"] for kind in kinds if "type" in kind and kind["type"] != "null"]
    words = {
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "string": "text",
        "array": "list",
        "object": "mapping",
    }
    return ", ".join(
        [" or ".join(dict.fromkeys(words.get(kind, kind) for kind in types)), *sorted(low), *sorted(high)]
    ).strip(", ")


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Strict):
        return "see its keys"
    if isinstance(value, ByteSize):
        return f"`{value.human_readable()}`"
    return "" if value is None or value == "" else f"`{str(value).replace('True', 'true').replace('False', 'false')}`"


def _counted(key: str, field: Any) -> str:
    if not is_counted(key):
        return "never"
    marks = [mark for mark in field.metadata if isinstance(mark, Added | ReadBy)]
    said = [f"unless `{mark.before}`" if isinstance(mark, Added) else f"by {mark.registry.axis}" for mark in marks]
    return "; ".join(said) or "always"


def _notes(section: type[Strict]) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if kind.__module__.startswith(("far", "orchestrator")):
            documented = ModuleAnalyzer.for_module(kind.__module__).find_attr_docs()
            found |= {
                name: _prose(" ".join(lines))
                for (owner, name), lines in documented.items()
                if owner == kind.__qualname__
            }
    return found


def _prose(text: str) -> str:
    return PRIVATE.sub(r"`\1`", inspect.cleandoc(text)).strip()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in row)} |"

"""A JSON Schema of study files, for editors: completion and errors while typing."""

from __future__ import annotations

import json
from typing import Any

from far.config.layers import Layer, resolve, section_of
from far.config.trial import TrialConfig
from far.errors import ConfigError
from far.strict import Strict
from orchestrator.study.schema import StudyFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> dict[str, Any]:
    """Return the schema: the study's own keys, and below them every setting, nested or dotted."""
    schema = StudyFile.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    definitions["Settings"] = _settings(TrialConfig, (), definitions)
    definitions["Axes"] = {
        "type": "object",
        "properties": {
            key: {"type": "array", "minItems": 1, "items": value}
            for key, value in definitions["Settings"]["properties"].items()
            if "." in key
        },
        "additionalProperties": False,
    }
    settings, axes = {"$ref": "#/$defs/Settings"}, {"$ref": "#/$defs/Axes"}
    keys = schema["properties"]
    keys["base"] = settings
    keys["rows"] = {"type": "object", "additionalProperties": {"anyOf": [settings, {"type": "null"}]}}
    keys["include"] = {"type": "object", "additionalProperties": settings}
    keys["control"] = {"anyOf": [{**settings, "minProperties": 1}, {"type": "null"}]}
    pair = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
    keys["compare"] = {"anyOf": [{"type": "array", "items": pair, "minItems": 1}, {"type": "null"}]}
    keys["grid"] = axes
    keys["zip"] = {"anyOf": [axes, {"type": "array", "items": axes}]}
    own = {**definitions["Settings"]["properties"], "profile": {"type": "string"}}
    row = {"type": "object", "properties": own, "minProperties": 1, "additionalProperties": False}
    keys["scales"] = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": row}}
    definitions["Component"]["properties"].update(without=settings, full=settings)
    text = json.dumps(schema)
    schema["$defs"] = {name: d for name, d in definitions.items() if f'"#/$defs/{name}"' in text}
    return {"$schema": DIALECT, **schema, "title": "FARLab study"}


def _settings(section: type[Strict], path: tuple[str, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    """Describe a section's settings, all optional; at the root, also by their dotted keys."""
    described: dict[str, Any] = {}
    for member in section.members():
        full = member.model_json_schema()
        definitions.update({k: v for k, v in full.get("$defs", {}).items() if k not in definitions})
        described = {**full["properties"], **described}
    properties: dict[str, Any] = {}
    for name in section.fields():
        here = (*path, name)
        inner = section_of(section, name)
        if inner is None:
            properties[name] = _with_choices(described[name], here)
            continue
        nested = _settings(inner, here, definitions)
        properties[name] = nested
        below = nested["properties"].items()
        properties.update({f"{name}.{key}": value for key, value in below})
    if not path:
        properties.pop("seed", None)  # an axis of its own
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _with_choices(described: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Add the names of a registry: asked by trying a name that is in none."""
    kinds = str(described)
    described = {key: value for key, value in described.items() if key != "default"}
    if described.get("type") == "string" and "enum" not in described:
        choices = _choices(path, "\0")
        return {**described, "enum": choices} if choices else described
    if "HeadLayout" in kinds or path[-1] == "attention":
        patterns = _choices(path, {"\0": 1})
        layout = {
            "type": "object",
            "minProperties": 1,
            "properties": {name: {"type": "integer", "minimum": 1} for name in patterns},
            "additionalProperties": False,
        }
        return {"anyOf": [layout, {"type": "array", "minItems": 1, "items": layout}]}
    return described


def _choices(path: tuple[str, ...], impossible: object) -> list[str]:
    try:
        resolve([Layer({".".join(path): impossible}, lambda _: "")])
    except ConfigError as error:
        return error.choices
    return []

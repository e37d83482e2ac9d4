"""``farlab study schema``: the JSON Schema of study files."""

from __future__ import annotations

import json

from orchestrator.study.json_schema import study_schema


def schema() -> None:
    """Print the JSON Schema of study files, for an editor's completion and checks.

    Examples:
        farlab study schema
    """
    print(json.dumps(study_schema(), indent=1, ensure_ascii=False))

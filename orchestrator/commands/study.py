"""``farlab study``: the JSON Schema of study files."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Study files.", no_args_is_help=True)

    @group.command("schema")
    def schema() -> None:
        """Print the JSON Schema of study files, for an editor's completion and checks."""
        import json

        from orchestrator.study.json_schema import study_schema

        print(json.dumps(study_schema(), indent=1, ensure_ascii=False))

    app.add_typer(group, name="study")

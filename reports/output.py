"""Where a report goes: standard output, or a file whole or not at all."""

from __future__ import annotations

from pathlib import Path

import typer

from far.errors import ConfigError
from far.text import encodable
from orchestrator.cli.quiet import talk


def deliver(text: str, output: Path | None) -> None:
    """Print, or write the file whole or not at all, and say so.

    Raises:
        ConfigError: the file cannot be written.
    """
    if output is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    write(text, output)
    talk(f"wrote {output}")


def write(text: str, output: Path) -> None:
    """Write the file whole or not at all; a pipe or a device (``/dev/stdout``) is written to, not replaced.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        content = encodable(text, "utf-8").encode()
        if output.exists() and not output.is_file():
            output.write_bytes(content)
        else:
            partial = output.with_name(f".{output.name}.partial")
            partial.write_bytes(content)
            partial.replace(output)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", key="--output", where=str(output)) from None

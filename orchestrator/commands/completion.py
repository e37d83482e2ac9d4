"""``farlab completion``: the script by which a shell completes commands, options, studies, rows and trials."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import typer.completion

from far.errors import ConfigError

SHELLS = ("bash", "zsh", "fish")


def completion(
    shell: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(SHELLS)}.",
            autocompletion=lambda incomplete: [name for name in SHELLS if name.startswith(incomplete)],
        ),
    ],
) -> None:
    """Print what makes a shell complete commands, options, names of studies, rows, profiles and trials.

    For bash, put eval "$(farlab completion bash)" into ~/.bashrc; for zsh the same with zsh into ~/.zshrc, after
    compinit; for fish, write it to ~/.config/fish/completions/farlab.fish.

    Examples:
        farlab completion bash
        farlab completion fish
    """
    if shell not in SHELLS:
        raise ConfigError(f"no completion for the shell '{shell}'", key="SHELL", choices=SHELLS, got=shell)
    make: Any = typer.completion  # which does not list what it imports
    make.completion_init()
    print(make.get_completion_script(prog_name="farlab", complete_var="_FARLAB_COMPLETE", shell=shell))

"""``farlab doctor``: is everything here that FARLab needs, and what mends what is not?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict

from rich.text import Text

from far.errors import FarError
from orchestrator.cli.console import make_console
from orchestrator.cli.options import JsonOption
from orchestrator.doctor import machine, software, store, workspace
from orchestrator.doctor.finding import Finding
from orchestrator.workspace.settings import load_settings
from orchestrator.workspace.workspace import Workspace, open_workspace

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(json_: JsonOption = False) -> int:
    """Check versions, GPU, decoders, memory, disk, data, weights and store; exit 3 if something cannot work.

    No server is asked. Each line is ok, warn or fail; what mends it stands below.

    Examples:
        farlab doctor
        farlab doctor --json
    """
    found = list(_findings())
    if json_:
        print(json.dumps([asdict(each) for each in found], indent=1, ensure_ascii=False))
    else:
        console = make_console()
        for each in found:
            line = Text(f"{each.level:4}", style=STYLES[each.level])
            console.print(line.append(f"  {each.part:17} {each.text}", style=""))
            if each.mend:
                console.print(f"      {'':17} mend: {each.mend}")
        counts = {level: sum(each.level == level for each in found) for level in STYLES}
        console.print(", ".join(f"{count} {level}" for level, count in counts.items()))
    return 3 if any(each.level == "fail" for each in found) else 0


def _findings() -> Iterator[Finding]:
    with closing(machine.LibraryProbe()) as probe:
        yield from software.findings()
        yield from machine.resources()
        try:
            here = _open()
            yield from workspace.findings(here)
            yield from store.findings(here.store)
        except (FarError, OSError) as error:
            yield Finding("workspace", "fail", str(error))
        yield from probe.findings()


def _open() -> Workspace:
    """Return the workspace; a store at a URL is looked at as this machine's copy has it."""
    return open_workspace(load_settings().model_copy(update={"remote_store": None}))

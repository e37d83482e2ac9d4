"""Check and time FARLab on one GPU, and print the table that docs/performance.md shows.

    python -m benchmarks.gpu            # at most 9 minutes
    python -m benchmarks.gpu --short    # at most 4 minutes
    python -m benchmarks.gpu --tiny     # seconds, also on a CPU: does the check itself run?

Every section is a process of its own with a limit of its own, the most wanted first: one that fails or takes too long
costs no other. What was measured goes to ``results.jsonl``, one row a line, and as a table to ``table.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIMITS = {
    "right": (70, 40),
    "model": (90, 50),
    "engine": (70, 40),
    "trials": (90, 40),
    "compiled": (110, 45),
    "loader": (60, 25),
}
"""Seconds that each section may take, and with ``--short``; their sums are under 9 and 4 minutes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes, to try the check itself")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="folder of results")
    parser.add_argument("--sections", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--run", choices=LIMITS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.run:
        run_section(args.run, args.out, short=args.short, tiny=args.tiny)
        return
    rows = check(args.sections, args.out, short=args.short, tiny=args.tiny)
    text = table(rows)
    (args.out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    if any(row["what"] == "failed" for row in rows):
        sys.exit(1)


def check(sections: list[str], out: Path, *, short: bool, tiny: bool) -> list[dict[str, Any]]:
    """Run each section in a process of its own; return the rows of all, also of those that failed half-way."""
    results = out / "results.jsonl"
    results.write_text("", encoding="utf-8")
    for name in sections:
        limit, start = LIMITS[name][short], time.monotonic()
        command = [sys.executable, "-m", __package__, "--run", name, "--out", str(out)]
        command += [f"--{flag}" for flag, wanted in (("short", short), ("tiny", tiny)) if wanted]
        with (out / f"{name}.log").open("w", encoding="utf-8") as log:
            try:
                code: int | None = subprocess.run(command, stdout=log, stderr=log, timeout=limit).returncode
            except subprocess.TimeoutExpired:
                code = None
        if code != 0:
            said = (out / f"{name}.log").read_text(encoding="utf-8").strip().splitlines()[-1:] or [""]
            why = f"more than {limit} s" if code is None else said[0][:200]
            put(out, name, "failed", why)
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def run_section(name: str, out: Path, *, short: bool, tiny: bool) -> None:
    """Run one section in this process."""
    from benchmarks.gpu import sections

    def row(what: str, value: object, goal: str = "") -> None:
        put(out, name, what, value, goal)

    getattr(sections, name)(sections.Bench(row, short=short, tiny=tiny))


def put(out: Path, section: str, what: str, value: object, goal: str = "") -> None:
    """Append one row to the results."""
    with (out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"section": section, "what": what, "value": value, "goal": goal}) + "\n")


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| part | what | value | goal |", "|---|---|---|---|"]
    for row in rows:
        value = f"{row['value']:.3g}" if isinstance(row["value"], float) else str(row["value"])
        cells = (row["section"], row["what"], value, row["goal"])
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

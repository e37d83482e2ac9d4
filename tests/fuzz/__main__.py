"""``python -m tests.fuzz``: see the package."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.cases import Case, cases
from tests.fuzz.run import Site, described, run_here, run_process

BATCH = 50
"""Cases from one seed: Hypothesis varies what it has drawn, and a fresh seed draws anew."""


def main() -> int:
    """Run the cases, and print how many ended how."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="in all")
    parser.add_argument("--processes", type=int, help="of them, as processes of their own; default: one in 20")
    parser.add_argument("--seed", type=int, default=0)
    given_ = parser.parse_args()
    processes = given_.cases // 20 if given_.processes is None else given_.processes
    codes: Counter[str] = Counter()
    commands: Counter[str] = Counter()
    faults: list[str] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="farlab-fuzz-", ignore_cleanup_errors=True) as directory:
        site = Site(Path(directory))

        def one(case: Case, as_process: bool) -> None:
            with site.case(case) as place:
                outcome = (run_process if as_process else run_here)(case, place)
            codes[str(outcome.code)] += 1
            commands[case.arguments[0] if case.arguments else "(none)"] += 1
            if outcome.fault:
                faults.append(described(case, outcome))
                print(f"--- {len(faults)}: {faults[-1]}", file=sys.stderr, flush=True)

        for as_process, total in ((True, processes), (False, given_.cases - processes)):
            for first in range(0, total, BATCH):
                batch(
                    min(BATCH, total - first), given_.seed * 1_000_003 + first + 500_000 * as_process, one, as_process
                )
                done = sum(codes.values())
                if done % 500 < BATCH:
                    print(f"{done} cases, {time.monotonic() - started:.0f} s, {len(faults)} faults", file=sys.stderr)
    print(f"{sum(codes.values())} cases ({processes} processes), seed {given_.seed}: {len(faults)} faults")
    print("exit codes:", dict(sorted(codes.items())))
    print("commands:", dict(commands.most_common()))
    return 1 if faults else 0


def batch(number: int, start: int, one: object, as_process: bool) -> None:
    """Draw cases from one seed and run them."""

    @seed(start)
    @settings(max_examples=number, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(cases)
    def draw(case: Case) -> None:
        one(case, as_process)  # type: ignore[operator]

    draw()


if __name__ == "__main__":
    sys.exit(main())

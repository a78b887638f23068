"""``python -m tests.faults``: many random rounds, and the proof that they would find a loss."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.harness import SERVICES, Report, load_of, random_plans, revealing_plans, run
from tests.faults.mount import unavailable_reason
from tests.faults.sabotaged import STEPS

SHOWN = 20


def measure(service: str, cuts: int, seed: int, without: str) -> Report:
    """Runs rounds, random ones or those that show what is left out, and prints what became of them."""
    start = time.monotonic()
    plans = revealing_plans(without) if without else random_plans(seed, cuts)
    with (
        tempfile.TemporaryDirectory() as name,
        load_of(service, seed, Path(name), plain=bool(without)) as load,
    ):
        report = run(load, plans, Path(name), without)
    print(
        f"{service}{f' without its {without}' if without else ''}, seed {seed}: {report.cuts} cuts,"
        f" {report.kills} kills, {report.acknowledged} acknowledged calls, {len(report.lost)} losses,"
        f" {time.monotonic() - start:.0f} s",
        flush=True,
    )
    return report


def main() -> int:
    """Returns 1 where something was lost, or nothing although a step was left out."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--service", choices=SERVICES, help="only this one")
    parser.add_argument("--cuts", type=int, default=50, help="rounds of each service; 50")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of all that is random")
    arguments = parser.parse_args()
    if reason := unavailable_reason():
        print(f"error: {reason}", file=sys.stderr)
        return 2
    failed = False
    for service in [arguments.service] if arguments.service else SERVICES:
        report = measure(service, arguments.cuts, arguments.seed, "")
        for loss in report.lost[:SHOWN]:
            print(f"  {loss}")
        failed |= bool(report.lost)
        for step in STEPS:
            if not measure(service, arguments.cuts, arguments.seed, step).lost:
                print(f"  error: no loss was found without its {step}: the others prove nothing")
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

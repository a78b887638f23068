"""Searches, writes, cancelled searches and kills of a shard for a long time: what fails, and what grows.

    python -m benchmarks.soak --minutes 30          # make soak SOAK_MINUTES=30

Starts a gateway and two hashers, finds what they can answer next to the writes, and searches at a share of
that, at random times. Ends with 1 where a search failed that no kill explains, an acknowledged write is lost,
calls stay in progress, or memory, descriptors or threads grow. Nothing else should run meanwhile: what takes
the processor from a service makes searches fail.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.engine.machine import machine_facts
from benchmarks.soak.report import problems, report
from benchmarks.soak.run import Plan, run
from benchmarks.soak.trends import trends


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--share", type=float, default=0.7, help="of what can be answered (default: 0.7)")
    parser.add_argument("--cancelled", type=float, default=0.1, help="share of the searches (default: 0.1)")
    parser.add_argument("--writes", type=float, default=100.0, help="items a second (default: 100)")
    parser.add_argument("--kill-minutes", type=float, default=3.0, help="between kills; 0: none")
    parser.add_argument(
        "--around-seconds",
        type=float,
        default=5.0,
        help="after a killed shard answers again, in which its kill explains failures",
    )
    parser.add_argument("--warm-up-minutes", type=float, help="default: a sixth of the time, at most 5")
    parser.add_argument("--sample-seconds", type=float, default=10.0)
    parser.add_argument("--capacity-seconds", type=float, default=15.0, help="to find what can be answered")
    parser.add_argument("--folder", type=Path, help="on the disk that takes the writes")
    parser.add_argument("--json", type=Path, help="gets all samples and figures")
    return parser.parse_args()


def main() -> None:
    """Measures, prints tables, and ends with 1 where something is wrong."""
    given = arguments()
    warm_up = given.warm_up_minutes
    plan = Plan(
        seconds=60 * given.minutes,
        items=given.items,
        dim=given.dim,
        share=given.share,
        cancelled=given.cancelled,
        items_written=given.writes,
        kill_seconds=60 * given.kill_minutes or math.inf,
        around_seconds=given.around_seconds,
        warm_up_seconds=60 * (min(given.minutes / 6, 5) if warm_up is None else warm_up),
        sample_seconds=given.sample_seconds,
        capacity_seconds=given.capacity_seconds,
    )
    # What is started runs in sessions of its own: it has to be stopped when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="soak-") as folder:
        soaked = run(plan, Path(folder).resolve(), lambda text: print(text, file=sys.stderr, flush=True))
    found = trends(soaked.samples, plan.warm_up_seconds)
    wrong = problems(soaked, found)
    print(report(soaked, found))
    print("\n" + ("\n".join(f"wrong: {one}" for one in wrong) or "nothing is wrong"))
    if given.json:
        figures = {"machine": machine_facts(), "problems": wrong, "trends": [asdict(one) for one in found]}
        given.json.write_text(json.dumps(figures | asdict(soaked), indent=1))
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()

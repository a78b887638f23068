"""``python -m tests.deploy.pictures``: pictures of the dashboards, drawn by Grafana's own components."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from deploy.local.load import Load
from deploy.local.observed import Observed
from deploy.local.process import ROOT, LocalProcess, free_ports
from tests.deploy.alerts import photos
from tests.deploy.faults.processes import slowed
from tests.deploy.queries import ALERTS, DASHBOARDS, RULES
from tests.tiny_bundle import tiny_bundle_in

PAGE = ROOT / "deploy" / "grafana" / "page"
FLAGS = {
    "gateway": (
        "--profile-interval-seconds=5",
        "--recall-probe-interval-seconds=0.5",
        "--recall-probe-share=0.2",
    ),
    "hasher": ("--checkpoint-interval-seconds=10",),
}
EMPTY_WHEN_WELL = {
    "Refused",
    "Failed calls to shards",
    "Failed calls to the embedder",
    "Calls sent again",
}
"""Panels of failures, which have nothing to show while there are none."""


@contextmanager
def served(prometheus: str, folder: Path) -> Iterator[str]:
    """The page with the dashboards, for a Prometheus."""
    (port,) = free_ports(1)
    environment = {"PROMETHEUS": prometheus, "PORT": str(port)}
    vite = LocalProcess(
        [str(PAGE / "node_modules/.bin/vite"), "preview", str(PAGE)], folder / "vite.log", environment
    )
    vite.start()
    try:
        vite.wait_until(lambda: "Local:" in vite.said())
        yield f"http://127.0.0.1:{port}"
    finally:
        vite.stop()


def draw(page: str, out: Path, start: float, end: float) -> dict[str, dict[str, str]]:
    """Writes the pictures, and returns each dashboard's panels and what they show."""
    names = [file.stem for file in DASHBOARDS]
    command = ["node", str(PAGE / "shoot.mjs"), page, str(out), str(int(start)), str(int(end)), *names]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    states: dict[str, dict[str, str]] = json.loads(done.stdout)
    return states


def main() -> int:
    """Fails where a panel is in error, or is empty that should not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "dashboards")
    parser.add_argument("--seconds", type=float, default=120, help="how long the load goes on")
    parser.add_argument("--slow-shard", action="store_true", help="slow one shard down in the last third")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        observed = Observed(folder, tiny_bundle_in(folder), [RULES, ALERTS], flags=FLAGS)
        try:
            observed.start()
            start = time.time()
            with Load(observed.stack.gateway.target, photos()):
                time.sleep(arguments.seconds * 2 / 3)
                slow = (
                    slowed(observed.stack.hashers[-1], 0.08, 0.02) if arguments.slow_shard else nullcontext()
                )
                with slow:
                    time.sleep(arguments.seconds / 3)
            with served(observed.prometheus.url, folder) as page:
                states = draw(page, arguments.out, start, time.time())
        finally:
            observed.stop()
    wrong = [
        f"{dashboard}: {panel}: {state}"
        for dashboard, panels in states.items()
        for panel, state in panels.items()
        if state != "data" and not (state == "empty" and panel in EMPTY_WHEN_WELL)
    ]
    print(f"{sum(map(len, states.values()))} panels in {arguments.out}")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

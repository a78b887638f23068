"""``python -m deploy.local.observe``: an installation under load, watched by Prometheus, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from pathlib import Path

from deploy.local import triton
from deploy.local.load import Load
from deploy.local.observed import Observed
from deploy.local.process import ROOT
from deploy.local.prometheus import tool
from lookalike import synth
from lookalike.catalogue.catalog import read_catalog

RULES = ROOT / "deploy" / "prometheus"


def main() -> int:
    """Prints where everything listens, and what became of the load each ten seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="the model to serve")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the rates of all requests")
    parser.add_argument("--seconds", type=float, help="end by itself after so long")
    arguments = parser.parse_args()
    if not tool("prometheus"):
        print("prometheus is not installed; make prometheus-install gets it", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalog = read_catalog(synth.generate(folder / "catalogue", products=30, views=2, seed=1))
        photos = [Path(item.image_path).read_bytes() for item in catalog.items]
        rules = [RULES / "rules" / "lookalike.yaml", RULES / "alerts" / "lookalike.yaml"]
        observed = Observed(folder, arguments.bundle.resolve(), rules, with_triton=triton.is_installed())
        try:
            observed.start()
            _print_addresses(observed)
            with Load(observed.stack.gateway.target, photos, arguments.scale) as load:
                _wait(load, arguments.seconds)
        except KeyboardInterrupt:
            pass
        finally:
            observed.stop()
    return 0


def _print_addresses(observed: Observed) -> None:
    print(f"Prometheus  {observed.prometheus.url}  (alerts: {observed.prometheus.url}/alerts)")
    print(f"gateway     {observed.stack.gateway.target}")
    for job, addresses in observed.targets().items():
        for address in addresses:
            print(f"metrics     http://{address}/metrics  ({job})")
    print("Dashboards for a Grafana with this Prometheus: deploy/grafana/dashboards. Ctrl-C ends.")


def _wait(load: Load, seconds: float | None) -> None:
    ended, left = threading.Event(), seconds
    while left is None or left > 0:
        pause = 10.0 if left is None else min(left, 10.0)
        ended.wait(pause)
        left = None if left is None else left - pause
        wrong = {kind: count for kind, count in load.outcomes.items() if kind[1] != "ok"}
        print(f"{load.outcomes.total()} requests, not ok: {wrong or 'none'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

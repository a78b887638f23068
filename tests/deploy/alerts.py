"""``python -m tests.deploy.alerts``: each alert fires for its fault in real processes, and resolves."""

from __future__ import annotations

import argparse
import io
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from deploy.local.load import Load
from deploy.local.observed import Observed
from deploy.local.prometheus import PrometheusServer
from tests.deploy.faults.known import FAULTS, FLAGS, Fault
from tests.deploy.faults.site import DISK_BYTES, Site
from tests.deploy.queries import ALERTS, RULES, rules
from tests.deploy.scaled import scaled
from tests.small_disk import small_disk
from tests.tiny_bundle import tiny_bundle_in

FIRE_SECONDS = 60.0
RESOLVE_SECONDS = 90.0


@dataclass
class Outcome:
    """What became of one fault."""

    fault: Fault
    fired: dict[str, float] = field(default_factory=dict)
    """Alert → seconds from the fault until it fired; those that the fault names and others."""
    resolved: dict[str, float] = field(default_factory=dict)
    """Alert → seconds from the fault's end until it no longer fired."""
    skipped: str = ""

    @property
    def is_right(self) -> bool:
        """Whether all alerts that had to fire did, and everything resolved."""
        return bool(self.skipped) or (
            set(self.fault.alerts) <= self.fired.keys() and set(self.fault.alerts) <= self.resolved.keys()
        )


def photos(count: int = 20) -> list[bytes]:
    """Returns JPEGs of coloured tiles."""
    files = []
    for seed in range(count):
        tiles = np.random.default_rng(seed).integers(0, 255, (4, 6, 3)).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(np.kron(tiles, np.ones((40, 40, 1), np.uint8))).save(file, "JPEG")
        files.append(file.getvalue())
    return files


def see(fault: Fault, site: Site) -> Outcome:
    """Does one fault until its alerts fire, ends it, and waits until they no longer do."""
    prometheus, outcome, wanted = site.observed.prometheus, Outcome(fault), set(fault.alerts)
    quiet(prometheus, wanted)
    before = prometheus.firing().keys()
    start = time.monotonic()
    with fault.inject(site):
        deadline = time.monotonic() + FIRE_SECONDS
        while not wanted <= outcome.fired.keys() and time.monotonic() < deadline:
            for name in prometheus.firing().keys() - before:
                outcome.fired.setdefault(name, time.monotonic() - start)
            time.sleep(0.2)
    end = time.monotonic()
    for name in sorted(wanted & outcome.fired.keys()):
        if quiet(prometheus, {name}):
            outcome.resolved[name] = time.monotonic() - end
    return outcome


def quiet(prometheus: PrometheusServer, names: Set[str]) -> bool:
    """Waits until these alerts do not fire, and returns whether that came to be."""
    deadline = time.monotonic() + RESOLVE_SECONDS
    while names & prometheus.firing().keys():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def healthy(observed: Observed, folder: Path, seconds: float) -> list[set[str]]:
    """Watches a healthy installation, and returns what fired: of the rules, and of those of short durations.

    The latter look at a few seconds, in which a machine with other work to do may well be slow.
    """
    folder.mkdir()
    true = PrometheusServer(folder, [RULES, ALERTS])
    true.scrape(observed.targets())
    true.start()
    servers, names = (true, observed.prometheus), {rule["alert"] for rule in rules(ALERTS)}
    fired: list[set[str]] = [set(), set()]
    try:
        for prometheus in servers:
            quiet(prometheus, names)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for prometheus, seen in zip(servers, fired, strict=True):
                seen |= prometheus.firing().keys()
            time.sleep(0.5)
    finally:
        true.stop()
    return fired


def row(outcome: Outcome) -> Iterator[str]:
    """Yields a row for each alert of a fault."""
    for alert in outcome.fault.alerts:
        fired, resolved = outcome.fired.get(alert), outcome.resolved.get(alert)
        yield (
            f"| {alert} | {outcome.fault.what} |"
            f" {outcome.skipped or ('no' if fired is None else f'{fired:.0f} s')} |"
            f" {'no' if resolved is None else f'{resolved:.0f} s'} |"
            f" {', '.join(sorted(outcome.fired.keys() - set(outcome.fault.alerts)))} |"
        )


def run(site: Site, faults: Sequence[Fault], has_disk: bool) -> list[Outcome]:
    """Does one fault after the other, and prints what came of each."""
    print("| alert | fault | fired after | resolved after | fired as well |", flush=True)
    print("|---|---|---|---|---|", flush=True)
    outcomes = []
    for fault in faults:
        lacking = not has_disk if fault.needs == "mount" else fault.needs and not shutil.which(fault.needs)
        outcomes.append(Outcome(fault, skipped=f"skipped: no {fault.needs}") if lacking else see(fault, site))
        print("\n".join(row(outcomes[-1])), flush=True)
    return outcomes


@contextmanager
def site_of(folder: Path) -> Iterator[tuple[Site, bool]]:
    """An installation under load, with rules of short durations; and whether its last shard has its disk."""
    for name in ("bundle", "other"):
        (folder / name).mkdir()
    bundle, other = tiny_bundle_in(folder / "bundle"), tiny_bundle_in(folder / "other", seed=1)
    files = [scaled(path, folder / f"{path.parent.name}.yaml") for path in (RULES, ALERTS)]
    observed = Observed(folder, bundle, files, flags=FLAGS)
    with small_disk(observed.stack.shard_folder(1), DISK_BYTES) as has_disk:
        try:
            observed.start()
            with Load(observed.stack.gateway.target, photos()) as load:
                yield Site(observed, load, bundle, other, photos(1)), has_disk
                print(dict(load.outcomes))
        finally:
            observed.stop()


def main() -> int:
    """Prints the table; fails where an alert did not fire, did not resolve, or fired without a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--healthy-seconds", type=float, default=600, help="load without a fault first")
    parser.add_argument("--only", default="", help="alerts, separated by commas")
    arguments = parser.parse_args()
    only = set(filter(None, arguments.only.split(",")))
    faults = [fault for fault in FAULTS if not only or only & set(fault.alerts)]
    with (
        tempfile.TemporaryDirectory() as name,
        site_of(Path(name)) as (site, has_disk),
    ):
        unasked, of_short = healthy(site.observed, Path(name) / "true", arguments.healthy_seconds)
        print(f"{arguments.healthy_seconds:.0f} s of healthy load: {unasked or 'nothing'} fired", flush=True)
        print(f"of the rules with short durations: {of_short or 'nothing'}", flush=True)
        outcomes = run(site, faults, has_disk)
    names = {rule["alert"] for rule in rules(ALERTS)}
    unproven = names - {alert for outcome in outcomes if outcome.is_right for alert in outcome.fault.alerts}
    if not only:
        print(f"without a fault that makes them fire: {sorted(unproven) or 'none'}")
    return 1 if unasked or not all(outcome.is_right for outcome in outcomes) else 0


if __name__ == "__main__":
    # Whatever it is ended by, it ends what it has started.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    sys.exit(main())

"""An installation that a real Prometheus scrapes each second, with Triton as the embedder's backend."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from deploy.local.prometheus import PrometheusServer
from deploy.local.stack import Server, Stack
from deploy.local.triton import TritonServer

START_SECONDS = 30.0


class Observed:
    """A stack, Prometheus, and Triton.

    Args:
        folder: Gets all data and logs.
        bundle: The model.
        rules: Files of rules for Prometheus.
        with_triton: Encode photos in Triton; otherwise in the embedder.
        flags: Service → further settings.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Path,
        rules: Sequence[Path] = (),
        *,
        with_triton: bool = True,
        flags: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._bundle = bundle
        flags = dict(flags or {})
        self.triton = TritonServer(folder) if with_triton else None
        if self.triton:
            own = flags.get("embedder", ())
            flags["embedder"] = (*self.triton.embedder_flags, *own)
        self.stack = Stack(folder, bundle, flags=flags)
        self.prometheus = PrometheusServer(folder, rules)
        self.further: list[Server] = []
        """Embedders that are scraped as well."""

    def start(self) -> Self:
        """Starts everything, and waits until each target was scraped."""
        if self.triton:
            self.triton.start(self.triton.export(self._bundle))
        self.stack.start()
        self.prometheus.start()
        self.scrape()
        return self

    def scrape(self) -> None:
        """Lets Prometheus scrape all that there is by now, and waits until it has reached each."""
        targets = self.targets()
        self.prometheus.scrape(targets)
        deadline = time.monotonic() + START_SECONDS
        while self.prometheus.healthy_targets() < sum(map(len, targets.values())):
            assert time.monotonic() < deadline, "a target is not reached"
            time.sleep(0.1)

    def targets(self) -> dict[str, list[str]]:
        """Returns the addresses that serve metrics, by job."""
        servers: dict[str, list[Server]] = {
            "gateway": [self.stack.gateway],
            "hasher": self.stack.hashers,
            "embedder": [self.stack.embedder, *self.further],
        }
        targets = {
            f"lookalike-{service}": [f"127.0.0.1:{server.metrics_port}" for server in of_service]
            for service, of_service in servers.items()
        }
        if self.triton:
            targets["lookalike-triton"] = [self.triton.metrics_address]
        return targets

    def stop(self) -> None:
        """Stops everything."""
        self.prometheus.stop()
        for server in self.further:
            if server.is_running():
                server.stop()
        self.stack.stop()
        if self.triton:
            self.triton.stop()

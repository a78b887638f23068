"""The images that `make images` built, installed with the chart on a node that runs them."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from deploy.local.kube import Cluster
from deploy.local.node import Node
from deploy.local.process import ROOT
from tests.deploy.chart.rendering import values_of
from tests.deploy.releases import OBJECTS, Release
from tests.kube.load import TIMEOUT_SECONDS, counted

IMAGES = ROOT / "build" / "images"
BUNDLE = ROOT / "build" / "bundles" / "efficientnet-lite0"
SERVICES = ("gateway", "hasher", "embedder")
COLLECTION = "photos"
_SETTLE_SECONDS = 5.0

Object = dict[str, Any]


def problem() -> str:
    """Why there is nothing to install, or nothing."""
    for service in SERVICES:
        if not (IMAGES / f"lookalike-{service}.tar").exists():
            return f"build/images lacks lookalike-{service}.tar, which `make images` builds"
    return "" if BUNDLE.exists() else f"{BUNDLE} is missing, which `make setup` exports"


class Installation:
    """The laptop example with two shards and two embedders, and searches that go on all the time.

    Args:
        cluster: Where.
        node: The node that runs the pods.
        tag: Of the images.
    """

    def __init__(self, cluster: Cluster, node: Node, tag: str) -> None:
        self.cluster = cluster
        self.node = node
        self.release = Release(
            cluster,
            *values_of("laptop"),
            "--set=image.registry=localhost,image.pullPolicy=Never",
            f"--set-string=image.tag={tag}",
            "--set=models.source=claim,models.claim=lookalike-models",
            "--set=hasher.shardCount=2,embedder.replicas=2",
            add_volume=node.add_volume,
        )
        self._searches = cluster.folder / "searches.jsonl"

    def install(self) -> None:
        """Installs it, and waits until the pods' own probes let them be ready."""
        for service in SERVICES:
            self.node.load(IMAGES / f"lookalike-{service}.tar")
        self.release.add_models()
        shutil.copytree(BUNDLE, self.node.volumes / "volume-1" / "bundle")
        self.release.install()

    @property
    def target(self) -> str:
        """The gateway's address in the cluster."""
        return f"{self.release.get('service', f'{OBJECTS}-gateway')['spec']['clusterIP']}:7700"

    def python(self, *arguments: str) -> str:
        """Runs a module of the tests where services can be reached."""
        return self.cluster.inside.run(sys.executable, "-m", *arguments, timeout_seconds=120.0).stdout

    def start_searches(self) -> None:
        """Fills a collection, and searches it from now on."""
        self.python("tests.kube.fill", self.target, COLLECTION)
        self.cluster.run_server(
            "searches",
            sys.executable,
            *("-m", "tests.kube.load", self.target, COLLECTION, str(self._searches)),
        )

    def stop_searches(self) -> None:
        """Ends the searches, and checks that every product still finds itself."""
        self.cluster.processes["searches"].kill()
        self.python("tests.kube.fill", self.target, COLLECTION)

    def pod(self, component: str) -> Object:
        """One of a component's pods."""
        return self.release.pods(component)[0]

    def wait_until_ready(self, timeout_seconds: float = 120.0) -> None:
        """Waits until all pods that are wanted are ready."""
        self.cluster.wait_for(self._is_ready, "readiness of all pods", timeout_seconds)

    def _is_ready(self) -> bool:
        wanted = {"gateway": 1, "hasher": 2, "embedder": 2}
        return all(len(self.release.ready(name)) == count for name, count in wanted.items())

    def wait_until_restarted(self, before: Object) -> Object:
        """Waits until a pod's container has been started once more, and returns how the last one ended."""

        def status() -> Object:
            pod = self.release.get("pod", before["metadata"]["name"])
            return dict(pod["status"]["containerStatuses"][0])

        count = before["status"]["containerStatuses"][0]["restartCount"]
        # The kubelet waits longer each time before it starts a container that has ended again and again.
        self.cluster.wait_for(lambda: status()["restartCount"] > count, "restart of a container", 240.0)
        return dict(status()["lastState"]["terminated"])

    def measure(self, action: Callable[[], object]) -> tuple[float, dict[str, Counter[str]]]:
        """Does something while searches go on, and waits until all is well again.

        Returns:
            Seconds until all pods were ready, and by how they were sent what became of the searches that were
            sent until 5 s later.
        """
        start = time.monotonic()
        action()
        self.wait_until_ready()
        ready = time.monotonic()
        time.sleep(_SETTLE_SECONDS)
        end = time.monotonic()
        time.sleep(TIMEOUT_SECONDS)
        lines = self._searches.read_text().splitlines()
        return ready - start, {how: counted(lines, how, start, end) for how in ("once", "client")}

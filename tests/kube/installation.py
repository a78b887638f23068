"""The images that `make images` built, installed with the chart on a node that runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from deploy.local.isolated import ADDRESS, Isolated, IsolatedProcess
from deploy.local.kube import Cluster
from deploy.local.node import Node
from deploy.local.process import ROOT
from tests.deploy.chart.rendering import values_of
from tests.deploy.releases import OBJECTS, Release
from tests.kube import h2load, images
from tests.kube.load import TIMEOUT_SECONDS, counted

COLLECTION = "photos"
WAYS = ("h2load", "once", "client")
"""How searches are sent."""
_SETTLE_SECONDS = 5.0
_TRITON = (
    "--set=models.source=claim,models.claim=lookalike-models,embedder.backend=triton",
    f"--set=triton.image.repository=tritonserver,triton.image.tag={images.TRITON_TAG}",
    # A small part of a node without GPUs, as in the laptop example.
    "--set=triton.gpus=0,triton.resources.requests.cpu=100m,triton.resources.requests.memory=512Mi",
)

Object = dict[str, Any]


class Installation:
    """The laptop example with two shards and two embedders, and searches from outside that go on and on.

    Args:
        cluster: Where.
        node: The node that runs the pods.
    """

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.cluster = cluster
        self.node = node
        self.release = Release(
            cluster,
            *values_of("laptop"),
            "--set=gateway.service.type=NodePort",
            "--set=hasher.shardCount=2,embedder.replicas=2",
            add_volume=node.add_volume,
        )
        self._wanted = {"gateway": 1, "hasher": 2, "embedder": 2}
        self._searches = cluster.folder / "searches.jsonl"
        self._senders: list[IsolatedProcess] = []

    def load_images(self) -> None:
        """Makes all images known to the node."""
        for archive in (*images.services(), images.models(), images.triton()):
            self.node.load(archive)

    def install(self) -> None:
        """Installs it, and waits until the pods' own probes let them be ready."""
        self.release.install()

    def add_model_volume(self) -> None:
        """Makes a volume with the bundle and a repository for Triton, and the claim for it."""
        self.release.add_models()
        [volume] = [one for one in self.cluster.get("pv") if "ReadOnlyMany" in one["spec"]["accessModes"]]
        folder = self.node.volumes / volume["metadata"]["name"]
        shutil.copytree(images.BUNDLE, folder / "bundle")
        export = ["export", f"--bundle={folder / 'bundle'}", f"--triton={folder / 'triton'}"]
        command = [sys.executable, "-m", "lookalike.cli", *export, "--backend=python", "--threads=1"]
        subprocess.run([*command, "--max-batch=2"], cwd=ROOT, check=True, capture_output=True)

    def use_triton(self, placement: str) -> None:
        """Lets the embedders compute in Triton from now on, in their pods or in its own."""
        self.release.upgrade(*_TRITON, f"--set=triton.placement={placement}", timeout="230s")
        self._wanted["triton"] = 1 if placement == "deployment" else 0

    @property
    def target(self) -> str:
        """The gateway's address outside of the cluster."""
        [port] = self.release.get("service", f"{OBJECTS}-gateway")["spec"]["ports"]
        return f"{ADDRESS}:{port['nodePort']}"

    def python(self, *arguments: str, where: Isolated | None = None) -> str:
        """Runs a module of the tests, outside of the node unless told where."""
        where = where or self.node.outside
        return where.run(sys.executable, "-m", *arguments, timeout_seconds=120.0).stdout

    def fill(self) -> None:
        """Fills a collection, if it is not there, and checks that every product finds itself."""
        self.python("tests.kube.fill", self.target, COLLECTION)

    def start_searches(self) -> None:
        """Searches the collection from now on."""
        for module in ("load", "h2load"):
            command = [sys.executable, "-m", f"tests.kube.{module}"]
            command += [self.target, COLLECTION, str(self._searches)]
            sender = IsolatedProcess(self.node.outside, command, self.cluster.folder / f"{module}.log")
            self._senders.append(sender.start())

    def stop_searches(self) -> None:
        """Ends the searches."""
        for sender in self._senders:
            sender.kill()

    def handled(self) -> Counter[str]:
        """How many searches the gateway has answered with each code, as it counts them itself."""
        pod = self.pod("gateway")["metadata"]
        path = f"/api/v1/namespaces/{pod['namespace']}/pods/{pod['name']}:9700/proxy/metrics"
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(self.release.kubectl("get", f"--raw={path}")):
            for sample in family.samples:
                if sample.name == "grpc_server_handled_total" and sample.labels["grpc_method"] == "Search":
                    found[sample.labels["grpc_code"]] += round(sample.value)
        return +found

    def pod(self, component: str) -> Object:
        """One of a component's pods."""
        return self.release.pods(component)[0]

    def wait_until_ready(self, timeout_seconds: float = 120.0) -> None:
        """Waits until all pods that are wanted are ready."""
        self.cluster.wait_for(self._is_ready, "readiness of all pods", timeout_seconds)

    def _is_ready(self) -> bool:
        return all(len(self.release.ready(name)) == count for name, count in self._wanted.items())

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
            Seconds until all pods were ready, and for each of ``WAYS`` what became of the searches that were
            sent until 5 s later.
        """
        start = time.monotonic()
        action()
        self.wait_until_ready()
        ready = time.monotonic()
        time.sleep(_SETTLE_SECONDS)
        end = time.monotonic()
        # A run of h2load has further requests, and may have to be ended.
        time.sleep(h2load.SECONDS + TIMEOUT_SECONDS + 2.0)
        for sender in self._senders:
            assert sender.is_running(), sender.said()
        lines = self._searches.read_text().splitlines()
        return ready - start, {how: counted(lines, how, start, end) for how in WAYS}

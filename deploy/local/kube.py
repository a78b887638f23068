"""A Kubernetes cluster on this machine: a real control plane, and nodes that kwok pretends to run.

``make kube-tools`` builds its programs. Nothing runs in pods on such nodes: they turn ready at once. What is
tested is what the API server, the controllers, the scheduler and helm do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local.isolated import ADDRESS, Isolated, IsolatedProcess, is_possible
from deploy.local.kube_objects import (
    METRICS_PORT,
    Object,
    as_list,
    metrics_apis,
    metrics_service,
    node,
    volume,
)
from deploy.local.process import ROOT

TOOLS = ROOT / "build" / "tools"
START_SECONDS = 120.0
_POLL_SECONDS = 0.1
_API = "https://127.0.0.1:6443"
_TOKEN = "of-a-cluster-in-a-test"


def problem() -> str:
    """Returns why no cluster can be started here, or nothing."""
    missing = [
        name for name in ("kubecp", "helm", "kwok", "crds", "stages.yaml") if not (TOOLS / name).exists()
    ]
    if missing:
        return f"build/tools lacks {', '.join(missing)}, which `make kube-tools` builds"
    return "" if is_possible() else "only root may make namespaces for a cluster"


class Cluster:
    """A control plane in namespaces of its own, without any node at first.

    Args:
        folder: Gets its data, certificates and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inside = Isolated()
        self.processes: dict[str, IsolatedProcess] = {}
        self.kubeconfig = folder / "kubeconfig"
        self._metrics: ServedMetrics | None = None
        self._volumes = 0

    def start(self) -> None:
        """Starts it, and waits until its API server is ready.

        Raises:
            RuntimeError: It does not start; the message holds a log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_secrets()
        self.inside.start()
        self.run_server("etcd", str(TOOLS / "kubecp"), "etcd", *self._etcd())
        api_server = self.run_server(
            "kube-apiserver", str(TOOLS / "kubecp"), "kube-apiserver", *self._api_server()
        )
        api_server.wait_until(self._is_ready, START_SECONDS)
        for name, arguments in (
            ("kube-controller-manager", self._controllers()),
            ("kube-scheduler", [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false"]),
        ):
            self.run_server(name, str(TOOLS / "kubecp"), name, *arguments)
        self.run_server("kwok", str(TOOLS / "kwok"), *self._kwok())

    def stop(self) -> None:
        """Ends all that runs in it; its files stay."""
        self.inside.stop()
        for process in self.processes.values():
            process.kill()

    def run_server(self, name: str, *command: str) -> IsolatedProcess:
        """Starts a server in the cluster's namespaces."""
        process = IsolatedProcess(self.inside, command, self.folder / f"{name}.log")
        self.processes[name] = process
        return process.start()

    def kubectl(self, *arguments: str, stdin: str = "", timeout_seconds: float = 120.0) -> str:
        """Runs kubectl, and returns what it writes.

        Raises:
            RuntimeError: It failed; the message holds what it wrote.
        """
        return self._kubectl(*arguments, stdin=stdin, timeout_seconds=timeout_seconds).stdout

    def _kubectl(
        self, *arguments: str, stdin: str = "", timeout_seconds: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        command = (str(TOOLS / "kubecp"), "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments)
        return self.inside.run(*command, stdin=stdin, timeout_seconds=timeout_seconds)

    def helm(self, *arguments: str, timeout_seconds: float = 240.0) -> str:
        """Runs helm, and returns what it writes.

        Raises:
            RuntimeError: It failed; the message holds what it wrote.
        """
        settings = [f"HELM_{name}_HOME={self.folder / 'helm'}" for name in ("CACHE", "CONFIG", "DATA")]
        command = ("env", *settings, str(TOOLS / "helm"), f"--kubeconfig={self.kubeconfig}", *arguments)
        return self.inside.run(*command, timeout_seconds=timeout_seconds).stdout

    def get(self, *arguments: str) -> Any:
        """Returns an object, or a list of them: ``get("pods", "--selector=...")``."""
        found = json.loads(self.kubectl("get", "--output=json", *arguments))
        return found["items"] if found["kind"] == "List" else found

    def apply(self, *objects: Object) -> None:
        """Makes or changes objects."""
        self.kubectl("apply", "--server-side", "--filename=-", stdin=as_list(*objects))

    def check(self, manifest: str, *arguments: str) -> str:
        """Lets the API server look at a manifest without keeping it, and returns its warnings.

        Raises:
            RuntimeError: It refuses the manifest; the message says why.
        """
        arguments = ("apply", "--dry-run=server", "--validate=strict", "--filename=-", *arguments)
        return self._kubectl(*arguments, stdin=manifest).stderr

    def drain(self, node_name: str, timeout_seconds: float = 30.0) -> str:
        """Evicts all pods of a node, which gets no new ones, and returns what kubectl writes.

        Raises:
            RuntimeError: The time is up: a disruption budget holds one back.
        """
        timeout = f"--timeout={timeout_seconds:g}s"
        command = ("drain", node_name, "--ignore-daemonsets", "--delete-emptydir-data", timeout)
        return self.kubectl(*command, timeout_seconds=timeout_seconds + 30)

    def add_nodes(self, count: int) -> None:
        """Adds nodes that kwok runs, each in a zone of its own, and waits until they are ready."""
        self.apply(*(node(number) for number in range(1, count + 1)))
        self.kubectl("wait", "--for=condition=Ready", "node", "--selector=type=kwok", "--timeout=60s")

    def add_crds(self) -> None:
        """Makes the kinds of prometheus-operator known."""
        self.kubectl("apply", "--server-side", f"--filename={(TOOLS / 'crds').resolve()}")
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")

    def add_volume(self, claim: Object) -> None:
        """Adds a volume for a claim of this specification: nothing provisions any here."""
        self._volumes += 1
        self.apply(volume(self._volumes, claim))

    def served_metrics(self) -> ServedMetrics:
        """Returns the metrics that autoscalers get, which the cluster serves from the first call on."""
        if self._metrics is None:
            self._metrics = ServedMetrics(self)
        return self._metrics

    def wait_for(self, happened: Callable[[], bool], what: str, timeout_seconds: float = 60.0) -> None:
        """Waits until something has happened.

        Raises:
            RuntimeError: The time is up.
        """
        deadline = time.monotonic() + timeout_seconds
        while not happened():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not happen within {timeout_seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        try:
            return self.kubectl("get", "--raw=/readyz", timeout_seconds=10.0) == "ok"
        except RuntimeError:
            return False

    def _write_secrets(self) -> None:
        subprocess.run(
            ["openssl", "genrsa", "-out", self.folder / "accounts.key", "2048"],
            check=True,
            capture_output=True,
        )
        (self.folder / "tokens.csv").write_text(f"{_TOKEN},admin,admin,system:masters\n")
        cluster = {"server": _API, "insecure-skip-tls-verify": True}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": _TOKEN}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "admin"}}],
            "current-context": "local",
        }
        self.kubeconfig.write_text(json.dumps(configuration))

    def _etcd(self) -> list[str]:
        return [f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"]

    def _api_server(self) -> list[str]:
        return [
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            f"--service-account-key-file={self.folder / 'accounts.key'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            # Else the API server would use addresses of services, which need a proxy that is not there.
            "--enable-aggregator-routing=true",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _controllers(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            f"--service-account-private-key-file={self.folder / 'accounts.key'}",
            f"--root-ca-file={self.folder / 'certificates' / 'apiserver.crt'}",
            # A busy machine must not make nodes fail.
            "--node-monitor-grace-period=10m",
            "--horizontal-pod-autoscaler-sync-period=1s",
        ]

    def _kwok(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig}",
            f"--config={TOOLS / 'stages.yaml'}",
            "--manage-nodes-with-label-selector=type=kwok",
            "--node-lease-duration-seconds=40",
            "--node-ip=127.0.0.1",
            "--node-port=10247",
            "--server-address=127.0.0.1:10247",
            "--cidr=10.245.0.0/16",
        ]


class ServedMetrics:
    """Metrics of pods as a metrics adapter would serve them; every pod has the same value.

    Args:
        cluster: Gets the APIs ``metrics.k8s.io`` and ``custom.metrics.k8s.io``.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._values = cluster.folder / "metrics.json"
        self.set()
        certificates = cluster.folder / "certificates"
        cluster.run_server(
            "metrics",
            sys.executable,
            "-m",
            "deploy.local.served_metrics",
            f"{ADDRESS}:{METRICS_PORT}",
            str(self._values),
            str(certificates / "apiserver.crt"),
            str(certificates / "apiserver.key"),
            _API,
            _TOKEN,
        )
        cluster.apply(*metrics_service(), *metrics_apis())
        cluster.kubectl("wait", "--for=condition=Available", "apiservice", "--all", "--timeout=60s")

    def set(self, **values: str) -> None:
        """Gives each pod these values: ``set(cpu="900m", in_flight="12")``."""
        changed = self._values.with_suffix(".new")
        changed.write_text(json.dumps(values))
        changed.rename(self._values)


@contextmanager
def cluster(folder: Path, nodes: int = 3) -> Iterator[Cluster]:
    """Runs a cluster with fake nodes and the kinds of prometheus-operator."""
    made = Cluster(folder)
    try:
        made.start()
        made.add_crds()
        made.add_nodes(nodes)
        yield made
    finally:
        made.stop()

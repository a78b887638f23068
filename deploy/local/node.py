"""A node that really runs containers, for a cluster of ``deploy.local.kube``.

``deploy/tools/build.sh pause coredns`` builds what it needs besides the cluster's programs; containerd, runc
and the network plugins are Debian's. Its network is one bridge, on which NetworkPolicies do nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from deploy.local.isolated import ADDRESS, Isolated, IsolatedProcess
from deploy.local.kube import START_SECONDS, TOOLS, Cluster
from deploy.local.kube_objects import Object, volume
from deploy.local.node_files import PAUSE, PODS, bridge, containerd, corefile, kubelet

NAME = "real-1"
_CGROUPS = Path("/sys/fs/cgroup")
_PREFIX = "lookalike-kube-"
_BRIDGE = "10.244.0.1/24"
_SERVICES = "10.96.0.0/16"
_CABLE = ("198.51.100.1", "198.51.100.2")


def problem() -> str:
    """Returns why no node can be started here, or nothing."""
    if missing := [name for name in ("containerd", "ctr", "nft", "runc") if not shutil.which(name)]:
        return f"{', '.join(missing)} not found; `make kube-install` installs them"
    if not Path("/usr/lib/cni/bridge").exists():
        return "the network plugins (/usr/lib/cni) are missing; `make kube-install` installs them"
    if missing := [name for name in ("pause", "coredns") if not (TOOLS / name).exists()]:
        return f"build/tools lacks {', '.join(missing)}, which `make kube-install` builds"
    return "" if (_CGROUPS / "memory").is_dir() else "the node needs control groups of version 1"


class Node:
    """The machine itself as a node of a cluster.

    Args:
        cluster: Gets it.

    Attributes:
        outside: As if it were another machine: over a cable it reaches the node's address, no service or pod.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.outside = Isolated(address="")
        self.folder = cluster.folder / "node"
        self.volumes = self.folder / "volumes"
        # Of no other cluster that runs at the same time.
        self._cgroup = f"{_PREFIX}{os.getpid()}"
        self._volume_count = 0

    def start(self) -> None:
        """Starts it, and waits until it is ready.

        Raises:
            RuntimeError: It does not get ready; the message holds a log.
        """
        remove_cgroups()
        self.folder.mkdir(exist_ok=True)
        self._write_files()
        self._make_network()
        self._start_servers()

    def stop(self) -> None:
        """Ends what runs in its pods and outside; the rest ends with the cluster."""
        self.lose()
        self.outside.stop()
        remove_cgroups()

    def lose(self) -> None:
        """Ends everything on it at once, as the loss of its power would."""
        for name in ("kubelet", "containerd", "kube-proxy"):
            if name in self.cluster.processes:
                self.cluster.processes[name].kill()
        while pids := set(_processes(self._cgroup)):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def come_back(self) -> None:
        """Starts it again after its loss, and waits until it is ready."""
        self._start_servers()

    def load(self, archive: Path) -> None:
        """Makes the images of an archive (``docker-archive`` or OCI) known."""
        self._ctr("images", "import", str(archive))

    def processes(self, pod: Object) -> list[int]:
        """Returns what runs in the first container of a pod, its server first, as this machine numbers it."""
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        [group] = (_CGROUPS / "memory" / self._cgroup).rglob(container)
        return sorted(map(int, (group / "cgroup.procs").read_text().split()))

    def add_volume(self, claim: Object) -> None:
        """Adds a volume on this node for a claim of this specification."""
        self._volume_count += 1
        made = volume(self._volume_count, claim)
        folder = self.volumes / made["metadata"]["name"]
        folder.mkdir(parents=True)
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}
        # Unlike of hostPath, the kubelet gives the files of such a volume to the pod's group.
        del made["spec"]["hostPath"]
        made["spec"]["local"] = {"path": str(folder)}
        made["spec"]["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
        self.cluster.apply(made)

    def _ctr(self, *arguments: str) -> str:
        command = ("ctr", f"--address={self.folder / 'containerd.sock'}", "--namespace=k8s.io", *arguments)
        return self.cluster.inside.run(*command, timeout_seconds=300.0).stdout

    def _start_servers(self) -> None:
        started = datetime.now(UTC)
        runtime = self._run("containerd", "containerd", f"--config={self.folder / 'containerd.toml'}")
        runtime.wait_until(self._has_containerd, START_SECONDS)
        self.load(self.folder / "pause.tar")
        kubeconfig = f"--kubeconfig={self.cluster.kubeconfig}"
        kubelet = self._run(
            "kubelet",
            *(str(TOOLS / "kubecp"), "kubelet", kubeconfig),
            f"--config={self.folder / 'kubelet.json'}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
        )
        self._run(
            "kube-proxy",
            *(str(TOOLS / "kubecp"), "kube-proxy", kubeconfig),
            "--proxy-mode=nftables",
            "--bind-address=127.0.0.1",
            f"--cluster-cidr={PODS}",
            f"--hostname-override={NAME}",
            # It has no right to set these.
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        )
        if "coredns" not in self.cluster.processes:
            self._run("coredns", str(TOOLS / "coredns"), f"-conf={self.folder / 'Corefile'}")

        def is_ready() -> bool:
            # containerd answers before its part for the kubelet does, without which the kubelet ends.
            if not kubelet.is_running():
                kubelet.start()
            return self._is_ready(started)

        self.cluster.wait_for(is_ready, "readiness of the node", START_SECONDS)

    def _run(self, name: str, *command: str) -> IsolatedProcess:
        return self.cluster.run_server(name, *command)

    def _has_containerd(self) -> bool:
        with suppress(RuntimeError):
            self._ctr("version")
            return True
        return False

    def _is_ready(self, since: datetime) -> bool:
        with suppress(RuntimeError):
            lease = self.cluster.get("lease", NAME, "--namespace=kube-node-lease")
            # Until the kubelet is back, the node's last state stands.
            if datetime.fromisoformat(lease["spec"]["renewTime"]) < since:
                return False
            conditions = self.cluster.get("node", NAME)["status"]["conditions"]
            return {"Ready": "True"}.items() <= {one["type"]: one["status"] for one in conditions}.items()
        return False

    def _make_network(self) -> None:
        run = self.cluster.inside.run
        for path in ("/run/containerd", "/run/netns", "/var/lib/cni"):
            Path(path).mkdir(parents=True, exist_ok=True)
            run("mount", "-t", "tmpfs", "none", path)
        run("ip", "link", "add", "cni0", "type", "bridge")
        run("ip", "addr", "add", _BRIDGE, "dev", "cni0")
        run("ip", "link", "set", "cni0", "up")
        # Services then answer in here, too, and not only in pods.
        run("ip", "route", "add", _SERVICES, "dev", "cni0")
        run("sysctl", "-q", "net.ipv4.ip_forward=1")
        self.outside.start()
        here, there = _CABLE
        self.cluster.inside.connect(self.outside, f"{here}/24", f"{there}/24")
        self.outside.run("ip", "route", "add", f"{ADDRESS}/32", "via", here)

    def _write_files(self) -> None:
        (self.folder / "containerd.toml").write_text(containerd(self.folder))
        (self.folder / "net.d").mkdir(exist_ok=True)
        (self.folder / "net.d" / "bridge.conflist").write_text(json.dumps(bridge()))
        (self.folder / "kubelet.json").write_text(json.dumps(kubelet(self.folder, self._cgroup)))
        (self.folder / "Corefile").write_text(corefile(self.cluster.kubeconfig))
        write_archive(self.folder / "pause.tar", PAUSE, TOOLS / "pause")
        for controller in _CGROUPS.iterdir():
            with suppress(OSError):
                (controller / self._cgroup).mkdir()
                # Nothing may run in a group that has no processors and no memory.
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if (controller / name).exists():
                        (controller / self._cgroup / name).write_text((controller / name).read_text())


@contextmanager
def real_cluster(folder: Path) -> Iterator[tuple[Cluster, Node]]:
    """Runs a cluster with one node that runs containers."""
    made = Cluster(folder)
    node = Node(made)
    try:
        made.start()
        made.add_crds()
        node.start()
        yield made, node
    finally:
        node.stop()
        made.stop()
        remove_cgroups()


def remove_cgroups() -> None:
    """Removes control groups of nodes that are gone, also of those that were killed."""
    for group in _CGROUPS.glob(f"*/{_PREFIX}*"):
        for folder, _, _ in os.walk(group, topdown=False):
            # One of a node that runs stays: it is busy.
            with suppress(OSError):
                Path(folder).rmdir()


def _processes(cgroup: str) -> Iterator[int]:
    """Yields the processes of a control group and of those in it."""
    for file in (_CGROUPS / "memory" / cgroup).rglob("cgroup.procs"):
        with suppress(OSError):
            yield from map(int, file.read_text().split())


def write_archive(path: Path, name: str, program: Path) -> None:
    """Writes an image that holds one static program as a ``docker-archive``."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("program")
        entry.mode = 0o755
        entry.size = program.stat().st_size
        tar.addfile(entry, io.BytesIO(program.read_bytes()))
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/program"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "layer.tar": layer.getvalue(),
        "config.json": json.dumps(configuration).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(path, "w") as tar:
        for file, content in files.items():
            entry = tarfile.TarInfo(file)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))

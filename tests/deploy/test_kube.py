"""The cluster itself: what it refuses, what it serves, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.isolated import Isolated, IsolatedProcess
from deploy.local.kube import Cluster
from deploy.local.process import ROOT

LABELS = {"app": "web"}


def deployment(replicas: int = 2, **container: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "main", "image": "web:1", **container}]}
    template = {"metadata": {"labels": LABELS}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def disruption_budget(least: int) -> dict[str, Any]:
    spec = {"minAvailable": least, "selector": {"matchLabels": LABELS}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": spec,
    }


def autoscaler(metric: dict[str, Any]) -> dict[str, Any]:
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 2,
        "maxReplicas": 6,
        "metrics": [metric],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": spec,
    }


def ready_pods(cluster: Cluster) -> int:
    return int(cluster.get("deployment", "web")["status"].get("readyReplicas", 0))


@pytest.fixture
def web(cluster: Cluster) -> Iterator[Cluster]:
    cluster.apply(deployment(resources={"requests": {"cpu": "1"}}))
    cluster.wait_for(lambda: ready_pods(cluster) == 2, "two ready pods")
    yield cluster
    cluster.kubectl("delete", "deployment,hpa,pdb", "web", "--ignore-not-found", "--wait")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"resources": {"limits": {"memory": "1Gib"}}}, "quantities must match"),
        ({"redinessProbe": {}}, 'unknown field "spec.template.spec.containers[0].redinessProbe"'),
        ({"imagePullPolicy": "Sometimes"}, 'Unsupported value: "Sometimes"'),
    ],
)
def test_mistakes_are_refused_by_the_real_api_server(
    cluster: Cluster, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(RuntimeError, match=re.escape(said)):
        cluster.check(json.dumps(deployment(**wrong)))


def test_wrong_interval_of_a_monitor_is_refused(cluster: Cluster) -> None:
    spec = {"selector": {}, "endpoints": [{"interval": "soon"}]}
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "spec": spec}
    with pytest.raises(RuntimeError, match=r"spec\.endpoints\[0\]\.interval"):
        cluster.check(json.dumps({**monitor, "metadata": {"name": "web"}}))


@pytest.mark.parametrize(
    ("metric", "high", "low"),
    [
        (
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "in_flight"},
                    "target": {"type": "AverageValue", "averageValue": "10"},
                },
            },
            {"in_flight": "20"},
            {"in_flight": "1"},
        ),
        (
            {
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "100Mi"}},
            },
            {"memory": "200Mi"},
            {"memory": "10Mi"},
        ),
    ],
    ids=["pods", "resource"],
)
def test_autoscaler_follows_a_served_metric(
    web: Cluster, metric: dict[str, Any], high: dict[str, str], low: dict[str, str]
) -> None:
    served = web.served_metrics()
    served.set(**low)
    web.apply(autoscaler(metric))
    served.set(**high)
    web.wait_for(lambda: ready_pods(web) >= 4, "growth of the deployment")
    served.set(**low)
    web.wait_for(lambda: ready_pods(web) == 2, "shrinking of the deployment")


def test_drain_waits_for_the_disruption_budget(web: Cluster) -> None:
    web.apply(disruption_budget(least=2))
    web.wait_for(
        lambda: "disruptionsAllowed" in web.get("pdb", "web").get("status", {}), "a count of the budget"
    )
    [node, *_] = sorted(pod["spec"]["nodeName"] for pod in web.get("pods", "--selector=app=web"))
    with pytest.raises(RuntimeError, match="violate the pod's disruption budget"):
        web.drain(node, timeout_seconds=3.0)
    web.kubectl("uncordon", node)


def test_cluster_ends_with_its_process(kube_tools: None, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from deploy.local.kube import Cluster\n"
        "made = Cluster(Path(sys.argv[1])); made.start(); print('up', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"up\n"
    assert len(running(tmp_path)) >= 5
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while running(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(tmp_path)


def running(folder: Path) -> list[str]:
    """The command lines of processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in line:
            found.append(line.replace(b"\0", b" ").decode())
    return found


def test_server_in_namespaces_ends_at_a_signal(kube_tools: None, tmp_path: Path) -> None:
    inside = Isolated().start()
    try:
        server = IsolatedProcess(
            inside, ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"], tmp_path / "log"
        )
        server.start().wait_until(lambda: "up" in server.said())
        assert server.stop(signal.SIGTERM) == 7
    finally:
        inside.stop()

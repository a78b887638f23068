"""The chart on a real control plane: what helm, the scheduler, budgets and autoscalers make of it.

Nothing runs in the pods here. ``make kube`` starts the real images.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.kube import Cluster
from deploy.local.kube_objects import as_list
from tests.deploy.chart.rendering import CHART, INSTALLATIONS, render, values_of
from tests.deploy.conftest import Timed
from tests.deploy.releases import NAME, OBJECTS, Release

SHARDS = 3
SMALL = (
    "--set-string=models.source=image,models.image.repository=models,models.image.tag=1",
    f"--set=hasher.shardCount={SHARDS},embedder.replicas=2",
)
NODES = [f"node-{number}" for number in (1, 2, 3)]


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    made = Release(cluster, *SMALL)
    yield made
    cluster.kubectl("uncordon", *NODES)
    made.helm("uninstall", NAME, "--ignore-not-found", "--wait")


def hashers() -> set[str]:
    return {f"{OBJECTS}-hasher-r0-{shard}" for shard in range(SHARDS)}


@pytest.mark.parametrize("example", INSTALLATIONS)
def test_api_server_takes_an_example_without_a_warning(cluster: Cluster, example: str) -> None:
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "checked", "labels": {"pod-security.kubernetes.io/warn": "restricted"}},
        }
    )
    everything = [
        f"--set=monitoring.{name}.enabled=true" for name in ("serviceMonitors", "rules", "dashboards")
    ]
    rendered = render(*values_of(example), "--namespace=checked", *everything)
    # Pods name them, and are refused without.
    accounts = rendered.of_kind("ServiceAccount")
    cluster.kubectl("apply", "--namespace=checked", "--filename=-", stdin=as_list(*accounts))
    assert cluster.check(rendered.text, "--namespace=checked") == ""


@pytest.mark.parametrize("example", INSTALLATIONS)
def test_example_gets_ready(cluster: Cluster, example: str, timed: Timed) -> None:
    made = Release(cluster, *values_of(example))
    made.add_models()
    with timed(f"helm install --wait, example {example}"):
        made.install()
    assert made.revision() == (1, "deployed")
    made.helm("uninstall", NAME, "--wait")


def test_upgrade_and_rollback(release: Release, timed: Timed) -> None:
    with timed("helm install --wait, 3 shards"):
        release.install("--set-string=image.tag=1")
    assert release.ready("hasher") == dict.fromkeys(hashers(), "lookalike-hasher:1")
    assert len(release.ready("embedder")) == 2
    with timed("helm upgrade --wait to another image"):
        release.upgrade("--set-string=image.tag=2")
    assert release.ready("hasher") == dict.fromkeys(hashers(), "lookalike-hasher:2")
    assert set(release.ready("gateway").values()) == {"lookalike-gateway:2"}
    with timed("helm rollback --wait"):
        release.helm("rollback", NAME, "1", "--wait", "--timeout=120s")
    assert release.ready("hasher") == dict.fromkeys(hashers(), "lookalike-hasher:1")
    assert release.revision() == (3, "deployed")


def test_upgrade_that_cannot_fit_is_rolled_back(release: Release, timed: Timed) -> None:
    release.install()
    before = release.ready("embedder")
    with timed("helm upgrade --atomic that cannot fit"), pytest.raises(RuntimeError, match="rolled back"):
        release.upgrade("--set=embedder.resources.requests.cpu=1000", "--atomic", timeout="10s")
    assert release.revision() == (3, "deployed")
    # The old pods were never touched: they go only once new ones are ready.
    assert release.ready("embedder") == before


def test_another_number_of_shards_is_refused(release: Release) -> None:
    release.install()
    with pytest.raises(RuntimeError, match=f"hasher.shardCount must stay {SHARDS}"):
        release.upgrade(f"--set=hasher.shardCount={SHARDS + 1}")
    assert set(release.ready("hasher")) == hashers()


def test_data_outlive_the_release(release: Release) -> None:
    release.install()
    before = volumes(release)
    assert len(before) == SHARDS + 1
    release.helm("uninstall", NAME, "--wait")
    assert volumes(release) == before
    release.helm("install", NAME, str(CHART), "--wait", "--timeout=120s", *SMALL)
    assert volumes(release) == before


def volumes(release: Release) -> dict[str, str]:
    """The volume that each claim has."""
    return {claim["metadata"]["name"]: claim["spec"]["volumeName"] for claim in release.get("pvc")}


def test_shards_share_the_nodes_that_are_left_to_them(release: Release) -> None:
    """A node that is kept for others stays empty, and must not hold all others at one shard."""
    release.cluster.kubectl("taint", "node", NODES[-1], "kept-for=others:NoSchedule")
    try:
        release.install("--set=hasher.shardCount=5,hasher.topologySpread.nodes=DoNotSchedule")
        places = [pod["spec"]["nodeName"] for pod in release.pods("hasher")]
    finally:
        release.cluster.kubectl("taint", "node", NODES[-1], "kept-for-")
    assert sorted(map(places.count, NODES)) == [0, 2, 3]


EVICTED_SECONDS = 180.0
"""More than the two minutes for which a budget counts an evicted pod as away if it missed its end: fake pods
end at once, and their successors of the same name are there before the budget is looked at."""


def test_drains_take_one_shard_at_a_time(release: Release, timed: Timed) -> None:
    release.install()
    places = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in release.pods("hasher")}
    assert len(set(places.values())) == SHARDS, "the shards are spread over the nodes"
    first, second, _ = places.values()
    release.cluster.kubectl("cordon", *NODES)
    with timed("kubectl drain of a node with a shard"):
        release.cluster.drain(first)
    release.cluster.wait_for(lambda: len(release.ready("hasher")) == SHARDS - 1, "eviction of a shard")
    with pytest.raises(RuntimeError, match="violate the pod's disruption budget"):
        release.cluster.drain(second, timeout_seconds=3.0)
    assert len(release.ready("hasher")) == SHARDS - 1
    release.cluster.kubectl("uncordon", first)
    release.cluster.wait_for(lambda: set(release.ready("hasher")) == hashers(), "return of the shard")
    with timed("kubectl drain of the next node"):
        release.cluster.drain(second, timeout_seconds=EVICTED_SECONDS)
    release.cluster.wait_for(lambda: set(release.ready("hasher")) == hashers(), "return of the second shard")


@pytest.mark.parametrize(
    ("metric", "target", "served_as", "high", "low"),
    [
        ("queueDepth", "8", "lookalike_embedder_queue_photos", "40", "0"),
        ("queueSeconds", "50m", "lookalike_embedder_queue_seconds", "300m", "1m"),
    ],
    ids=["queueDepth", "queueSeconds"],
)
def test_embedders_follow_their_queue(
    release: Release, timed: Timed, metric: str, target: str, served_as: str, high: str, low: str
) -> None:
    served = release.cluster.served_metrics()
    served.set(**{served_as: low})
    # Up to 4 pods come at once, and further ones 15 s later.
    scaling = f"enabled=true,metric={metric},target={target},maxReplicas=5,scaleDownSeconds=0"
    values = [f"--set=embedder.autoscaling.{one}" for one in scaling.split(",")]
    release.install(*values)
    release.cluster.wait_for(lambda: len(release.ready("embedder")) == 2, "the fewest embedders")
    with timed(f"autoscaler from 2 to 5 embedders by {served_as}"):
        served.set(**{served_as: high})
        release.cluster.wait_for(lambda: len(release.ready("embedder")) == 5, "the most embedders")
    # An upgrade in the middle must not set the number of pods back.
    release.upgrade(*values, "--set=embedder.podLabels.changed=yes-it-is")
    assert len(release.ready("embedder")) == 5
    served.set(**{served_as: low})
    release.cluster.wait_for(lambda: len(release.pods("embedder")) == 2, "the fewest embedders again")


def test_the_autoscaler_says_that_one_gateway_is_not_enough(release: Release) -> None:
    served = release.cluster.served_metrics()
    served.set(lookalike_calls_in_progress="100")
    release.install("--set=gateway.autoscaling.enabled=true")

    def is_limited() -> bool:
        scaler = release.get("hpa", f"{OBJECTS}-gateway")
        conditions = {one["type"]: one["reason"] for one in scaler["status"].get("conditions", ())}
        return conditions.get("ScalingLimited") == "TooManyReplicas"

    release.cluster.wait_for(is_limited, "the autoscaler's limit")
    assert len(release.pods("gateway")) == 1

"""What pods may do, who reaches them, and what keeps them running."""

from __future__ import annotations

import pytest

from lookalike.addresses import (
    EMBEDDER_PORT,
    FIRST_HASHER_PORT,
    GATEWAY_PORT,
    METRICS_PORT_OFFSET,
    SEARCH_PORT_OFFSET,
)
from scripts.chart_schema import SERVICES
from tests.deploy.chart.rendering import (
    CASES,
    LAPTOP,
    PORTS,
    Object,
    Rendered,
    containers,
    matches,
    render,
)


def test_every_container_is_restricted(case: Rendered) -> None:
    for name, pod in case.pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["runAsUser"] == 65532, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for one in containers(pod):
            security = one["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert one["resources"]["requests"].keys() >= {"cpu", "memory", "ephemeral-storage"}
            assert one["resources"]["limits"].keys() >= {"memory", "ephemeral-storage"}


def test_no_service_of_the_namespace_becomes_a_setting(case: Rendered) -> None:
    """A Service called lookalike-gateway makes a variable LOOKALIKE_GATEWAY_PORT of tcp://..."""
    assert all(pod["spec"]["enableServiceLinks"] is False for _, pod in case.pods())


def test_accounts_have_no_rights(case: Rendered) -> None:
    accounts = {one["metadata"]["name"]: one for one in case.of_kind("ServiceAccount")}
    assert {pod["spec"]["serviceAccountName"] for _, pod in case.pods()} == set(accounts)
    assert all(one["automountServiceAccountToken"] is False for one in accounts.values())
    assert not [one for one in case.objects if "Role" in one["kind"]]


def test_every_workload_has_a_budget_for_disruptions(case: Rendered) -> None:
    for one in case.workloads():
        labels = one["spec"]["template"]["metadata"]["labels"]
        (budget,) = [
            found["spec"]
            for found in case.of_kind("PodDisruptionBudget")
            if matches(found["spec"]["selector"]["matchLabels"], labels)
        ]
        assert budget["maxUnavailable"] == 1
        careful = labels["app.kubernetes.io/component"] == "hasher"
        assert budget["unhealthyPodEvictionPolicy"] == ("IfHealthyBudget" if careful else "AlwaysAllow")


def policy_of(rendered: Rendered, component: str) -> Object:
    labels = rendered.pod(component)["metadata"]["labels"]
    (found,) = [
        one["spec"]
        for one in rendered.of_kind("NetworkPolicy")
        if matches(one["spec"]["podSelector"]["matchLabels"], labels)
    ]
    assert found["policyTypes"] == ["Ingress", "Egress"]
    return dict(found)


def callers_of(rendered: Rendered, component: str, port: int) -> set[str]:
    """Components that a policy lets reach a port."""
    callers = set()
    for rule in policy_of(rendered, component)["ingress"]:
        if {"port": port, "protocol": "TCP"} in rule["ports"]:
            for peer in rule["from"]:
                labels = peer.get("podSelector", {}).get("matchLabels", {})
                callers.add(labels.get("app.kubernetes.io/component", "others"))
    return callers


def test_only_the_gateway_reaches_hashers_and_embedders(case: Rendered) -> None:
    for port in (FIRST_HASHER_PORT, FIRST_HASHER_PORT + SEARCH_PORT_OFFSET):
        assert callers_of(case, "hasher", port) == {"gateway"}
    assert callers_of(case, "embedder", EMBEDDER_PORT) == {"gateway"}
    assert callers_of(case, "gateway", GATEWAY_PORT) == {"others", "test"}
    assert policy_of(case, "hasher")["egress"] == []


def test_only_embedders_reach_triton() -> None:
    assert callers_of(render(*CASES["triton-apart"]), "triton", 8001) == {"embedder"}
    assert not callers_of(render(*CASES["triton-in-pod"]), "embedder", 8001)


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_are_open_to_the_namespace_that_reads_them(service: str, case: Rendered) -> None:
    port = PORTS[service] + METRICS_PORT_OFFSET
    rules = [
        rule
        for rule in policy_of(case, service)["ingress"]
        if {"port": port, "protocol": "TCP"} in rule["ports"]
    ]
    assert [list(rule["from"][0]) for rule in rules] == [["namespaceSelector"]]
    closed = render(*LAPTOP, "--set-json", "networkPolicy.metricsFrom=[]")
    assert not callers_of(closed, service, port)


def test_pods_are_spread_by_their_own_labels(case: Rendered) -> None:
    for one in case.workloads():
        spec = one["spec"]["template"]["spec"]
        assert {found["topologyKey"] for found in spec["topologySpreadConstraints"]} == {
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        }
        for found in spec["topologySpreadConstraints"]:
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert matches(found["labelSelector"]["matchLabels"], labels)
            assert found["nodeTaintsPolicy"] == "Honor"


def test_what_protects_can_be_switched_off() -> None:
    kinds = {one["kind"] for one in render(*LAPTOP).objects}
    off = [f"{service}.podDisruptionBudget.enabled=false" for service in SERVICES]
    off += [f"{service}.topologySpread.{over}=Off" for service in SERVICES for over in ("zones", "nodes")]
    off += ["networkPolicy.enabled=false", "gateway.directory.existingClaim=mine"]
    rendered = render(*LAPTOP, "--set", ",".join(off))
    gone = {"NetworkPolicy", "PodDisruptionBudget", "PersistentVolumeClaim"}
    assert {one["kind"] for one in rendered.objects} == kinds - gone
    assert not [pod for _, pod in rendered.pods() if "topologySpreadConstraints" in pod["spec"]]
    volumes = rendered.pod("gateway")["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}} in volumes

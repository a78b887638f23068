"""What the chart says about the services is what the services know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from deploy.local.process import ROOT
from lookalike.addresses import EMBEDDER_PORT, FIRST_HASHER_PORT, METRICS_PORT_OFFSET
from scripts.chart_schema import SERVICES, SET_BY_CHART
from tests.deploy.chart.rendering import (
    CASES,
    LAPTOP,
    PORTS,
    Rendered,
    containers,
    pods_of,
    refused,
    render,
    settings_of,
)


@pytest.mark.parametrize("service", SERVICES)
def test_variables_are_settings_that_the_service_takes(
    service: str, case: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"LOOKALIKE_{service.upper()}_"
    variables = case.environment(service)
    known = {prefix + field.upper() for field in SERVICES[service].model_fields}
    assert set(variables) <= known
    settings = settings_of(case, service, monkeypatch)
    assert (settings.host, settings.insecure) == ("0.0.0.0", True)


@pytest.mark.parametrize("service", SERVICES)
def test_settings_that_the_chart_decides_cannot_be_set_twice(service: str) -> None:
    fields = SERVICES[service].model_fields
    assert set(fields) >= SET_BY_CHART[service]
    for name in ("port", "data_folder" if "data_folder" in fields else "bundle"):
        message = refused(*LAPTOP, "--set", f"{service}.settings.{name}=1")
        assert f"additional properties '{name}' not allowed" in message


def test_large_numbers_stay_whole() -> None:
    arguments = ("--set", "gateway.settings.max_request_bytes_in_flight=1073741824")
    variables = render(*LAPTOP, *arguments).environment("gateway")
    assert variables["LOOKALIKE_GATEWAY_MAX_REQUEST_BYTES_IN_FLIGHT"] == "1073741824"


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_those_of_the_service(
    service: str, case: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(case, service, monkeypatch)
    assert settings.port == PORTS[service]
    assert settings.metrics_port == PORTS[service] + METRICS_PORT_OFFSET
    ports = {one["name"]: one["containerPort"] for one in case.container(service)["ports"]}
    searches = {"search": settings.search_port} if service == "hasher" else {}
    assert ports == {"grpc": settings.port, "metrics": settings.metrics_port, **searches}


def test_ports_of_services_are_those_of_their_pods(case: Rendered) -> None:
    for service in case.of_kind("Service"):
        pods = pods_of(case, service["spec"]["selector"])
        assert len(pods) == 1, service["metadata"]["name"]
        open_ports = {
            port["name"]: port["containerPort"]
            for one in containers(pods[0])
            for port in one.get("ports", ())
        }
        for port in service["spec"]["ports"]:
            assert open_ports[port["targetPort"]] == port["port"]


def test_the_gateway_names_every_shard_and_the_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render(*LAPTOP, "--set", "hasher.shardCount=3")
    settings: Any = settings_of(rendered, "gateway", monkeypatch)
    domain = "search.svc.cluster.local"
    assert settings.hashers == tuple(
        f"shop-lookalike-hasher-r0-{shard}.{domain}:{FIRST_HASHER_PORT}" for shard in range(3)
    )
    for shard in range(3):
        selector = rendered.get("Service", f"hasher-r0-{shard}")["spec"]["selector"]
        assert selector["statefulset.kubernetes.io/pod-name"] == f"shop-lookalike-hasher-r0-{shard}"
    assert settings.embedder == f"shop-lookalike-embedder.{domain}:{EMBEDDER_PORT}"
    hashers = rendered.get("StatefulSet", "hasher-r0")
    assert hashers["spec"]["serviceName"] == rendered.get("Service", "hasher")["metadata"]["name"]
    assert hashers["spec"]["replicas"] == 3
    assert hashers["spec"]["podManagementPolicy"] == "Parallel"
    hasher = settings_of(rendered, "hasher", monkeypatch)
    assert hasher.model_dump()["shard_count"] == 3


def test_a_shard_is_the_number_of_its_pod() -> None:
    (variable,) = render(*LAPTOP).container("hasher")["env"]
    assert variable["name"] == "LOOKALIKE_HASHER_SHARD"
    assert variable["valueFrom"] == {
        "fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}
    }


def test_shards_are_reached_before_they_are_ready() -> None:
    own, shard = (render(*LAPTOP).get("Service", name)["spec"] for name in ("hasher", "hasher-r0-0"))
    assert (own["clusterIP"], own["publishNotReadyAddresses"]) == ("None", True)
    assert ("clusterIP" not in shard, shard["publishNotReadyAddresses"]) == (True, True)


def test_folders_of_settings_are_mounted(case: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    for service, field in (("gateway", "data_folder"), ("hasher", "data_folder"), ("embedder", "bundle")):
        folder = Path(settings_of(case, service, monkeypatch).model_dump()[field])
        mounts = {Path(one["mountPath"]): one for one in case.container(service)["volumeMounts"]}
        (mount,) = (mounts[path] for path in (folder, *folder.parents) if path in mounts)
        assert mount.get("readOnly", False) == (service == "embedder")


def test_triton_is_where_the_embedder_looks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here: Any = settings_of(render(*CASES["triton-in-pod"]), "embedder", monkeypatch)
    assert (here.backend, here.triton_url) == ("triton", "127.0.0.1:8001")
    apart = render(*CASES["triton-apart"])
    there: Any = settings_of(apart, "embedder", monkeypatch)
    assert there.triton_url == "shop-lookalike-triton.search.svc.cluster.local:8001"
    assert apart.container("triton")["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize(("name", "component"), [("triton-in-pod", "embedder"), ("triton-apart", "triton")])
def test_triton_sends_spans_of_traced_calls_where_it_is_told(name: str, component: str) -> None:
    def flags(*more: str) -> list[str]:
        command = render(*CASES[name], *more).container(component, "triton")["command"]
        return [argument for argument in command if argument.startswith("--trace-config")]

    assert flags() == []
    endpoint = "http://otel:4318/v1/traces"
    # Those of serve.sh, which the tests of traces run.
    script = (ROOT / "deploy" / "triton" / "serve.sh").read_text()
    known = re.findall(r"--trace-config=[^\s)\"]+", script.replace("$TRITON_TRACE_ENDPOINT", endpoint))
    assert len(known) == 5
    assert flags("--set", f"triton.traceEndpoint={endpoint}") == known


UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}
PROCESS_BYTES = 1e9
INDEX_BYTES, REBUILD_BYTES, ROW_BYTES = 950, 4600, 1500
"""What an item takes, from docs/deployment.md, "Sizes"."""


def bytes_of(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


@pytest.mark.parametrize(("name", "items"), [("small", 1e6), ("10m", 1e7), ("100m", 1e8)])
def test_a_shard_has_room_for_its_items_twice(name: str, items: float) -> None:
    """A new model is a second collection next to the first; one of them may have to be built again."""
    rendered = render(*CASES[name])
    hashers = rendered.get("StatefulSet", "hasher-r0")["spec"]
    each = items / hashers["replicas"]
    resources = rendered.container("hasher")["resources"]
    assert bytes_of(resources["requests"]["memory"]) >= PROCESS_BYTES + 2 * each * INDEX_BYTES
    rebuild = PROCESS_BYTES + each * (INDEX_BYTES + REBUILD_BYTES)
    assert bytes_of(resources["limits"]["memory"]) >= rebuild
    (claim,) = hashers["volumeClaimTemplates"]
    disk = claim["spec"]["resources"]["requests"]["storage"]
    assert bytes_of(disk) >= 1.3 * 2 * each * (ROW_BYTES + 2 * INDEX_BYTES)
    startup = rendered.container("hasher")["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= each / 5_000


def test_alerts_lead_to_the_runbook_that_is_served() -> None:
    address = "https://docs.example.com/runbook/"
    rendered = render(*CASES["production"], "--set", f"monitoring.rules.runbookUrl={address}")
    rules = [
        rule
        for one in rendered.objects
        if one["kind"] == "PrometheusRule"
        for group in one["spec"]["groups"]
        for rule in group["rules"]
    ]
    urls = {rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule}
    assert urls
    assert all(url.startswith(f"{address}#lookalike") for url in urls)

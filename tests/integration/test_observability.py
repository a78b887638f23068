"""Health, reflection and metrics, as stock tools see them."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client.parser import text_string_to_metric_families

from lookalike.client import Item

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stack
    from prometheus_client import Metric

SERVICES = {
    "embedder": ["lookalike.v1.EmbedderService"],
    "hasher-0": ["lookalike.v1.HasherService"],
    "gateway": [
        "lookalike.v1.SearchService",
        "lookalike.v1.CatalogService",
        "lookalike.v1.CollectionService",
    ],
}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def _channel(stack: Stack, name: str) -> grpc.Channel:
    (server,) = [server for server in stack.servers if server.name == name]
    return grpc.insecure_channel(server.target)


@pytest.mark.parametrize("name", SERVICES)
def test_health_and_reflection_per_service(stack: Stack, name: str) -> None:
    with _channel(stack, name) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICES[name]):
            watch = health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=20)
            assert any(reply.status == SERVING for reply in watch)
            watch.cancel()
        listed = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {*SERVICES[name], "grpc.health.v1.Health"} <= set(listed)


def test_watch_sees_lost_shards_and_their_return(make_stack: Callable[[], Stack]) -> None:
    stack = make_stack()
    with _channel(stack, "gateway") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="lookalike.v1.SearchService")
        watch = stub.Watch(request, timeout=90)
        states = (reply.status for reply in watch)
        assert any(state == SERVING for state in states)
        stack.hashers[0].kill()
        _until_down(stack, "shard0")
        assert stub.Check(request).status == SERVING, "the other shard still answers"
        stack.hashers[1].kill()
        assert any(state == NOT_SERVING for state in states)
        stack.hashers[0].start()
        assert any(state == SERVING for state in states)
        watch.cancel()


def _until_down(stack: Stack, dependency: str) -> None:
    wanted = ("lookalike_gateway_dependency_up", {"dependency": dependency}, 0.0)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        families = _families(stack.gateway.metrics_port)
        samples = families["lookalike_gateway_dependency_up"].samples
        if wanted in [(sample.name, sample.labels, sample.value) for sample in samples]:
            return
        time.sleep(0.1)
    raise AssertionError(f"{dependency} stays up")


def _families(port: int) -> dict[str, Metric]:
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_metrics_hold_every_stage(stack: Stack, items: list[Item]) -> None:
    with stack.client() as client:
        client.create_collection("metered")
        client.ingest(items[:30], collection="metered")
        client.search(image=items[0].image, collection="metered")
    stages = {
        "embedder": {"preprocess", "queue", "encode"},
        "hasher-0": {"hash", "probe", "scan", "rerank"},
        "gateway": {"admit", "embed", "fanout", "merge"},
    }
    for name, expected in stages.items():
        (server,) = [server for server in stack.servers if server.name == name]
        families = _families(server.metrics_port)
        service = name.split("-")[0]
        assert families["grpc_server_handling_seconds"].type == "histogram"
        assert families["grpc_server_handled"].samples
        stage = families[f"lookalike_{service}_stage_seconds"]
        assert stage.type == "histogram"
        counted = {
            sample.labels["stage"]
            for sample in stage.samples
            if sample.name.endswith("_count") and sample.value
        }
        assert expected <= counted
        own = [family for family in families if not family.startswith(("grpc_", "process_", "python_"))]
        assert all(family.startswith("lookalike_") for family in own)


def test_recall_and_drift_of_real_searches(
    make_stack: Callable[[], Stack], items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_GATEWAY_RECALL_PROBE_INTERVAL_SECONDS", "0.2")
    monkeypatch.setenv("LOOKALIKE_GATEWAY_PROFILE_INTERVAL_SECONDS", "0.5")
    stack = make_stack()
    wanted = {"lookalike_gateway_recall_ratio", "lookalike_gateway_embedding_mean_cosine_ratio"}
    shown: dict[str, float] = {}
    deadline = time.monotonic() + 60
    with stack.client() as client:
        client.create_collection("watched")
        client.ingest(items[:30], collection="watched")
        while not wanted <= shown.keys():
            assert time.monotonic() < deadline
            client.search(image=items[0].image, collection="watched")
            families = _families(stack.gateway.metrics_port)
            shown = {name: families[name].samples[0].value for name in wanted if families[name].samples}
    assert shown["lookalike_gateway_recall_ratio"] == 1
    assert 0 < shown["lookalike_gateway_embedding_mean_cosine_ratio"] <= 1
    exact = [
        sample.value
        for sample in _families(stack.hashers[0].metrics_port)["lookalike_hasher_stage_seconds"].samples
        if sample.name.endswith("_count") and sample.labels["exact"] == "true"
    ]
    assert max(exact) > 0


def test_one_request_id_is_in_the_logs_of_a_failed_call(stack: Stack) -> None:
    from lookalike.v1 import search_pb2, search_pb2_grpc

    with _channel(stack, "gateway") as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Search(search_pb2.SearchRequest(), metadata=(("x-request-id", "trace-me-42"),))
    trailing = dict(caught.value.trailing_metadata())
    assert trailing["x-request-id"] == "trace-me-42"


def test_graceful_stop_turns_health_first(make_stack: Callable[[], Stack]) -> None:
    stack = make_stack()
    with _channel(stack, "gateway") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        states = (reply.status for reply in watch)
        assert any(state == SERVING for state in states)
        stack.gateway.popen.terminate()
        assert any(state == NOT_SERVING for state in states)
        assert stack.gateway.wait(20) == 0

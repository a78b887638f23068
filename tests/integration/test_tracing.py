"""Searches by photo as traces, from the caller through all services, in a real collector's hands."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from deploy.local import otelcol
from deploy.local.stack import Stack
from deploy.local.triton import TritonServer
from lookalike.client import Item
from lookalike.client.requests import read_photo
from lookalike.v1 import search_pb2, search_pb2_grpc, types_pb2
from tests.collector import Collector, Span, collecting

if TYPE_CHECKING:
    from deploy.local.otelcol import OtelCollector

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SEARCH = "lookalike.v1.SearchService/Search"
EMBED, SHARD = "lookalike.v1.EmbedderService/Embed", "lookalike.v1.HasherService/Search"
INFER = "inference.GRPCInferenceService/ModelInfer"
SERVER, CLIENT = 2, 3


@pytest.fixture
def received() -> Iterator[Collector]:
    """Gets what the real collector passes on."""
    with collecting() as collector:
        yield collector


@pytest.fixture
def otel(received: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OtelCollector]:
    """A real collector for all services that are started in the test; the gateway alone samples nothing."""
    if reason := otelcol.missing():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    real = otelcol.OtelCollector(tmp_path, received.endpoint.removeprefix("http://"))
    real.start()
    try:
        for service, ratio in (("GATEWAY", "0"), ("HASHER", "1"), ("EMBEDDER", "1")):
            monkeypatch.setenv(f"LOOKALIKE_{service}_TRACE_ENDPOINT", real.endpoint)
            monkeypatch.setenv(f"LOOKALIKE_{service}_TRACE_SAMPLE_RATIO", ratio)
        yield real
    finally:
        real.stop()


def _fill(stack: Stack, items: list[Item]) -> None:
    with stack.client() as client:
        client.create_collection("traced")
        client.ingest(items[:20], collection="traced")


def _search(stack: Stack, item: Item, trace: str = TRACE) -> None:
    query = search_pb2.Query(image=types_pb2.Image(content=read_photo(item.image or b"", "image")))
    with grpc.insecure_channel(stack.gateway.target) as channel:
        search_pb2_grpc.SearchServiceStub(channel).Search(
            search_pb2.SearchRequest(collection="traced", query=query, k=3),
            metadata=(("traceparent", f"00-{trace}-{CALLER}-01"),) if trace else (),
            timeout=20,
        )


def _named(spans: list[Span], name: str, kind: int) -> list[Span]:
    return [span for span in spans if (span.trace_id, span.name, span.kind) == (TRACE, name, kind)]


def _has(*wanted: tuple[str, int, int]) -> Callable[[list[Span]], bool]:
    return lambda spans: all(len(_named(spans, name, kind)) == count for name, kind, count in wanted)


def test_a_search_by_photo_is_one_trace(
    otel: OtelCollector, received: Collector, make_stack: Callable[..., Stack], items: list[Item]
) -> None:
    stack = make_stack()
    _fill(stack, items)
    _search(stack, items[0], trace="")
    _search(stack, items[0])

    wanted = ((SEARCH, SERVER, 1), (EMBED, SERVER, 1), (SHARD, SERVER, 2), (SHARD, CLIENT, 2))
    everything = received.wait_for(_has(*wanted))
    # Hashers and embedders sample everything, but not what the gateway has decided not to.
    assert {span.trace_id for span in everything if span.name in (SEARCH, EMBED, SHARD)} == {TRACE}
    spans = [span for span in everything if span.trace_id == TRACE]
    (search,) = _named(spans, SEARCH, SERVER)
    assert (search.service, search.parent_id) == ("lookalike-gateway", CALLER)
    assert search.attributes["lookalike.shards_answered"] == 2
    assert "lookalike.degraded_reason" not in search.attributes
    below = {span.name for span in spans if span.parent_id == search.span_id}
    assert below == {"admit", "embed", "fanout", "merge", EMBED, SHARD}

    (embed,) = _named(spans, EMBED, SERVER)
    assert (embed.service, embed.parent_id) == ("lookalike-embedder", _named(spans, EMBED, CLIENT)[0].span_id)
    assert {"preprocess", "encode"} <= {span.name for span in spans if span.parent_id == embed.span_id}

    callers = {span.span_id: span.attributes["lookalike.shard"] for span in _named(spans, SHARD, CLIENT)}
    assert sorted(callers.values()) == [0, 1]
    for shard in _named(spans, SHARD, SERVER):
        assert shard.service == "lookalike-hasher"
        assert shard.parent_id in callers
        stages = {span.name for span in spans if span.parent_id == shard.span_id}
        assert {"convert", "hash", "scan", "rerank"} <= stages
    assert all(search.start_ns <= span.start_ns <= span.end_ns <= search.end_ns for span in spans)


def _is_whole(spans: list[Span]) -> bool:
    """Whether Triton has sent the last span of some calls, and what they belong to is here, too."""
    ids = {span.span_id for span in spans}
    of_triton = [span for span in spans if span.service == "lookalike-triton"]
    names = Counter(span.name for span in of_triton)
    return names["compute"] == names["InferRequest"] > 0 and all(span.parent_id in ids for span in of_triton)


def test_a_trace_goes_on_in_triton(
    otel: OtelCollector,
    received: Collector,
    make_stack: Callable[..., Stack],
    triton_installed: None,
    tiny_bundle: Path,
    tmp_path: Path,
    items: list[Item],
) -> None:
    triton = TritonServer(tmp_path, otel.triton_endpoint)
    # Triton leaves out a few traced calls of a hundred.
    traces = [TRACE[:-2] + f"{number:02x}" for number in range(10)]
    try:
        triton.start(triton.export(tiny_bundle))
        stack = make_stack(tiny_bundle, embedder=triton.embedder_flags)
        _fill(stack, items)
        for trace in ("", *traces):
            _search(stack, items[0], trace)
        spans = received.wait_for(_is_whole)
    finally:
        triton.stop()
    by_id = {span.span_id: span for span in spans}
    requests = [span for span in spans if span.name == "InferRequest"]
    assert {request.trace_id for request in requests} <= set(traces)
    for request in requests:
        caller = by_id[request.parent_id]
        assert (request.service, caller.service) == ("lookalike-triton", "lookalike-embedder")
        assert (caller.name, caller.trace_id) == (INFER, request.trace_id)
        (model,) = [span for span in spans if span.parent_id == request.span_id]
        assert (model.name, model.attributes["triton.model_name"]) == ("lookalike", "lookalike")
        assert "compute" in {span.name for span in spans if span.parent_id == model.span_id}


def test_the_trace_of_a_search_names_the_shard_that_failed(
    otel: OtelCollector,
    received: Collector,
    make_stack: Callable[..., Stack],
    tiny_bundle: Path,
    items: list[Item],
) -> None:
    stack = make_stack(tiny_bundle)
    _fill(stack, items)
    stack.hashers[1].kill()
    with pytest.raises(grpc.RpcError):
        _search(stack, items[0])
    spans = received.wait_for(_has((SEARCH, SERVER, 1), (SHARD, CLIENT, 2), (SHARD, SERVER, 1)))
    (search,) = _named(spans, SEARCH, SERVER)
    assert search.failed
    assert search.attributes["error.type"] == "COVERAGE_TOO_LOW"
    assert search.attributes["lookalike.degraded_reason"] == "shard 1: unreachable"
    calls = {span.attributes["lookalike.shard"]: span for span in _named(spans, SHARD, CLIENT)}
    assert {shard: span.failed for shard, span in calls.items()} == {0: False, 1: True}
    assert calls[1].attributes["error.type"] == "SHARD_UNAVAILABLE"

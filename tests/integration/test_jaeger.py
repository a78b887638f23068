"""All kinds of calls for a while, and what a real Jaeger then answers about their traces."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from deploy.local import jaeger
from deploy.local.jaeger import JaegerServer, Span
from deploy.local.load import COLLECTION, Load
from deploy.local.stack import Stack
from deploy.local.triton import TritonServer
from lookalike.v1 import search_pb2, search_pb2_grpc, types_pb2
from tests.conftest import PhotoCase

CALLER = "b7ad6b7169203331"
LOAD_SECONDS = 20.0
SAMPLE_RATIO = 0.25
SEARCH = "lookalike.v1.SearchService/Search"
EMBED, SHARD = "lookalike.v1.EmbedderService/Embed", "lookalike.v1.HasherService/Search"
INFER = "inference.GRPCInferenceService/ModelInfer"
GATEWAY, EMBEDDER = "lookalike-gateway", "lookalike-embedder"
HASHER, TRITON = "lookalike-hasher", "lookalike-triton"
# Building Jaeger takes minutes, so `make test` leaves this out, in CI, too.
pytestmark = [
    pytest.mark.skipif(
        os.environ.get("LOOKALIKE_TRACES_TEST") != "1", reason="`make traces` builds Jaeger and runs this"
    ),
    pytest.mark.timeout(600),
]


@dataclass
class Traced:
    """An installation whose services all send their spans to one Jaeger."""

    jaeger: JaegerServer
    stack: Stack
    photo: bytes
    sent: list[str] = field(default_factory=list)
    """Ids of the traces that the test began."""

    def search(self) -> str:
        """Searches by photo as a caller with a trace of its own; returns the trace's id."""
        self.sent.append(f"{0xAF7651916CD43DD8448EB211C8031900 + len(self.sent):032x}")
        query = search_pb2.Query(image=types_pb2.Image(content=self.photo))
        with grpc.insecure_channel(self.stack.gateway.target) as channel:
            search_pb2_grpc.SearchServiceStub(channel).Search(
                search_pb2.SearchRequest(collection=COLLECTION, query=query, k=3),
                metadata=(("traceparent", f"00-{self.sent[-1]}-{CALLER}-01"),),
                timeout=20,
            )
        return self.sent[-1]


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_bundle: Path,
    triton_installed: None,
    photo_cases: dict[str, PhotoCase],
) -> Iterator[Traced]:
    """Has served for a while before the first test."""
    assert jaeger.PROGRAM.exists(), "build/tools lacks jaeger, which `make traces` builds"
    folder = tmp_path_factory.mktemp("traced")
    server, monkeypatch = JaegerServer(folder), pytest.MonkeyPatch()
    triton = TritonServer(folder, server.triton_endpoint)
    # Recall is probed by searches that belong to no call.
    flags = {"gateway": ("--recall-probe-interval-seconds=0",), "embedder": triton.embedder_flags}
    stack = Stack(folder, tiny_bundle, flags=flags)
    try:
        for service, ratio in (("GATEWAY", SAMPLE_RATIO), ("HASHER", 1), ("EMBEDDER", 1)):
            monkeypatch.setenv(f"LOOKALIKE_{service}_TRACE_ENDPOINT", server.endpoint)
            monkeypatch.setenv(f"LOOKALIKE_{service}_TRACE_SAMPLE_RATIO", str(ratio))
        server.start()
        triton.start(triton.export(tiny_bundle))
        stack.start()
        photos = [photo_cases[name].content for name in ("png", "jpeg", "mirrored png", "grey jpeg")]
        with Load(stack.gateway.target, photos):
            time.sleep(LOAD_SECONDS)
        yield Traced(server, stack, photos[0])
    finally:
        stack.stop()
        triton.stop()
        server.stop()
        monkeypatch.undo()


def only(spans: Sequence[Span], service: str, name: str, kind: str = "server") -> Span:
    (found,) = [span for span in spans if (span.service, span.name, span.kind) == (service, name, kind)]
    return found


def test_a_search_by_photo_is_one_trace_down_to_triton(traced: Traced) -> None:
    wanted = {GATEWAY: 8, EMBEDDER: 4, HASHER: 10, TRITON: 3}

    def complete(spans: list[Span]) -> bool:
        return all(sum(span.service == name for span in spans) >= count for name, count in wanted.items())

    # Triton leaves out a few traced calls of a hundred.
    spans = traced.jaeger.trace(complete, *(traced.search() for _ in range(10)))
    by_id = {span.span_id: span for span in spans}
    search = only(spans, GATEWAY, SEARCH)
    assert search.parent_id == CALLER
    assert all(span.parent_id in by_id for span in spans if span is not search)

    def way(span: Span) -> list[tuple[str, str, str]]:
        """What led to a span, which comes first."""
        found = [(span.service, span.name, span.kind)]
        while span is not search:
            span = by_id[span.parent_id]
            found.append((span.service, span.name, span.kind))
        return found

    begun = (GATEWAY, SEARCH, "server")
    embed = [(EMBEDDER, EMBED, "server"), (GATEWAY, EMBED, "client"), begun]
    (compute,) = [span for span in spans if span.service == TRITON and span.name == "compute"]
    assert way(compute) == [
        (TRITON, "compute", "server"),
        (TRITON, "lookalike", "server"),
        (TRITON, "InferRequest", "server"),
        (EMBEDDER, INFER, "client"),
        *embed,
    ]
    scans = [span for span in spans if span.name == "scan"]
    assert len(scans) == 2
    for scan in scans:
        asked = [(HASHER, SHARD, "server"), (GATEWAY, SHARD, "client"), begun]
        assert way(scan) == [(HASHER, "scan", ""), *asked]
    assert {by_id[by_id[scan.parent_id].parent_id].tags["lookalike.shard"] for scan in scans} == {0, 1}


def is_whole(spans: Sequence[Span]) -> bool:
    """Whether the gateway's call leads to every span."""
    ids = {span.span_id for span in spans}
    return [span.service for span in spans if span.parent_id not in ids] == [GATEWAY]


def test_every_trace_begins_at_the_gateway_and_is_whole(traced: Traced) -> None:
    assert {GATEWAY, EMBEDDER, HASHER, TRITON} <= traced.jaeger.services()
    traced.stack.stop()  # hands over what is left; Triton does so by itself, seconds later
    deadline = time.monotonic() + jaeger.WAIT_SECONDS
    while torn := {id: spans for id, spans in traced.jaeger.traces(GATEWAY).items() if not is_whole(spans)}:
        assert time.monotonic() < deadline, torn
        time.sleep(0.5)
    of_gateway = traced.jaeger.traces(GATEWAY)
    assert len(of_gateway) > 20
    kinds = {span.name for spans in of_gateway.values() for span in spans if span.service == GATEWAY}
    assert {SEARCH, "lookalike.v1.CatalogService/UpsertItems"} <= kinds
    # Hashers and embedders sample all that comes to them without a decision: the gateway's questions about
    # their state, but no part of a call that it has decided not to sample.
    for service, name in ((HASHER, SHARD), (EMBEDDER, EMBED)):
        traces = traced.jaeger.traces(service, **{"rpc.method": name})
        assert traces
        assert traces.keys() <= of_gateway.keys()
    traced.stack.start()


def test_the_trace_of_a_failed_search_names_the_shard(traced: Traced) -> None:
    traced.stack.hashers[1].kill()
    with pytest.raises(grpc.RpcError):
        traced.search()
    trace = traced.sent[-1]
    wanted = {(SEARCH, "server"): 1, (SHARD, "client"): 2}
    spans = traced.jaeger.trace(
        lambda spans: wanted.items() <= Counter((span.name, span.kind) for span in spans).items(), trace
    )
    search = only(spans, GATEWAY, SEARCH)
    assert search.failed
    assert search.tags["error.type"] == "COVERAGE_TOO_LOW"
    assert search.tags["lookalike.degraded_reason"] == "shard 1: unreachable"
    calls = [span for span in spans if (span.name, span.kind) == (SHARD, "client")]
    assert {span.tags["lookalike.shard"]: span.failed for span in calls} == {0: False, 1: True}
    # As one would look for it.
    assert trace in traced.jaeger.traces(GATEWAY, **{"error.type": "COVERAGE_TOO_LOW"})

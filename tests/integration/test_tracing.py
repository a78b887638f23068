"""One search by photo as one trace, from the caller through three services, in a real collector's hands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from deploy.local import otelcol
from lookalike.client import Item
from lookalike.client.requests import read_photo
from lookalike.v1 import search_pb2, search_pb2_grpc, types_pb2
from tests.collector import Collector, Span, collecting

if TYPE_CHECKING:
    from conftest import Stack

TRACE = "0af7651916cd43dd8448eb211c80319c"
SEARCH = "lookalike.v1.SearchService/Search"
EMBED, SHARD = "lookalike.v1.EmbedderService/Embed", "lookalike.v1.HasherService/Search"
SERVER, CLIENT = 2, 3


@pytest.fixture
def collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Gets the spans of all services that are started in the test, through a real collector."""
    if reason := otelcol.missing():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with collecting() as received:
        real = otelcol.OtelCollector(tmp_path, received.endpoint.removeprefix("http://"))
        real.start()
        try:
            for service in ("GATEWAY", "HASHER", "EMBEDDER"):
                monkeypatch.setenv(f"LOOKALIKE_{service}_TRACE_ENDPOINT", real.endpoint)
                monkeypatch.setenv(f"LOOKALIKE_{service}_TRACE_SAMPLE_RATIO", "0")
            yield received
        finally:
            real.stop()


def _search(stack: Stack, item: Item) -> None:
    query = search_pb2.Query(image=types_pb2.Image(content=read_photo(item.image or b"", "image")))
    with grpc.insecure_channel(stack.gateway.target) as channel:
        search_pb2_grpc.SearchServiceStub(channel).Search(
            search_pb2.SearchRequest(collection="traced", query=query, k=3),
            metadata=(("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"),),
            timeout=20,
        )


def test_a_search_by_photo_is_one_trace(
    collector: Collector, make_stack: Callable[[], Stack], items: list[Item]
) -> None:
    stack = make_stack()
    with stack.client() as client:
        client.create_collection("traced")
        client.ingest(items[:20], collection="traced")
    _search(stack, items[0])

    def named(name: str, kind: int) -> list[Span]:
        return [span for span in collector.spans if (span.name, span.kind) == (name, kind)]

    def complete(spans: list[Span]) -> bool:
        wanted = ((SEARCH, SERVER, 1), (EMBED, SERVER, 1), (SHARD, SERVER, 2), (SHARD, CLIENT, 2))
        return all(len(named(name, kind)) == count for name, kind, count in wanted)

    spans = collector.wait_for(complete)
    assert {span.trace_id for span in spans} == {TRACE}, "what nobody asked to trace is not traced"
    (search,) = named(SEARCH, SERVER)
    assert (search.service, search.parent_id) == ("lookalike-gateway", "b7ad6b7169203331")
    assert search.attributes["lookalike.shards_answered"] == 2
    below = {span.name for span in spans if span.parent_id == search.span_id}
    assert below == {"admit", "embed", "fanout", "merge", EMBED, SHARD}

    (embed,) = named(EMBED, SERVER)
    assert (embed.service, embed.parent_id) == ("lookalike-embedder", named(EMBED, CLIENT)[0].span_id)
    assert {"preprocess", "encode"} <= {span.name for span in spans if span.parent_id == embed.span_id}

    callers = {span.span_id: span.attributes["lookalike.shard"] for span in named(SHARD, CLIENT)}
    assert sorted(callers.values()) == [0, 1]
    for shard in named(SHARD, SERVER):
        assert shard.service == "lookalike-hasher"
        assert shard.parent_id in callers
        stages = {span.name for span in spans if span.parent_id == shard.span_id}
        assert {"convert", "hash", "scan", "rerank"} <= stages
    assert all(search.start_ns <= span.start_ns <= span.end_ns <= search.end_ns for span in spans)

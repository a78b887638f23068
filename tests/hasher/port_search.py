"""Searches of a generation as a caller of the search port gets them, without a shard around it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray

from hasher.config import HasherSettings
from hasher.filters import Filter
from hasher.generation import Generation
from hasher.identity import Identity
from hasher.search_port import SearchPort
from lookalike.runtime.metrics import Metrics
from lookalike.v1 import hasher_pb2, hasher_pb2_grpc, search_pb2
from lookalike.wire.filters import filter_message
from lookalike.wire.vectors import to_bytes

_TARGET = hasher_pb2.ShardIdentity(installation_id="home", shard=0, shard_count=1, layout_epoch=1)
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """One search; ``vectors`` is (n, dimension) float32."""

    vectors: NDArray[np.float32]
    k: int
    group: bool = True
    exact: bool = False
    probes: int | None = None
    effort: float | None = None
    filter: Filter | None = None
    exclude_item_id: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row found: its cosine similarity and its document."""

    score: float
    document: bytes


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The hits of each vector, best first, and what finding them took."""

    hits: list[list[Hit]]
    codes_scanned: list[int]
    codes_total: int
    position: int


@cache
def _port() -> tuple[SearchPort, hasher_pb2_grpc.HasherServiceStub]:
    settings = HasherSettings(data_folder=Path("none"), port=0, search_threads=1)
    port = SearchPort(settings, "", Metrics())
    port.become(Identity("home", 0, 1))
    port.loaded()
    bound = port.start(None)["search_port"]
    return port, hasher_pb2_grpc.HasherServiceStub(grpc.insecure_channel(f"127.0.0.1:{bound}"))


def search(generation: Generation, query: SearchQuery) -> SearchAnswer:
    """Finds the nearest rows to each vector of a query."""
    request = hasher_pb2.HasherServiceSearchRequest(
        generation=generation.name,
        model_version=generation.spec.model_version,
        vectors_f32_le=to_bytes(query.vectors),
        k=query.k,
        group_by_product=query.group,
        exact=query.exact,
        probes=query.probes,
        effort=query.effort,
        filter=None if query.filter is None else filter_message(query.filter),
        exclude_item_id=query.exclude_item_id,
        target=_TARGET,
    )
    port, stub = _port()
    with _one_at_a_time:
        port.publish(generation)
        try:
            answer = stub.Search(request, timeout=60)
        finally:
            port.withdraw(generation.name)
    hits = [list(map(_hit, result.hits)) for result in answer.results]
    scanned = [result.codes_scanned for result in answer.results]
    return SearchAnswer(hits, scanned, answer.codes_total, answer.position)


def _hit(message: search_pb2.Hit) -> Hit:
    score = message.score
    message.ClearField("score")
    return Hit(score, message.SerializeToString(deterministic=True))


def item_id_of(document: bytes) -> str:
    """Returns the id of the item that a document is of."""
    return search_pb2.Hit.FromString(document).item_id

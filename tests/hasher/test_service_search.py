"""Searches over gRPC: the contract of ``hasher.proto``."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from lookalike.errors import Reason
from lookalike.filters import Equals, Filter, InCategory, Range
from lookalike.v1 import hasher_pb2, types_pb2
from lookalike.wire.filters import filter_message
from lookalike.wire.vectors import to_bytes
from tests.hasher.served import Client, Code, refusal, upsert

BAD_VECTOR = to_bytes(np.full(16, np.nan, dtype=np.float32))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"k": 0}, Reason.FIELD_OUT_OF_RANGE),
        ({"k": 1001}, Reason.FIELD_OUT_OF_RANGE),
        ({"k": 10**6}, Reason.FIELD_OUT_OF_RANGE),
        ({"probes": 0}, Reason.FIELD_OUT_OF_RANGE),
        ({"effort": 1.01}, Reason.FIELD_OUT_OF_RANGE),
        ({"effort": float("nan")}, Reason.FIELD_OUT_OF_RANGE),
        ({"effort": 0.5, "probes": 3}, Reason.FIELD_INVALID),
        ({"filter": types_pb2.Filter(all=[types_pb2.Condition()])}, Reason.FIELD_MISSING),
        ({"vectors": b""}, Reason.DIMENSION_MISMATCH),
        ({"vectors": bytes(63)}, Reason.DIMENSION_MISMATCH),
        ({"vectors": bytes(64)}, Reason.VECTOR_ZERO),
        ({"vectors": BAD_VECTOR}, Reason.VECTOR_NOT_FINITE),
        ({"vectors": np.ones((257, 16), dtype=np.float32)}, Reason.BATCH_TOO_LARGE),
        ({"generation": "../g"}, Reason.FIELD_INVALID),
    ],
)
async def test_bad_search(client: Client, rows: Any, fields: dict[str, Any], reason: Reason) -> None:
    code, error = await refusal(client.search(**{"vectors": rows.vector(1), **fields}))
    assert (code, error.reason) == (Code.INVALID_ARGUMENT, reason)


def _filter(**groups: Any) -> types_pb2.Filter:
    return filter_message(Filter(**groups))


async def test_only_rows_that_pass_the_filter_are_found(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "blue"), upsert(rows, "red", attributes={"colour": "red"}))

    async def found(**groups: Any) -> list[str]:
        answer = await client.search(rows.vector("blue"), filter=_filter(**groups))
        return [hit.item_id for hit in answer.results[0].hits]

    assert await found() == ["blue", "red"]
    assert await found(all=(Equals("colour", "red"),)) == ["red"]
    assert await found(none=(Equals("colour", "red"),)) == ["blue"]
    assert await found(all=(InCategory(("home",)), Range("size", 2, 2))) == ["blue", "red"]
    assert await found(any=(InCategory(("mugs",)), Equals("shape", "round"))) == []


async def test_effort_is_taken(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"))
    for effort in (0.0, 0.5, 1.0):
        found = await client.search(rows.vector("a"), effort=effort)
        assert [hit.item_id for hit in found.results[0].hits] == ["a"]


async def test_largest_k_and_probes_are_taken(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"))
    found = await client.search(rows.vector("a"), k=1000, probes=2**32 - 1)
    assert [hit.item_id for hit in found.results[0].hits] == ["a"]


async def test_excluded_item_gives_its_place_to_its_product(client: Client, rows: Any) -> None:
    near = to_bytes(rows.vector("a") + 0.1 * rows.vector("other"))
    await client.write(upsert(rows, "a", "p"), upsert(rows, "a2", "p", vector=near), upsert(rows, "b", "q"))
    options = {"k": 2, "exclude_item_id": "a", "exact": True}
    for group in (True, False):
        found = await client.search(rows.vector("a"), group_by_product=group, **options)
        assert [hit.item_id for hit in found.results[0].hits] == ["a2", "b"]


async def test_min_position_waits_for_the_write(client: Client, rows: Any) -> None:
    search = asyncio.create_task(client.search(rows.vector("a"), k=1, min_positions={0: 2}))
    await asyncio.sleep(0.05)
    assert not search.done()
    await client.write(upsert(rows, "a"))
    found = await search
    assert found.position >= 2
    assert found.results[0].hits[0].item_id == "a"


async def test_min_position_that_never_comes_is_unavailable(client: Client, rows: Any) -> None:
    code, error = await refusal(client.search(rows.vector("a"), min_positions={0: 99}, timeout=0.5))
    assert (code, error.reason) == (Code.UNAVAILABLE, Reason.LOG_POSITION_NOT_REACHED)
    assert error.metadata == {"position": "1"}


async def test_metrics_show_stages_items_and_work(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"), upsert(rows, "b"))
    await client.search(rows.vector("a"))
    value = client.metrics.registry.get_sample_value
    assert value("lookalike_hasher_items") == 2
    assert value("lookalike_hasher_codes_scanned_total") == 2
    assert value("lookalike_hasher_buckets_probed_total") == 1
    for stage in ("position", "queue", "convert", "hash", "probe", "scan", "rerank"):
        assert value("lookalike_hasher_stage_seconds_count", {"stage": stage, "exact": "false"}) == 1
    await client.search(rows.vector("a"), exact=True)
    for exact in ("false", "true"):
        assert value("lookalike_hasher_stage_seconds_count", {"stage": "scan", "exact": exact}) == 1
        assert value("lookalike_hasher_candidates_reranked_total", {"exact": exact}) == 2
        assert value("lookalike_hasher_stage_seconds_count", {"stage": "queue", "exact": exact}) == 1


async def test_exact_searches_hold_up_only_each_other(
    shards: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await shards()
    await client.create(rerank="RERANK_PRECISION_INT8")
    await client.write(upsert(rows, "a"))
    running, go_on = [], threading.Event()
    store = client.shard.generation("g").store
    vectors = store.vectors

    def slow(numbers: Any) -> Any:
        running.append(numbers)
        assert go_on.wait(20)
        return vectors(numbers)

    monkeypatch.setattr(store, "vectors", slow)
    exact = [asyncio.create_task(client.search(rows.vector("a"), exact=True)) for _ in range(4)]
    try:
        while not running:
            await asyncio.sleep(0.01)
        for _ in range(3):
            assert (await client.search(rows.vector("a"))).results[0].hits
            assert (await client.stub.Get(hasher_pb2.GetRequest(generation="g", item_ids=["a"]))).rows
        assert len(running) == 1
    finally:
        go_on.set()
    for answer in await asyncio.gather(*exact):
        assert answer.results[0].hits


async def test_late_and_failed_searches_are_measured(client: Client, rows: Any) -> None:
    value = client.metrics.registry.get_sample_value

    def count(stage: str) -> float | None:
        return value("lookalike_hasher_stage_seconds_count", {"stage": stage, "exact": "false"})

    await client.write(upsert(rows, "a"))
    await refusal(client.search(rows.vector("a"), min_positions={0: 99}, timeout=0.3))
    assert (count("position"), count("queue")) == (1, 0)
    await refusal(client.search(rows.vector("a"), k=2000))
    assert [count(stage) for stage in ("position", "convert", "queue", "scan")] == [2, 1, 0, 0]


@pytest.mark.parametrize("length", [1e-38, 1e-20, 1e18])
async def test_length_of_a_query_does_not_matter(client: Client, rows: Any, length: float) -> None:
    await client.write(*(upsert(rows, f"i{n}") for n in range(30)))
    query = rows.vector("query")
    for exact in (False, True):
        found, other = [
            (await client.search(vector, exact=exact)).results[0].hits
            for vector in (query, (query.astype(np.float64) * length).astype(np.float32))
        ]
        assert [hit.item_id for hit in other] == [hit.item_id for hit in found]
        assert [hit.score for hit in other] == pytest.approx([hit.score for hit in found], abs=1e-5)

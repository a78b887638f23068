from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from gateway import checks
from gateway.offload import off_loop
from lookalike.v1 import catalog_pb2, search_pb2, types_pb2
from lookalike.wire.filters import filter_of

if TYPE_CHECKING:
    from conftest import Gateway


async def test_large_work_is_done_in_a_thread_and_small_work_at_once() -> None:
    loop = threading.current_thread()
    assert await off_loop(1000, threading.current_thread) is loop
    assert await off_loop(10**6, threading.current_thread) is not loop
    for size in (1, 10**6):
        with pytest.raises(ZeroDivisionError):
            await off_loop(size, lambda: 1 // 0)


async def test_what_a_large_request_costs_leaves_the_loop_free(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these held up every other call of the gateway for tens of milliseconds."""
    moved: list[str] = []
    to_thread = asyncio.to_thread

    async def noting(work: object, *args: object) -> object:
        moved.append(work.__qualname__)
        return await to_thread(work, *args)

    await gateway.create()
    monkeypatch.setattr(asyncio, "to_thread", noting)
    attributes = {f"a{n}": "x" * 1000 for n in range(4)}
    items = [
        catalog_pb2.UpsertItem(
            item=types_pb2.Item(item_id=f"i{n}", attributes=attributes),
            embedding=types_pb2.Embedding(values=[1.0] * 8),
        )
        for n in range(20)
    ]
    await gateway.catalog.UpsertItems(catalog_pb2.UpsertItemsRequest(collection="shop", items=items))
    condition = types_pb2.Condition()
    getattr(condition, "in").MergeFrom(types_pb2.AttributeIn(name="a", values=["x" * 1000] * 40))
    query = search_pb2.Query(embedding=types_pb2.Embedding(values=[1.0] * 8))
    large = types_pb2.Filter(all=[condition])
    await gateway.search.Search(search_pb2.SearchRequest(collection="shop", k=1, query=query, filter=large))
    ids = [upsert.item.item_id for upsert in items]
    await gateway.catalog.GetItems(catalog_pb2.GetItemsRequest(collection="shop", item_ids=ids))
    await gateway.catalog.ListItems(catalog_pb2.ListItemsRequest(collection="shop"))
    places = [name.split(".")[0] for name in moved]
    assert places == ["Writer", "DirectLog", "SearchPipeline", "Reader", "Reader"]


async def test_a_filter_is_parsed_once(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    await gateway.create()
    parsed: list[str] = []
    # Not where it is defined: the shards of this test parse filters, too.
    monkeypatch.setattr(checks, "filter_of", lambda m, field: parsed.append(field) or filter_of(m, field))
    query = search_pb2.Query(embedding=types_pb2.Embedding(values=[1.0] * 8))
    path = types_pb2.Condition(in_category=types_pb2.CategoryPath(names=["a"]))
    request = search_pb2.SearchRequest(
        collection="shop", k=1, query=query, filter=types_pb2.Filter(all=[path])
    )
    await gateway.search.Search(request)
    assert parsed == ["filter"]

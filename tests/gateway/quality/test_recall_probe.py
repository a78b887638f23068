"""Live searches that are run again exactly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway.admission import Admission
from gateway.asked import Asked
from gateway.checks import check_options
from gateway.limit import FixedLimit
from gateway.metrics import GatewayMetrics
from gateway.quality.intervals import wilson
from gateway.quality.recall_probe import RecallMetrics, RecallProbe
from lookalike.errors import UnavailableError
from lookalike.runtime.metrics import Metrics
from lookalike.v1 import catalog_pb2, collection_pb2, types_pb2
from tests.gateway.searches import search_request

if TYPE_CHECKING:
    from conftest import Gateway, StartGateway

OFF = {"recall_probe_interval_seconds": 0, "profile_interval_seconds": 0}


def probe_of(gateway: Gateway) -> RecallProbe:
    """The gateway's own."""
    (run,) = [one for one in gateway.runner._background if one.__qualname__ == "RecallProbe.run"]
    probe: RecallProbe = run.__self__
    return probe


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """One that probes only when it is asked to."""
    gateway = await start_gateway(**OFF)
    await gateway.create()
    rng = np.random.default_rng(5)
    items = [
        catalog_pb2.UpsertItem(
            item=types_pb2.Item(
                item_id=f"i{n:02}", category=types_pb2.CategoryPath(names=["shoes" if n % 2 else "bags"])
            ),
            embedding=types_pb2.Embedding(values=rng.normal(size=8)),
        )
        for n in range(40)
    ]
    await gateway.catalog.UpsertItems(catalog_pb2.UpsertItemsRequest(collection="shop", items=items))
    return gateway


async def best(gateway: Gateway, count: int) -> list[str]:
    return [hit.item_id for hit in (await gateway.search.Search(search_request(k=count))).hits]


async def test_recall_is_what_the_search_finds_of_the_exact_answer(gateway: Gateway) -> None:
    wanted = await best(gateway, 10)
    probe = probe_of(gateway)
    await probe.probe()
    assert gateway.sample("recall_ratio", collection="shop") == 1
    for shard in gateway.shards:
        shard.overlooked = set(wanted[:3])
    await gateway.search.Search(search_request(k=10))
    await probe.probe()
    assert gateway.sample("recall_ratio", collection="shop") == pytest.approx((1 + 0.7) / 2)
    low, high = (
        gateway.sample("recall_interval_ratio", collection="shop", end=end) for end in ("low", "high")
    )
    assert (low, high) == pytest.approx(wilson(0.85, 2))
    assert gateway.sample("recall_probed_queries", collection="shop") == 2
    category = "shoes" if int(wanted[0][1:]) % 2 else "bags"
    labels = {"collection": "shop", "category": category}
    assert gateway.sample("recall_wanted_hits_total", **labels) == 20
    assert gateway.sample("recall_found_hits_total", **labels) == 17
    assert gateway.sample("recall_probes_total", ending="done") == 2
    assert gateway.sample("recall_probe_seconds_count") == 2


async def test_an_item_stands_for_its_product(gateway: Gateway) -> None:
    await gateway.create("grouped")
    items = [
        catalog_pb2.UpsertItem(
            item=types_pb2.Item(item_id=f"i{n}", product_id="same"),
            embedding=types_pb2.Embedding(values=[1.0] * 7 + [float(n)]),
        )
        for n in range(2)
    ]
    await gateway.catalog.UpsertItems(catalog_pb2.UpsertItemsRequest(collection="grouped", items=items))
    (first,) = (await gateway.search.Search(search_request(collection="grouped"))).hits
    for shard in gateway.shards:
        shard.overlooked = {first.item_id}
    await probe_of(gateway).probe()
    assert gateway.sample("recall_ratio", collection="grouped") == 1


async def test_a_probe_asks_what_the_search_asked_and_counts_apart(gateway: Gateway) -> None:
    request = search_request(k=7, min_score=0.1, effort=0.25, min_coverage=0.5, group_by_product=False)
    await gateway.search.Search(request)
    before = gateway.sample("stage_seconds_count", stage="fanout")
    for shard in gateway.shards:
        shard.searched.clear()
    await probe_of(gateway).probe()
    for shard in gateway.shards:
        live, exact = shard.searched
        assert (live.exact, exact.exact) == (False, True)
        exact.exact = False
        assert live == exact
        assert (live.k, live.effort, live.group_by_product) == (7, 0.25, False)
    assert gateway.sample("stage_seconds_count", stage="fanout") == before
    for call in ("search", "probe", "exact_probe"):
        assert gateway.sample("shard_seconds_count", call=call, shard="0") == 1


async def test_a_collection_that_is_gone_makes_room(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = probe_of(gateway)
    monkeypatch.setattr(probe._metrics._collections, "_most", 1)
    await gateway.search.Search(search_request())
    await probe.probe()
    assert gateway.sample("recall_ratio", collection="shop") == 1
    await gateway.fill(5, products=5, name="next")
    await gateway.search.Search(search_request(collection="next"))
    await probe.probe()
    assert gateway.sample("recall_ratio", collection="next") is None
    assert gateway.sample("recall_wanted_hits_total", collection="other", category="none") == 5
    await gateway.collections.DeleteCollection(collection_pb2.DeleteCollectionRequest(name="shop"))
    await gateway.search.Search(search_request(collection="next"))
    await probe.probe()
    assert gateway.sample("recall_ratio", collection="next") == 1
    assert gateway.sample("recall_ratio", collection="shop") is None
    for category in ("shoes", "bags"):
        assert gateway.sample("recall_wanted_hits_total", collection="shop", category=category) is None


async def test_a_lost_shard_is_no_lost_recall(gateway: Gateway) -> None:
    await gateway.search.Search(search_request())
    gateway.shards[1].failure = UnavailableError("down")
    await probe_of(gateway).probe()
    assert gateway.sample("recall_probes_total", ending="failed") == 1
    assert gateway.sample("recall_ratio", collection="shop") is None
    assert gateway.sample("shard_failures_total", shard="1", cause="failed") == 0


async def test_nothing_to_find_is_no_lost_recall(gateway: Gateway) -> None:
    await gateway.search.Search(search_request(min_score=1.0))
    await probe_of(gateway).probe()
    assert gateway.sample("recall_probes_total", ending="empty") == 1
    assert gateway.sample("recall_ratio", collection="shop") is None


async def test_live_searches_come_first(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_searches=2, **OFF)
    await gateway.fill(10, products=10)
    await gateway.search.Search(search_request())
    for shard in gateway.shards:
        shard.delay_seconds = 0.3
    live = asyncio.ensure_future(gateway.search.Search(search_request()))
    await asyncio.sleep(0.1)
    await probe_of(gateway).probe()
    assert gateway.sample("recall_probes_total", ending="busy") == 1
    await live
    assert not any(request.exact for shard in gateway.shards for request in shard.searched)


async def test_a_slow_probe_is_followed_by_a_long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Probe(RecallProbe):
        async def probe(self) -> None:
            await real_sleep(0.05)

    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    metrics = Metrics()
    searches = Admission("vector_searches", FixedLimit(1), 0, GatewayMetrics(metrics))
    options = {"interval_seconds": 0.1, "share": 0.01, "timeout_seconds": 1}
    probe = Probe(None, None, searches, RecallMetrics(metrics), **options)  # type: ignore[arg-type]
    monkeypatch.setattr("gateway.quality.recall_probe.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await probe.run()
    assert pauses[0] == 0.1
    assert all(99 * 0.05 <= pause < 99 * 1 for pause in pauses[1:])


def test_each_search_is_as_likely_to_be_probed(gateway: Gateway) -> None:
    rng = np.random.default_rng(1)
    probe = probe_of(gateway)
    probe._uniform = rng.random
    collection = gateway.directory.resolve("shop")
    exact = Asked(collection, check_options(search_request(exact=True)), b"")
    offered = [Asked(collection, check_options(search_request(k=k)), b"") for k in range(1, 6)]
    chosen = {asked.options.k: 0 for asked in offered}
    for _ in range(2000):
        for asked in (*offered, exact):
            probe.offer(asked)
        assert probe._chosen
        chosen[probe._chosen.options.k] += 1
        probe._chosen, probe._offered = None, 0
    assert all(330 < count < 470 for count in chosen.values())


async def test_probes_go_on_by_themselves(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(recall_probe_interval_seconds=0.05, recall_probe_share=1.0)
    await gateway.fill(10, products=10)
    for _ in range(200):
        await gateway.search.Search(search_request())
        if (gateway.sample("recall_probes_total", ending="done") or 0) >= 2:
            return
        await asyncio.sleep(0.02)
    pytest.fail("no probes")

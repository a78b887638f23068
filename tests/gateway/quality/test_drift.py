"""Queries compared with the catalogue, through a gateway and alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway.asked import Asked
from gateway.checks import check_options
from gateway.directory.base import Collection, State
from gateway.directory.sqlite import SqliteDirectory
from gateway.fanout import Shards
from gateway.quality.bounds import MOST_COLLECTIONS
from gateway.quality.drift import SAMPLE_SECONDS, Drift
from lookalike.collections import Spec
from lookalike.errors import UnavailableError
from lookalike.runtime.metrics import Metrics
from lookalike.v1 import catalog_pb2, collection_pb2, hasher_pb2, types_pb2
from tests.gateway.searches import photo_query, search_request, vector_query

if TYPE_CHECKING:
    from conftest import FakeShard, Gateway, StartGateway

DIMENSION = 8
NORTH, SOUTH = [1.0] + [0.0] * 7, [-1.0] + [0.0] * 7
ANYTHING = check_options(search_request())


async def until(gateway: Gateway, metric: str, **labels: str) -> float:
    for _ in range(500):
        if (value := gateway.sample(metric, **labels)) is not None:
            return value
        await asyncio.sleep(0.01)
    raise AssertionError(f"{metric} does not come")


async def fill(gateway: Gateway, *metas: str) -> None:
    """Items around NORTH, of some categories in turn."""
    await gateway.create()
    rng = np.random.default_rng(3)
    items = [
        catalog_pb2.UpsertItem(
            item=types_pb2.Item(
                item_id=f"i{n}", category=types_pb2.CategoryPath(names=[metas[n % len(metas)], "leaf"])
            ),
            embedding=types_pb2.Embedding(values=np.array(NORTH) + 0.2 * rng.normal(size=DIMENSION)),
        )
        for n in range(60)
    ]
    await gateway.catalog.UpsertItems(catalog_pb2.UpsertItemsRequest(collection="shop", items=items))


@pytest.fixture
async def gateway(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr("gateway.quality.drift.SAMPLE_SECONDS", 0)
    return await start_gateway(profile_interval_seconds=0.05)


async def test_queries_like_the_catalogue_and_others(gateway: Gateway) -> None:
    await fill(gateway, "shoes")
    for _ in range(20):
        await gateway.search.Search(search_request(query=vector_query(NORTH)))
    assert await until(gateway, "embedding_mean_cosine_ratio", collection="shop") > 0.95
    assert gateway.sample("profiled_queries_total", collection="shop") == 20
    assert gateway.sample("embedding_spread_ratio", collection="shop", of="queries") < 0.01
    assert 0.05 < gateway.sample("embedding_spread_ratio", collection="shop", of="catalogue") < 0.5
    for _ in range(60):
        await gateway.search.Search(search_request(query=vector_query(SOUTH)))
    assert gateway.sample("embedding_mean_cosine_ratio", collection="shop") < -0.9
    assert gateway.sample("category_divergence_ratio", collection="shop") is None, "no photo was asked for"
    assert gateway.sample("top_score_ratio_count") == 80


async def test_predicted_categories_and_those_of_the_catalogue(gateway: Gateway) -> None:
    await fill(gateway, "meta-0", "meta-1", "hats")
    await gateway.search.Search(search_request(query=photo_query()))
    assert 0 < await until(gateway, "category_divergence_ratio", collection="shop") < 1
    shares = {
        (category, of): gateway.sample("category_share_ratio", collection="shop", category=category, of=of)
        for category in ("meta-0", "hats", "other")
        for of in ("queries", "catalogue")
    }
    assert shares["meta-0", "queries"] == pytest.approx(0.4)
    assert shares["meta-0", "catalogue"] == pytest.approx(1 / 3)
    assert (shares["hats", "queries"], shares["other", "catalogue"]) == pytest.approx((0, 0))


async def test_a_collection_that_is_gone_is_watched_no_more(gateway: Gateway) -> None:
    await fill(gateway, "shoes")
    await gateway.search.Search(search_request(query=vector_query(NORTH)))
    await until(gateway, "embedding_mean_cosine_ratio", collection="shop")
    await gateway.collections.DeleteCollection(collection_pb2.DeleteCollectionRequest(name="shop"))
    for _ in range(500):
        if gateway.sample("profiled_queries_total", collection="shop") is None:
            return
        await asyncio.sleep(0.01)
    pytest.fail("it is still watched")


def collection(name: str, generation: str = "g") -> Collection:
    return Collection(name, f"{name}.{generation}", State.READY, Spec("m", DIMENSION, 64, 1024), 0)


def asked(name: str, generation: str = "g") -> Asked:
    return Asked(collection(name, generation), ANYTHING, np.array(NORTH, np.float32).tobytes())


@pytest.fixture
def make_drift(
    directory: SqliteDirectory,
    fan_out: Callable[..., Shards],
    make_shards: Callable[[int], list[FakeShard]],
) -> Callable[..., tuple[Drift, Metrics]]:
    def make(interval_seconds: float, clock: Callable[[], float]) -> tuple[Drift, Metrics]:
        metrics = Metrics()
        return Drift(directory, fan_out(make_shards(1)), metrics, interval_seconds, clock), metrics

    return make


def seen(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value("lookalike_gateway_profiled_queries_total", {"collection": name})


def test_few_queries_are_looked_at_and_few_collections(
    make_drift: Callable[..., tuple[Drift, Metrics]],
) -> None:
    now = 0.0
    drift, metrics = make_drift(1, lambda: now)
    for _ in range(100):
        drift.take(asked("shop"))
    assert seen(metrics, "shop") == 1
    now += SAMPLE_SECONDS
    drift.take(asked("shop"))
    assert seen(metrics, "shop") == 2
    for number in range(2 * MOST_COLLECTIONS):
        now += SAMPLE_SECONDS
        drift.take(asked(f"shop{number}"))
    watched = [number for number in range(2 * MOST_COLLECTIONS) if seen(metrics, f"shop{number}")]
    assert watched == list(range(MOST_COLLECTIONS - 1))
    now += SAMPLE_SECONDS
    drift.take(asked("shop", "again"))
    assert seen(metrics, "shop") == 1, "it was created again"


async def test_it_can_be_turned_off(make_drift: Callable[..., tuple[Drift, Metrics]]) -> None:
    drift, metrics = make_drift(0, lambda: 7.0)
    drift.take(asked("shop"))
    await drift.run()
    assert seen(metrics, "shop") is None


async def test_an_empty_collection_is_asked_about_as_seldom_as_others(
    directory: SqliteDirectory, fan_out: Callable[..., Shards], make_shards: Callable[[int], list[FakeShard]]
) -> None:
    (shard,) = shards = make_shards(1)
    drift = Drift(directory, fan_out(shards), Metrics(), 300)
    await directory.begin_create("shop", Spec("m", DIMENSION, 64, 1024))
    created = await directory.finish_create("shop")
    identity = hasher_pb2.ShardIdentity(
        installation_id="installation", shard=0, shard_count=1, layout_epoch=1
    )
    create = hasher_pb2.ApplyRequest(
        target=identity,
        request_id="create",
        generation=created.generation,
        create=collection_pb2.CollectionSpec(),
    )
    await shard.apply(create, timeout_seconds=1)
    drift.take(Asked(created, ANYTHING, np.array(NORTH, np.float32).tobytes()))
    assert drift.pause_seconds == 10, "it was not looked at"
    shard.failure = UnavailableError("away")
    await drift.look()
    assert drift.pause_seconds == 10, "its shard was away"
    shard.failure = None
    await drift.look()
    assert drift.pause_seconds == 300, "it has no rows"

"""From photo to products, through real processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lookalike.catalogue.catalog import Catalog
from lookalike.client import Client, Item, Search, SearchResult
from lookalike.errors import FailedPreconditionError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Stack


@pytest.fixture(scope="module")
def client(stack: Stack, items: list[Item]) -> Iterator[Client]:
    """A client of an installation that holds the catalogue's index rows in the collection `shop`."""
    with stack.client() as connected:
        connected.create_collection("shop")
        report = connected.ingest(items, collection="shop")
        assert report.acknowledged_count == len(items)
        assert not report.failures
        yield connected


def test_a_stored_photo_finds_itself(client: Client, items: list[Item]) -> None:
    for item in items[::20]:
        result = client.search(image=item.image, k=3, collection="shop")
        assert result.hits[0].product_id == item.product_id
        assert result.hits[0].item_id == item.item_id
        assert result.hits[0].score == pytest.approx(1.0, abs=1e-4)
        assert (result.hits[0].title, result.hits[0].category) == (item.title, tuple(item.category))


def test_hits_are_distinct_products_best_first(client: Client, catalog: Catalog) -> None:
    for query in catalog.query_items()[:10]:
        hits = client.search(image=query.image_path, k=10, collection="shop").hits
        assert len({hit.product_id for hit in hits}) == len(hits) == 10
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_answers_are_those_of_brute_force(client: Client, items: list[Item]) -> None:
    stored = client.get([item.item_id for item in items], collection="shop", include_embeddings=True).items
    vectors = np.stack([item.embedding for item in stored if item.embedding is not None])
    for row in range(0, len(stored), 25):
        scores = vectors @ vectors[row]
        best = np.argsort(-scores, kind="stable")[:10]
        hits = client.search(
            embedding=vectors[row], k=10, collection="shop", exact=True, group_by_product=False
        ).hits
        assert np.allclose([hit.score for hit in hits], scores[best], atol=1e-5)
        assert hits[0].item_id == stored[row].item_id


def test_search_by_item_leaves_the_item_out(client: Client, items: list[Item]) -> None:
    result = client.search(item_id=items[0].item_id, k=10, collection="shop", group_by_product=False)
    assert items[0].item_id not in {hit.item_id for hit in result.hits}
    assert len(result.hits) == 10


def test_several_photos_of_one_product(client: Client, items: list[Item]) -> None:
    product = items[0].product_id
    photos = [item.image for item in items if item.product_id == product and item.image is not None]
    result = client.search(images=photos, k=1, collection="shop")
    assert result.hits[0].product_id == product


def test_coverage_and_timing_are_filled_in(client: Client, items: list[Item]) -> None:
    result = client.search(image=items[0].image, collection="shop")
    coverage, timing = result.coverage, result.timing
    assert (coverage.shards_answered, coverage.shards_total, coverage.codes_total) == (2, 2, len(items))
    assert 0 < coverage.codes_scanned <= coverage.codes_total
    parts = [timing.admit_seconds, timing.embed_seconds, timing.fanout_seconds, timing.merge_seconds]
    assert all(part > 0 for part in parts)
    assert sum(parts) <= timing.total_seconds
    assert 0 < timing.preprocess_seconds + timing.encode_seconds <= timing.embed_seconds
    assert timing.rerank_seconds > 0


def test_multi_search_answers_or_fails_each_for_itself(client: Client, items: list[Item]) -> None:
    good = Search(image=items[0].image, k=1, collection="shop")
    outcomes = client.multi_search([good, Search(item_id="nobody", collection="shop"), good])
    assert isinstance(outcomes[0], SearchResult)
    assert isinstance(outcomes[1], NotFoundError)
    assert isinstance(outcomes[2], SearchResult)


def test_ingesting_again_changes_no_count(client: Client, items: list[Item]) -> None:
    before = client.count(collection="shop")
    report = client.ingest(items, collection="shop")
    assert report.acknowledged_count == len(items)
    assert client.count(collection="shop") == before == len(items)


def test_list_pages_through_everything_once(client: Client, items: list[Item]) -> None:
    listed = [item.item_id for item in client.list(collection="shop", page_size=37)]
    assert sorted(listed) == sorted(item.item_id for item in items)
    assert listed == sorted(listed, key=str.encode)


def test_write_then_search_then_delete(client: Client, items: list[Item]) -> None:
    vector = np.random.default_rng(5).normal(size=1280).astype(np.float32)
    written = client.upsert([Item(item_id="new", product_id="p", embedding=vector)], collection="shop")
    assert written.receipt is not None
    assert written.receipt.durability == "LOCAL_DISK"
    found = client.search(
        embedding=vector, k=1, collection="shop", min_log_position=written.receipt.log_position
    )
    assert found.hits[0].item_id == "new"
    assert client.delete(["new", "nobody"], collection="shop").deleted_count == 1
    assert client.search(embedding=vector, k=1, collection="shop").hits[0].item_id != "new"
    assert client.count(collection="shop") == len(items)


def test_alias_moves_atomically(client: Client) -> None:
    client.create_collection("empty")
    client.set_alias("live", "shop")
    assert client.count(collection="live") > 0
    assert client.set_alias("live", "empty") == "shop"
    assert client.count(collection="live") == 0
    with pytest.raises(FailedPreconditionError):
        client.delete_collection("empty")
    client.delete_alias("live")
    client.delete_collection("empty")
    with pytest.raises(NotFoundError):
        client.count(collection="empty")


def test_classify_needs_a_model_with_categories(client: Client, items: list[Item]) -> None:
    assert isinstance(items[0].image, Path)
    with pytest.raises(FailedPreconditionError, match="categor"):
        client.classify(items[0].image)


def test_later_calls_say_that_they_are_not_there_yet(stack: Stack) -> None:
    import grpc

    from lookalike.v1 import collection_pb2, collection_pb2_grpc, search_pb2, search_pb2_grpc

    with grpc.insecure_channel(stack.gateway.target) as channel:
        search = search_pb2_grpc.SearchServiceStub(channel)
        collections = collection_pb2_grpc.CollectionServiceStub(channel)
        for call in (
            lambda: search.Explain(search_pb2.ExplainRequest()),
            lambda: collections.CreateSnapshot(collection_pb2.CreateSnapshotRequest()),
            lambda: collections.ListOperations(collection_pb2.ListOperationsRequest()),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED

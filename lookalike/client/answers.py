"""Reads the server's answers into the client's dataclasses; shared by both clients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC

import numpy as np

from lookalike.client.server_types import Alias, Collection, Limits, ServerInfo
from lookalike.client.types import (
    CategoryPrediction,
    Coverage,
    GetResult,
    Hit,
    ItemResult,
    SearchResult,
    StoredItem,
    Timing,
    UpsertResult,
    WriteReceipt,
)
from lookalike.collections import rerank_of
from lookalike.errors import LookalikeError
from lookalike.matching import MatchCalibration
from lookalike.v1 import catalog_pb2, collection_pb2, search_pb2, types_pb2
from lookalike.wire.status import error_from_status

_TIMING_FIELDS = tuple(field.name for field in fields(Timing))
_LIMITS = tuple(field.name for field in fields(Limits))


def search_result(response: search_pb2.SearchResponse) -> SearchResult:
    """Reads the answer to one search."""
    coverage = response.coverage
    return SearchResult(
        hits=tuple(map(_hit, response.hits)),
        predicted_categories=predictions(response.predicted_categories),
        coverage=Coverage(
            shards_total=coverage.shards_total,
            shards_answered=coverage.shards_answered,
            codes_scanned=coverage.codes_scanned,
            codes_total=coverage.codes_total,
            degraded_reason=coverage.degraded_reason,
        ),
        timing=Timing(**{name: getattr(response.timing, name) for name in _TIMING_FIELDS}),
        model_version=response.model_version,
        predicted_category=tuple(response.predicted_category.names),
        match_calibration_version=response.match_calibration_version,
        gated_categories=predictions(response.gated_categories),
    )


def search_outcome(result: search_pb2.SearchResult) -> SearchResult | LookalikeError:
    """Reads one entry of a multi-search: the answer, or the error as a value."""
    if result.HasField("error"):
        return error_from_status(result.error)
    return search_result(result.response)


def _hit(hit: search_pb2.Hit) -> Hit:
    return Hit(
        product_id=hit.product_id,
        item_id=hit.item_id,
        score=hit.score,
        title=hit.title,
        category=tuple(hit.category.names),
        attributes=dict(hit.attributes),
        image_uri=hit.image_uri,
        match_probability=hit.match_probability if hit.HasField("match_probability") else None,
    )


def predictions(messages: Iterable[types_pb2.CategoryPrediction]) -> tuple[CategoryPrediction, ...]:
    """Reads predicted categories."""
    return tuple(
        CategoryPrediction(
            category=tuple(message.category.names),
            level=types_pb2.CategoryLevel.Name(message.level).removeprefix("CATEGORY_LEVEL_").lower(),
            probability=message.probability,
        )
        for message in messages
    )


def item_result(result: catalog_pb2.UpsertResult) -> ItemResult:
    """Converts the outcome of one item."""
    if result.HasField("error"):
        return item_failure(catalog_pb2.ItemFailure(item_id=result.item_id, error=result.error))
    return ItemResult(result.item_id, version=result.version)


def item_failure(failure: catalog_pb2.ItemFailure) -> ItemResult:
    """Converts the failure of one item."""
    return ItemResult(failure.item_id, error=error_from_status(failure.error))


def upsert_result(response: catalog_pb2.UpsertItemsResponse) -> UpsertResult:
    """Reads the answer to a write."""
    receipt = write_receipt(response.receipt) if response.HasField("receipt") else None
    return UpsertResult(tuple(map(item_result, response.results)), receipt)


def write_receipt(receipt: types_pb2.WriteReceipt) -> WriteReceipt:
    """Reads a receipt."""
    durability = types_pb2.Durability.Name(receipt.durability).removeprefix("DURABILITY_")
    return WriteReceipt(durability, receipt.log_position)


def stored_item(message: types_pb2.StoredItem) -> StoredItem:
    """Reads a stored item."""
    embedding = None
    if message.HasField("embedding"):
        embedding = np.array(message.embedding.values, dtype=np.float32)
    return StoredItem(
        item_id=message.item.item_id,
        product_id=message.item.product_id,
        title=message.item.title,
        category=tuple(message.item.category.names),
        attributes=dict(message.item.attributes),
        image_uri=message.item.image_uri,
        version=message.version,
        update_time=message.update_time.ToDatetime(tzinfo=UTC),
        embedding=embedding,
    )


def get_result(response: catalog_pb2.GetItemsResponse) -> GetResult:
    """Reads stored items and what is missing."""
    return GetResult(tuple(map(stored_item, response.items)), tuple(response.missing_item_ids))


def collection(message: collection_pb2.Collection, item_count: int | None = None) -> Collection:
    """Reads a collection."""
    spec, own = message.spec, message.HasField("match_calibration")
    return Collection(
        name=message.name,
        model_version=spec.model_version,
        dimension=spec.dimension,
        bits=spec.bits,
        partition_count=spec.partition_count,
        generation=message.generation,
        create_time=message.create_time.ToDatetime(tzinfo=UTC),
        item_count=item_count,
        rerank=rerank_of(spec) or "",
        match_calibration=match_calibration(message.match_calibration) if own else None,
    )


def match_calibration(message: types_pb2.MatchCalibration) -> MatchCalibration:
    """Reads a calibration."""
    return MatchCalibration.from_message(message, "match_calibration")


def alias(message: collection_pb2.Alias) -> Alias:
    """Reads an alias."""
    return Alias(message.name, message.collection)


def server_info(response: search_pb2.GetServerInfoResponse) -> ServerInfo:
    """Reads what a server is."""
    return ServerInfo(
        version=response.version,
        model_version=response.model_version,
        embedding_dimension=response.embedding_dimension,
        shards_total=response.shards_total,
        limits=Limits(**{name: getattr(response.limits, name) for name in _LIMITS}),
        match_calibration_version=response.match_calibration_version,
    )

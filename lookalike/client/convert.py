"""Between the client's dataclasses and the messages on the wire; shared by both clients."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC
from pathlib import Path

import numpy as np

from lookalike.client.types import (
    Alias,
    CategoryPrediction,
    Collection,
    Coverage,
    GetResult,
    Hit,
    Item,
    ItemResult,
    Limits,
    Photo,
    Region,
    Search,
    SearchResult,
    ServerInfo,
    StoredItem,
    Timing,
    UpsertResult,
    Vector,
    WriteReceipt,
)
from lookalike.errors import InvalidInputError, LookalikeError, Reason, shown
from lookalike.filters import Condition, Filter, as_filter
from lookalike.limits import MAX_IMAGE_BYTES
from lookalike.v1 import catalog_pb2, collection_pb2, search_pb2, types_pb2
from lookalike.wire.filters import filter_message
from lookalike.wire.status import error_from_status

_UINT32_MAX = 2**32 - 1
_TIMING_FIELDS = tuple(field.name for field in types_pb2.Timing.DESCRIPTOR.fields)


def read_photo(photo: Photo, field: str) -> bytes:
    """Returns the bytes of a photo.

    Raises:
        InvalidInputError: The file cannot be read, or is larger than any server takes.
    """
    if isinstance(photo, bytes | bytearray | memoryview):
        content = bytes(photo)
        size, name = len(content), "the photo"
    else:
        path = Path(photo)
        name = f"the photo {os.fspath(photo)}"
        try:
            size = path.stat().st_size
            content = path.read_bytes() if size <= MAX_IMAGE_BYTES else b""
        except OSError as error:
            raise InvalidInputError(f"cannot read {name}: {error.strerror}", field=field) from None
    if size > MAX_IMAGE_BYTES:
        raise InvalidInputError(
            f"{name} has {size} bytes; at most {MAX_IMAGE_BYTES} are allowed",
            reason=Reason.IMAGE_TOO_LARGE,
            field=field,
            metadata={"max_bytes": str(MAX_IMAGE_BYTES)},
        )
    return content


def uint32(value: int, field: str) -> int:
    """Returns ``value`` if it fits the wire; the server checks the narrower limits."""
    if not 0 <= value <= _UINT32_MAX:
        raise InvalidInputError(
            f"{field} must not be negative or huge, got {value}",
            reason=Reason.FIELD_OUT_OF_RANGE,
            field=field,
        )
    return value


def _image(photo: Photo, region: Region | Sequence[float] | None, field: str) -> types_pb2.Image:
    image = types_pb2.Image(content=read_photo(photo, f"{field}.content"))
    if region is not None:
        if len(region) != 4:
            raise InvalidInputError(
                "a region is four numbers: x_min, y_min, x_max, y_max",
                reason=Reason.REGION_INVALID,
                field=f"{field}.region",
            )
        x_min, y_min, x_max, y_max = region
        image.region.CopyFrom(types_pb2.Region(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max))
    return image


def embedding_message(vector: Vector, field: str, model_version: str = "") -> types_pb2.Embedding:
    """Returns a vector as a message; dimension and values are the server's to judge.

    Raises:
        InvalidInputError: It is no flat sequence of numbers.
    """
    try:
        with np.errstate(over="ignore"):
            values = np.asarray(vector, dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError):
        raise InvalidInputError("an embedding is a flat sequence of numbers", field=field) from None
    if values.ndim != 1:
        shape = " x ".join(map(str, values.shape)) or "a single number"
        raise InvalidInputError(
            f"an embedding is one flat vector, got {shape}", reason=Reason.DIMENSION_MISMATCH, field=field
        )
    return types_pb2.Embedding(values=values, model_version=model_version)


def classify_request(
    image: Photo, k: int, region: Region | Sequence[float] | None
) -> search_pb2.ClassifyRequest:
    """Returns the request for the ``k`` best categories of each level."""
    return search_pb2.ClassifyRequest(image=_image(image, region, "image"), k=uint32(k, "k"))


def search_request(search: Search) -> search_pb2.SearchRequest:
    """Returns the request of one search.

    Raises:
        InvalidInputError: Not exactly one target, a photo that cannot be read, or a value that no
            message can carry.
    """
    request = search_pb2.SearchRequest(
        collection=search.collection,
        query=_query(search),
        k=uint32(search.k, "k"),
        min_score=search.min_score,
        group_by_product=search.group_by_product,
        exact=search.exact,
        min_coverage=search.min_coverage,
        min_log_position=search.min_log_position,
    )
    if search.probes is not None and search.effort is not None:
        raise InvalidInputError("a search takes probes or effort, not both", field="effort")
    if search.probes is not None:
        request.probes = uint32(search.probes, "probes")
    if search.effort is not None:
        request.effort = search.effort
    if search.filter is not None:
        request.filter.CopyFrom(_filter(search.filter))
    return request


def _filter(filter: Filter | Condition) -> types_pb2.Filter:
    try:
        return filter_message(as_filter(filter))
    except ValueError as error:
        raise InvalidInputError(str(error), field="filter") from None


def _query(search: Search) -> search_pb2.Query:
    targets = (search.image, search.images, search.embedding, search.item_id)
    if sum(target is not None for target in targets) != 1:
        raise InvalidInputError(
            "a search needs exactly one of image, images, embedding and item_id",
            reason=Reason.FIELD_MISSING,
            field="query",
        )
    if search.image is not None:
        return search_pb2.Query(image=_image(search.image, search.region, "query.image"))
    if search.region is not None:
        raise InvalidInputError(
            "a region needs one image to lie in", reason=Reason.REGION_INVALID, field="query"
        )
    if search.images is not None:
        photos = [_image(photo, None, f"query.images[{place}]") for place, photo in enumerate(search.images)]
        return search_pb2.Query(images=types_pb2.ImageSet(images=photos))
    if search.embedding is not None:
        return search_pb2.Query(embedding=embedding_message(search.embedding, "query.embedding"))
    return search_pb2.Query(item_id=search.item_id)


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


def upsert_item(item: Item) -> catalog_pb2.UpsertItem:
    """Returns an item as a message, its photo read.

    Raises:
        InvalidInputError: Neither or both of photo and vector, or a photo that cannot be read.
    """
    if (item.image is None) == (item.embedding is None):
        raise InvalidInputError(
            f"item {shown(item.item_id)} needs either an image or an embedding", reason=Reason.FIELD_MISSING
        )
    message = catalog_pb2.UpsertItem(
        item=types_pb2.Item(
            item_id=item.item_id,
            product_id=item.product_id,
            title=item.title,
            category=types_pb2.CategoryPath(names=item.category),
            attributes=item.attributes,
            image_uri=item.image_uri,
        ),
        if_version=item.if_version,
    )
    if item.image is not None:
        message.image.CopyFrom(_image(item.image, item.region, "image"))
    elif item.embedding is not None:
        vector = embedding_message(item.embedding, "embedding", item.embedding_model_version)
        message.embedding.CopyFrom(vector)
    return message


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
    return Collection(
        name=message.name,
        model_version=message.spec.model_version,
        dimension=message.spec.dimension,
        bits=message.spec.bits,
        partition_count=message.spec.partition_count,
        generation=message.generation,
        create_time=message.create_time.ToDatetime(tzinfo=UTC),
        item_count=item_count,
    )


def alias(message: collection_pb2.Alias) -> Alias:
    """Reads an alias."""
    return Alias(message.name, message.collection)


def server_info(response: search_pb2.GetServerInfoResponse) -> ServerInfo:
    """Reads what a server is."""
    limits = response.limits
    return ServerInfo(
        version=response.version,
        model_version=response.model_version,
        embedding_dimension=response.embedding_dimension,
        shards_total=response.shards_total,
        limits=Limits(
            max_message_bytes=limits.max_message_bytes,
            max_image_bytes=limits.max_image_bytes,
            max_k=limits.max_k,
            max_upsert_items=limits.max_upsert_items,
            max_multi_search=limits.max_multi_search,
            max_deadline_seconds=limits.max_deadline_seconds,
        ),
    )

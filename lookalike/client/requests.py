"""Builds requests from the client's arguments, with every type checked; shared by both clients."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lookalike.client import checks
from lookalike.client.gates import set_gate
from lookalike.client.server_types import CollectionOptions
from lookalike.client.types import Item, Photo, Region, Search, Vector
from lookalike.collections import Rerank
from lookalike.errors import InvalidInputError, Reason, shown
from lookalike.filters import Condition, Filter, as_filter
from lookalike.limits import BATCH_PAYLOAD_BYTES, MAX_IMAGE_BYTES
from lookalike.v1 import catalog_pb2, collection_pb2, search_pb2, types_pb2
from lookalike.wire.filters import filter_message
from lookalike.wire.vectors import set_values, to_bytes


def read_photo(photo: Photo, field: str) -> bytes:
    """Returns the bytes of a photo.

    Raises:
        InvalidInputError: It is neither bytes nor a path, the file cannot be read, or it is larger than any
            server takes.
    """
    if isinstance(photo, bytes | bytearray | memoryview):
        content = bytes(photo)
        size, name = len(content), "the photo"
    elif isinstance(photo, str | os.PathLike):
        name = f"the photo {shown(os.fsdecode(photo))}"
        size, content = _read_file(Path(os.fsdecode(photo)), name, field)
    else:
        raise InvalidInputError(
            f"{field} must be the bytes of a photo or the path of one, not {type(photo).__name__}",
            field=field,
        )
    if size > MAX_IMAGE_BYTES:
        raise InvalidInputError(
            f"{name} has {size} bytes; at most {MAX_IMAGE_BYTES} are allowed",
            reason=Reason.IMAGE_TOO_LARGE,
            field=field,
            metadata={"max_bytes": str(MAX_IMAGE_BYTES)},
        )
    return content


def _read_file(path: Path, name: str, field: str) -> tuple[int, bytes]:
    """Returns a file's size, and its content unless it is too large for a photo."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise InvalidInputError(f"cannot read {name}: it is not a file", field=field)
        return status.st_size, path.read_bytes() if status.st_size <= MAX_IMAGE_BYTES else b""
    except OSError as error:
        raise InvalidInputError(f"cannot read {name}: {error.strerror}", field=field) from None
    except ValueError:  # a NUL, or a lone surrogate that stands for no byte
        raise InvalidInputError(f"cannot read {name}: no file can have that name", field=field) from None


def image_message(photo: Photo, region: Region | Sequence[float] | None, field: str) -> types_pb2.Image:
    """Returns a photo as a message.

    Raises:
        InvalidInputError: As :func:`read_photo`, or the region is not four numbers.
    """
    image = types_pb2.Image(content=read_photo(photo, f"{field}.content"))
    if region is not None:
        place = f"{field}.region"
        sides = list(region) if isinstance(region, Sequence) and not isinstance(region, str | bytes) else []
        if len(sides) != 4:
            raise InvalidInputError(
                "a region is four numbers: x_min, y_min, x_max, y_max",
                reason=Reason.REGION_INVALID,
                field=place,
            )
        x_min, y_min, x_max, y_max = (checks.number(side, place) for side in sides)
        image.region.CopyFrom(types_pb2.Region(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max))
    return image


def embedding_message(vector: Vector, field: str) -> types_pb2.Embedding:
    """Returns a vector as a message; dimension and values are the server's to judge.

    Raises:
        InvalidInputError: It is not a flat sequence of numbers.
    """
    message = types_pb2.Embedding()
    set_values(message, _float_bytes(vector, field))
    return message


def _float_bytes(vector: Vector, field: str) -> bytes:
    try:
        given = np.asarray(vector)
    except (TypeError, ValueError):  # rows of different lengths
        given = np.array(None)
    if given.dtype.kind not in "fiu":
        raise InvalidInputError(f"{field} must be a flat sequence of numbers", field=field)
    if given.ndim != 1:
        shape = " x ".join(map(str, given.shape)) or "a single number"
        raise InvalidInputError(
            f"{field} must be one flat vector, got {shape}", reason=Reason.DIMENSION_MISMATCH, field=field
        )
    if given.dtype != np.float32:
        with np.errstate(over="ignore"):
            given = given.astype(np.float32)
    return to_bytes(given)


def search_request(search: Search) -> search_pb2.SearchRequest:
    """Returns the request of one search.

    Raises:
        InvalidInputError: Not exactly one target, a photo that cannot be read, or a value of another type
            than :class:`Search` says.
    """
    if not isinstance(search, Search):
        raise InvalidInputError(f"a search must be a Search, not {type(search).__name__}", field="searches")
    request = search_pb2.SearchRequest(
        collection=checks.text(search.collection, "collection"),
        query=_query(search),
        k=checks.integer(search.k, "k"),
        group_by_product=checks.flag(search.group_by_product, "group_by_product"),
        exact=checks.flag(search.exact, "exact"),
        min_log_position=checks.optional_text(search.min_log_position, "min_log_position"),
        category_vote=checks.flag(search.category_vote, "category_vote"),
    )
    if search.probes is not None and search.effort is not None:
        raise InvalidInputError("a search takes probes or effort, not both", field="effort")
    if search.probes is not None:
        request.probes = checks.integer(search.probes, "probes")
    for name in ("effort", "min_score", "min_match_probability", "min_coverage"):
        value = getattr(search, name)
        if value is not None:
            setattr(request, name, checks.number(value, name))
    if search.filter is not None:
        request.filter.CopyFrom(_filter(search.filter))
    if search.category_gate is not None:
        set_gate(request, search.category_gate)
    return request


def _filter(filter: Filter | Condition) -> types_pb2.Filter:
    return filter_message(as_filter(filter))


def _query(search: Search) -> search_pb2.Query:
    targets = (search.image, search.images, search.embedding, search.item_id)
    given = sum(target is not None for target in targets)
    if given != 1:
        raise InvalidInputError(
            "a search needs exactly one of image, images, embedding and item_id",
            reason=Reason.FIELD_INVALID if given else Reason.FIELD_MISSING,
            field="query",
        )
    if search.image is not None:
        return search_pb2.Query(image=image_message(search.image, search.region, "query.image"))
    if search.region is not None:
        raise InvalidInputError(
            "a region needs one image to lie in", reason=Reason.REGION_INVALID, field="query"
        )
    if search.images is not None:
        several = enumerate(checks.many(search.images, "query.images", "photos"))
        photos = [image_message(photo, None, f"query.images[{place}]") for place, photo in several]
        return search_pb2.Query(images=types_pb2.ImageSet(images=photos))
    if search.embedding is not None:
        return search_pb2.Query(embedding=embedding_message(search.embedding, "query.embedding"))
    return search_pb2.Query(item_id=checks.text(search.item_id, "query.item_id"))


def collection_spec(options: CollectionOptions) -> collection_pb2.CollectionSpec:
    """Returns a spec that leaves open what is not given.

    Raises:
        InvalidInputError: An option is of the wrong type, or none of the known ones.
    """
    return collection_pb2.CollectionSpec(
        model_version=checks.text(options.get("model_version", ""), "spec.model_version"),
        dimension=checks.integer(options.get("dimension", 0), "spec.dimension"),
        bits=checks.integer(options.get("bits", 0), "spec.bits"),
        partition_count=checks.integer(options.get("partition_count", 0), "spec.partition_count"),
        rerank=_rerank_name(options.get("rerank", "")),
    )


def _rerank_name(rerank: str) -> str:
    """Returns how exactly an index keeps vectors, as messages name it; empty leaves it to the server."""
    if not checks.text(rerank, "spec.rerank"):
        return "RERANK_PRECISION_UNSPECIFIED"
    if rerank not in set(Rerank):
        raise InvalidInputError(
            f"spec.rerank must be one of {', '.join(Rerank)}, not {shown(rerank)}", field="spec.rerank"
        )
    return f"RERANK_PRECISION_{rerank.upper()}"


def upsert_item(item: Item) -> catalog_pb2.UpsertItem:
    """Returns an item as a message, its photo read.

    Raises:
        InvalidInputError: Neither or both of photo and vector, a photo that cannot be read, or a value of
            another type than :class:`Item` says; the message names the item.
    """
    if not isinstance(item, Item):
        raise InvalidInputError(f"an item must be an Item, not {type(item).__name__}", field="items")
    item_id = checks.text(item.item_id, "item_id")
    try:
        return _upsert_item(item)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"item {shown(item_id)}: {error.message}",
            reason=error.reason,
            field=error.field,
            metadata=error.metadata,
        ) from None


def _upsert_item(item: Item) -> catalog_pb2.UpsertItem:
    if (item.image is None) == (item.embedding is None):
        raise InvalidInputError("either an image or an embedding is needed", reason=Reason.FIELD_MISSING)
    model_version = checks.text(item.embedding_model_version, "embedding_model_version")
    message = catalog_pb2.UpsertItem(
        item=types_pb2.Item(
            item_id=item.item_id,
            product_id=checks.text(item.product_id, "product_id"),
            title=checks.text(item.title, "title"),
            category=types_pb2.CategoryPath(names=checks.texts(item.category, "category", "names")),
            attributes=checks.attributes(item.attributes, "attributes"),
            image_uri=checks.text(item.image_uri, "image_uri"),
        ),
    )
    if item.if_version is not None:
        message.if_version = checks.integer(item.if_version, "if_version", bits=64)
    if item.image is not None:
        message.image.CopyFrom(image_message(item.image, item.region, "image"))
    elif item.embedding is not None:
        message.embedding.SetInParent()
        message.embedding.model_version = model_version
        set_values(message.embedding, _float_bytes(item.embedding, "embedding"))
    if message.ByteSize() > BATCH_PAYLOAD_BYTES:
        raise InvalidInputError(
            f"{message.ByteSize()} bytes do not fit into one message", reason=Reason.BATCH_TOO_LARGE
        )
    return message

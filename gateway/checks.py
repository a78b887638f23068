"""Checks what came off the wire: searches, photos, vectors, ids and items."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from gateway.categories.options import PLAIN, CategoryOptions, check_category_options
from lookalike import limits
from lookalike.collections import Spec
from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason, shown
from lookalike.v1 import catalog_pb2, search_pb2, types_pb2
from lookalike.wire import vectors
from lookalike.wire.categories import check_category
from lookalike.wire.filters import filter_of


@dataclass(frozen=True)
class SearchOptions:
    """How to search; every value has been checked."""

    k: int
    min_score: float
    group_by_product: bool
    exact: bool
    probes: int | None
    effort: float | None
    filter: types_pb2.Filter | None
    min_coverage: float
    min_match_probability: float | None = None
    categories: CategoryOptions = PLAIN


def check_options(request: search_pb2.SearchRequest) -> SearchOptions:
    """Returns a search's options.

    Raises:
        InvalidInputError: A value is out of range.
    """
    if not 1 <= request.k <= limits.MAX_K:
        _out_of_range("k", f"1 to {limits.MAX_K}", request.k)
    min_score = request.min_score if request.HasField("min_score") else -math.inf
    if request.HasField("min_score") and not -1 <= min_score <= 1:
        _out_of_range("min_score", "-1 to 1", min_score)
    min_match = request.min_match_probability if request.HasField("min_match_probability") else None
    if min_match is not None and not 0 <= min_match <= 1:
        _out_of_range("min_match_probability", "0 to 1", min_match)
    min_coverage = request.min_coverage if request.HasField("min_coverage") else 1.0
    if not 0 <= min_coverage <= 1:
        _out_of_range("min_coverage", "0 to 1", min_coverage)
    probes = request.probes if request.WhichOneof("breadth") == "probes" else None
    if probes is not None and not 1 <= probes <= limits.MAX_PROBES:
        _out_of_range("probes", f"1 to {limits.MAX_PROBES}", probes)
    effort = request.effort if request.WhichOneof("breadth") == "effort" else None
    if effort is not None and not 0 <= effort <= 1:
        _out_of_range("effort", "0 to 1", effort)
    if request.HasField("filter"):
        filter_of(request.filter, "filter")
    return SearchOptions(
        k=request.k,
        min_score=min_score,
        group_by_product=request.group_by_product if request.HasField("group_by_product") else True,
        exact=request.exact,
        probes=probes,
        effort=effort,
        filter=request.filter if request.filter.ByteSize() else None,
        min_coverage=min_coverage,
        min_match_probability=min_match,
        categories=check_category_options(request),
    )


def check_images(query: search_pb2.Query) -> list[tuple[str, types_pb2.Image]]:
    """Returns the photos of an image query, each with the path of its field.

    Raises:
        InvalidInputError: No photo, too many, or one that is empty or too large.
    """
    if query.WhichOneof("target") == "image":
        images = [("query.image", query.image)]
    else:
        images = [(f"query.images.images[{i}]", image) for i, image in enumerate(query.images.images)]
    if not 1 <= len(images) <= limits.MAX_IMAGES_PER_QUERY:
        _out_of_range("query.images.images", f"1 to {limits.MAX_IMAGES_PER_QUERY} photos", len(images))
    for field, image in images:
        check_image(image, field)
    total_bytes = sum(len(image.content) for _, image in images)
    if total_bytes > limits.MAX_IMAGE_BYTES:
        raise InvalidInputError(
            f"query.images holds {total_bytes} bytes, at most {limits.MAX_IMAGE_BYTES} are allowed together",
            reason=Reason.IMAGE_TOO_LARGE,
            field="query.images",
            metadata={"max_bytes": str(limits.MAX_IMAGE_BYTES)},
        )
    return images


def check_image(image: types_pb2.Image, field: str) -> None:
    """Checks what can be seen without decoding.

    Raises:
        InvalidInputError: The photo is empty or too large, or its region is not a rectangle inside it.
    """
    size = len(image.content)
    if not size:
        raise InvalidInputError(
            f"{field}.content is empty: send the bytes of a JPEG, PNG or WebP file",
            reason=Reason.IMAGE_EMPTY,
            field=f"{field}.content",
        )
    if size > limits.MAX_IMAGE_BYTES:
        raise InvalidInputError(
            f"{field}.content has {size} bytes, at most {limits.MAX_IMAGE_BYTES} are allowed",
            reason=Reason.IMAGE_TOO_LARGE,
            field=f"{field}.content",
            metadata={"max_bytes": str(limits.MAX_IMAGE_BYTES)},
        )
    if image.HasField("region"):
        region = image.region
        inside = 0 <= region.x_min < region.x_max <= 1 and 0 <= region.y_min < region.y_max <= 1
        if not inside:
            raise InvalidInputError(
                f"{field}.region must hold 0 <= x_min < x_max <= 1 and 0 <= y_min < y_max <= 1",
                reason=Reason.REGION_INVALID,
                field=f"{field}.region",
            )


def check_classify(request: search_pb2.ClassifyRequest) -> None:
    """Checks a photo whose categories are asked for.

    Raises:
        InvalidInputError: The photo is empty or too large, or too many categories are asked for.
    """
    check_image(request.image, "image")
    if request.k > limits.MAX_PREDICTIONS:
        allowed = f"1 to {limits.MAX_PREDICTIONS}, or 0 for {limits.DEFAULT_PREDICTIONS}"
        _out_of_range("k", allowed, request.k)


def check_item_id(item_id: str, field: str) -> str:
    """Returns a well-formed item id.

    Raises:
        InvalidInputError: It is empty or too long.
    """
    size = len(item_id.encode())
    if not size:
        raise InvalidInputError(f"{field} is empty", reason=Reason.FIELD_MISSING, field=field)
    if size > limits.MAX_ID_BYTES:
        _out_of_range(field, f"1 to {limits.MAX_ID_BYTES} bytes", f"{size} bytes")
    return item_id


def check_item_ids(item_ids: Sequence[str]) -> list[str]:
    """Returns the distinct ids of a list, in their order.

    Raises:
        InvalidInputError: No id, more than 1000, or a bad one.
    """
    if not item_ids:
        raise InvalidInputError("item_ids is empty", reason=Reason.FIELD_MISSING, field="item_ids")
    if len(item_ids) > limits.MAX_ITEM_IDS:
        raise InvalidInputError(
            f"item_ids holds {len(item_ids)} ids, at most {limits.MAX_ITEM_IDS} are allowed",
            reason=Reason.BATCH_TOO_LARGE,
            field="item_ids",
            metadata={"max": str(limits.MAX_ITEM_IDS)},
        )
    return list(dict.fromkeys(check_item_id(item_id, f"item_ids[{i}]") for i, item_id in enumerate(item_ids)))


def check_page_size(page_size: int) -> int:
    """Returns how many items a page may hold.

    Raises:
        InvalidInputError: Too many.
    """
    if page_size > limits.MAX_PAGE_SIZE:
        _out_of_range(
            "page_size", f"1 to {limits.MAX_PAGE_SIZE}, or 0 for {limits.DEFAULT_PAGE_SIZE}", page_size
        )
    return page_size or limits.DEFAULT_PAGE_SIZE


def check_if_versions(if_versions: Mapping[str, int], item_ids: Sequence[str]) -> None:
    """Checks that versions are demanded only of items that are deleted.

    Raises:
        InvalidInputError: One is of another item.
    """
    others = if_versions.keys() - set(item_ids)
    if others:
        raise InvalidInputError(
            f"if_versions names item {shown(min(others))}, which is not among item_ids", field="if_versions"
        )


def check_request_id(request_id: str) -> None:
    """Checks a write's request id, which may be empty.

    Raises:
        InvalidInputError: It is too long.
    """
    size = len(request_id.encode())
    if size > limits.MAX_REQUEST_ID_BYTES:
        raise InvalidInputError(
            f"request_id has {size} bytes, at most {limits.MAX_REQUEST_ID_BYTES} are allowed",
            reason=Reason.FIELD_OUT_OF_RANGE,
            field="request_id",
        )


def check_query_vector(embedding: types_pb2.Embedding, spec: Spec, field: str) -> bytes:
    """Returns a caller's query vector, of whatever length it has, as little-endian float32.

    Raises:
        InvalidInputError: Wrong dimension, all zeros, NaN or infinity.
        FailedPreconditionError: It is of another model than the collection's.
    """
    values = _checked_values(embedding, spec, field)
    vectors.check_direction(values, f"{field}.values")
    return vectors.to_bytes(values)


def check_item_vector(embedding: types_pb2.Embedding, spec: Spec, field: str) -> bytes:
    """Returns a caller's vector of an item at unit length, as little-endian float32.

    Raises:
        InvalidInputError: Wrong dimension, all zeros, NaN or infinity.
        FailedPreconditionError: It is of another model than the collection's.
    """
    return vectors.to_bytes(vectors.unit(_checked_values(embedding, spec, field), f"{field}.values"))


def _checked_values(embedding: types_pb2.Embedding, spec: Spec, field: str) -> NDArray[np.float32]:
    _check_size(embedding.model_version, limits.MAX_MODEL_VERSION_BYTES, f"{field}.model_version")
    if embedding.model_version not in ("", spec.model_version):
        raise FailedPreconditionError(
            f"{field} is of model {shown(embedding.model_version)}, the collection takes vectors of model"
            f" {spec.model_version}",
            reason=Reason.MODEL_VERSION_MISMATCH,
            field=f"{field}.model_version",
        )
    if len(embedding.values) != spec.dimension:
        raise InvalidInputError(
            f"{field} has {len(embedding.values)} values, the collection's dimension is {spec.dimension}",
            reason=Reason.DIMENSION_MISMATCH,
            field=f"{field}.values",
            metadata={"dimension": str(spec.dimension)},
        )
    return vectors.values_of(embedding)


def check_batch_size(items: Sequence[catalog_pb2.UpsertItem], field: str) -> None:
    """Checks how many items one write has.

    Args:
        items: Of one request.
        field: Path of the list in the request, for errors.

    Raises:
        InvalidInputError: No item or too many.
    """
    if not items:
        raise InvalidInputError(f"{field} is empty", reason=Reason.FIELD_MISSING, field=field)
    if len(items) > limits.MAX_UPSERT_ITEMS:
        raise InvalidInputError(
            f"{field} holds {len(items)} items, at most {limits.MAX_UPSERT_ITEMS} are allowed",
            reason=Reason.BATCH_TOO_LARGE,
            field=field,
            metadata={"max": str(limits.MAX_UPSERT_ITEMS)},
        )


def check_batch(items: Sequence[catalog_pb2.UpsertItem], field: str) -> None:
    """Checks all items of one write, but not their photos and vectors.

    Args:
        items: Of one request.
        field: Path of the list in the request, for errors.

    Raises:
        InvalidInputError: A bad id, category or attribute; an item without a photo or vector; an item twice
            (``PRODUCT_CONFLICT``).
    """
    products: dict[str, str] = {}
    for i, upsert in enumerate(items):
        item, path = upsert.item, f"{field}[{i}]"
        check_item(item, f"{path}.item")
        if item.item_id in products:
            _refuse_repeat(item, products[item.item_id], f"{path}.item")
        products[item.item_id] = item.product_id
        if upsert.WhichOneof("source") is None:
            raise InvalidInputError(
                f"{path} has neither an image nor an embedding", reason=Reason.FIELD_MISSING, field=path
            )


def _refuse_repeat(item: types_pb2.Item, other_product: str, path: str) -> None:
    if item.product_id != other_product:
        raise InvalidInputError(
            f"item {shown(item.item_id)} is given two products, {shown(other_product)} and"
            f" {shown(item.product_id)}",
            reason=Reason.PRODUCT_CONFLICT,
            field=f"{path}.product_id",
        )
    raise InvalidInputError(
        f"item {shown(item.item_id)} is in the request twice: send its last state only",
        reason=Reason.PRODUCT_CONFLICT,
        field=f"{path}.item_id",
    )


def check_item(item: types_pb2.Item, path: str) -> None:
    """Checks what is said of one item.

    Raises:
        InvalidInputError: An id, category, attribute, title or URI is malformed or too long.
    """
    check_item_id(item.item_id, f"{path}.item_id")
    _check_size(item.product_id, limits.MAX_ID_BYTES, f"{path}.product_id")
    _check_size(item.title, limits.MAX_TITLE_BYTES, f"{path}.title")
    _check_size(item.image_uri, limits.MAX_IMAGE_URI_BYTES, f"{path}.image_uri")
    check_category(item.category.names, f"{path}.category")
    if len(item.attributes) > limits.MAX_ATTRIBUTES:
        raise InvalidInputError(
            f"{path}.attributes holds {len(item.attributes)} entries, at most"
            f" {limits.MAX_ATTRIBUTES} are allowed",
            reason=Reason.FIELD_OUT_OF_RANGE,
            field=f"{path}.attributes",
        )
    for name, value in item.attributes.items():
        if not name:
            raise InvalidInputError(f"{path}.attributes has an empty name", field=f"{path}.attributes")
        if len(name.encode()) > limits.MAX_ATTRIBUTE_NAME_BYTES:
            raise InvalidInputError(
                f"{path}.attributes has a name of more than {limits.MAX_ATTRIBUTE_NAME_BYTES} bytes",
                reason=Reason.FIELD_OUT_OF_RANGE,
                field=f"{path}.attributes",
            )
        _check_size(value, limits.MAX_ATTRIBUTE_VALUE_BYTES, f"{path}.attributes[{name}]")


def _check_size(text: str, max_bytes: int, path: str) -> None:
    size = len(text.encode())
    if size > max_bytes:
        raise InvalidInputError(
            f"{path} has {size} bytes, at most {max_bytes} are allowed",
            reason=Reason.FIELD_OUT_OF_RANGE,
            field=path,
        )


def _out_of_range(field: str, allowed: str, got: object) -> NoReturn:
    raise InvalidInputError(
        f"{field} must be {allowed}, got {got}", reason=Reason.FIELD_OUT_OF_RANGE, field=field
    )

"""Checking items that are to be written."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.queries import check_item_id
from lookalike import limits
from lookalike.category_paths import check_category
from lookalike.errors import InvalidInputError, Reason
from lookalike.v1 import catalog_pb2, types_pb2


def check_batch(items: Sequence[catalog_pb2.UpsertItem], field: str) -> None:
    """Checks all items of one write, but not their photos and vectors.

    Args:
        items: Of one request.
        field: Path of the list in the request, for errors.

    Raises:
        InvalidInputError: No item or too many; a bad id, category or attribute; an item without a photo or
            vector; an item twice (``PRODUCT_CONFLICT``).
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
            f'item "{item.item_id}" is given two products, "{other_product}" and "{item.product_id}"',
            reason=Reason.PRODUCT_CONFLICT,
            field=f"{path}.product_id",
        )
    raise InvalidInputError(
        f'item "{item.item_id}" is in the request twice: send its last state only',
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

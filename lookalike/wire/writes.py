"""Writes that are plain, read many at once by the native extension, outside the GIL.

An item is plain if it comes with a vector and keeps to the contract, which nearly all do. Of others nothing
is said but that: whoever meets one decodes it in full and says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike import _native, limits

_LIMITS = (
    limits.MAX_ID_BYTES,
    limits.MAX_TITLE_BYTES,
    limits.MAX_IMAGE_URI_BYTES,
    limits.MAX_CATEGORY_LEVELS,
    limits.MAX_CATEGORY_NAME_BYTES,
    limits.MAX_ATTRIBUTES,
    limits.MAX_ATTRIBUTE_NAME_BYTES,
    limits.MAX_ATTRIBUTE_VALUE_BYTES,
)


class PlainRow(NamedTuple):
    """An item to write.

    ``item`` is the encoded ``Item``, ``document`` its encoded ``Hit`` without a score. ``if_version`` is
    the version that the stored row must have; 0: there must be none.
    """

    item_id: str
    product_id: str
    item: bytes
    category: tuple[str, ...]
    attributes: dict[str, str]
    document: bytes
    if_version: int | None


def mutations_of(upserts: Sequence[bytes], dimension: int, model_version: str) -> list[bytes | None]:
    """Returns what a shard is sent for each item.

    Args:
        upserts: Encoded ``UpsertItem`` messages.
        dimension: Of the collection's vectors.
        model_version: Theirs; an item may leave it open.

    Returns:
        For each item an encoded ``Mutations`` that holds just its write, with the vector at unit length; None
        for one that is not plain.
    """
    return _native.mutations_of(upserts, dimension, model_version, _LIMITS)


def rows_of(mutations: bytes, dimension: int) -> tuple[list[PlainRow], NDArray[np.float32]] | None:
    """Returns the rows that an encoded ``Mutations`` writes; None: some of it is not plain, or no write.

    Returns:
        n rows, and their vectors (n, dimension) float32 at unit length.
    """
    found = _native.rows_of(mutations, dimension, _LIMITS)
    if found is None:
        return None
    rows, vectors = found
    return [PlainRow._make(row) for row in rows], vectors

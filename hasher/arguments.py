"""Checks of the arguments of the index."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import NotSupportedError

__all__ = [
    "checked_documents",
    "checked_ids",
    "checked_integer",
    "checked_k",
    "checked_name",
    "checked_share",
    "checked_vectors",
]

MOST_RESULTS = 2**24
"""Results of one call, over all its queries: they take some 30 bytes each, found or not."""


def checked_name(value: object, name: str, known: Collection[str]) -> str:
    """Returns one of the known names.

    Raises:
        ValueError: It is not text.
        NotSupportedError: It is another name.
    """
    advice = f"use one of {', '.join(known)}"
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {type(value).__name__}; {advice}")
    if value not in known:
        raise NotSupportedError(f"{name} {value!r} is not available in this version; {advice}", field=name)
    return value


def checked_integer(value: object, name: str, low: int, high: int) -> int:
    """Returns an integer from ``low`` to ``high``, or raises a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be an integer, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, not {value}")
    return int(value)


def checked_k(k: object, queries: int) -> int:
    """Returns the number of results per query, or raises a ValueError where memory would not do for all."""
    count = checked_integer(k, "k", 1, MOST_RESULTS)
    if count * queries > MOST_RESULTS:
        most = MOST_RESULTS // queries
        raise ValueError(f"k must be at most {most:,} for {queries:,} queries in one call, not {count:,}")
    return count


def checked_share(value: object, name: str) -> float:
    """Returns a number from 0 to 1, or raises a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{name} must be a number from 0 to 1, not {type(value).__name__}")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be 0 to 1, not {value}")
    return float(value)


def checked_vectors(array: object, name: str) -> NDArray[np.float32]:
    """Returns a C-contiguous, aligned float32 matrix, or raises a ValueError."""
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name} must be a float32 array, not {kind}")
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d), not {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous; numpy.ascontiguousarray makes it so")
    if not array.flags.aligned:
        raise ValueError(f"{name} must be aligned to its items of 4 bytes; its copy() is")
    return array


def checked_documents(documents: object) -> Sequence[bytes] | None:
    """Returns a sequence of byte strings, or None, or raises a ValueError."""
    if documents is None:
        return None
    if not isinstance(documents, list | tuple):
        raise ValueError(f"documents must be a list of bytes, not {type(documents).__name__}")
    wrong = next((at for at, one in enumerate(documents) if not isinstance(one, bytes)), None)
    if wrong is not None:
        raise ValueError(f"documents[{wrong}] must be bytes, not {type(documents[wrong]).__name__}")
    return documents


def checked_ids(array: object, name: str) -> NDArray[np.uint64]:
    """Returns a contiguous, aligned uint64 array, if need be a copy, or raises a ValueError."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint64:
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name} must be a uint64 array, not {kind}")
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), not {array.shape}")
    return np.require(array, requirements=("C", "A"))

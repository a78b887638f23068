"""The nearest codes by Hamming distance: an exhaustive scan on one core, for any codes of bits."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hasher import arguments
from lookalike import _native

__all__ = ["NO_DISTANCE", "NO_ROW", "top_k"]

NO_ROW: Final = -1
"""Pads the rows where there are fewer codes than results asked for."""

NO_DISTANCE: Final = 2**31 - 1
"""Pads the distances."""


def top_k(
    queries: NDArray[np.uint8] | NDArray[np.uint64],
    codes: NDArray[np.uint8] | NDArray[np.uint64],
    k: int = 10,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Finds the ``k`` codes that differ from each query in the fewest bits, on one thread.

    The codes are read once for up to 256 queries, and the GIL is released.

    Args:
        queries: ``(q, words)`` uint64 or ``(q, bytes)`` uint8 with a multiple of 8 bytes, C-contiguous.
        codes: ``(n, words)`` or ``(n, bytes)`` of the same type and width, C-contiguous; fewer than 2**32.
        k: Results per query, 1 or more; at most 2**24 over all queries of a call.

    Returns:
        distances ``(q, k)`` int32, ascending, and rows of ``codes`` ``(q, k)`` int64, the lower row first
        where distances are equal; rows with fewer than ``k`` results end with :data:`NO_DISTANCE` and
        :data:`NO_ROW`.

    Raises:
        ValueError: Wrong shape, dtype, layout or range.
    """
    queries, codes = _words(queries, "queries"), _words(codes, "codes")
    return _native.hamming_top_k(queries, codes, arguments.checked_k(k, len(queries)))


def _words(codes: NDArray[np.uint8] | NDArray[np.uint64], name: str) -> NDArray[np.uint64]:
    if not isinstance(codes, np.ndarray) or codes.ndim != 2 or codes.dtype not in (np.uint8, np.uint64):
        raise ValueError(f"{name} must be a two-dimensional array of uint8 or uint64")
    if not codes.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous")
    width = codes.shape[1] * codes.itemsize
    if width == 0 or width % 8:
        raise ValueError(f"{name} must have a multiple of 8 bytes, at least 8, not {width}")
    # Bits are compared, not numbers: how bytes make up a word does not matter.
    return np.require(codes.view(np.uint64), requirements="A")

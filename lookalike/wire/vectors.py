"""Vectors on the wire: little-endian float32 bytes, checked and brought to unit length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import InvalidInputError, Reason
from lookalike.v1 import types_pb2
from lookalike.wire.fields import header

WIRE_DTYPE = np.dtype("<f4")


def to_bytes(vectors: NDArray[np.float32]) -> bytes:
    """Encodes vectors of any shape, row by row, as little-endian float32."""
    return np.ascontiguousarray(vectors, dtype=WIRE_DTYPE).tobytes()


def from_bytes(data: bytes, dimension: int, field: str) -> NDArray[np.float32]:
    """Decodes little-endian float32 bytes.

    Args:
        data: ``n * dimension * 4`` bytes, n >= 1.
        dimension: The expected dimension.
        field: Path of the request field, for the error.

    Returns:
        A read-only array (n, dimension), float32, C-contiguous.

    Raises:
        InvalidInputError: The bytes are not a whole number of vectors (``DIMENSION_MISMATCH``).
    """
    width = dimension * WIRE_DTYPE.itemsize
    if not data or len(data) % width:
        raise InvalidInputError(
            f"{field} holds {len(data)} bytes, which is not a whole number of {dimension}-dimensional float32"
            f" vectors ({width} bytes each)",
            reason=Reason.DIMENSION_MISMATCH,
            field=field,
            metadata={"dimension": str(dimension)},
        )
    return np.frombuffer(data, dtype=WIRE_DTYPE).reshape(-1, dimension)


def values_of(embedding: types_pb2.Embedding) -> NDArray[np.float32]:
    """Returns the values of an embedding, without making a Python object of each.

    Returns:
        A read-only array (n,), float32.
    """
    count = len(embedding.values)
    encoded = embedding.SerializeToString()
    header = _packed_header(count)
    if encoded.startswith(header):
        return np.frombuffer(encoded, WIRE_DTYPE, count, len(header))
    return np.array(embedding.values, np.float32)


def set_values(embedding: types_pb2.Embedding, data: bytes) -> None:
    """Appends values to an embedding, without making a Python object of each.

    Args:
        embedding: Where they go.
        data: Little-endian float32.
    """
    embedding.MergeFromString(_packed_header(len(data) // WIRE_DTYPE.itemsize) + data)


def _packed_header(count: int) -> bytes:
    """Returns the encoded beginning of an embedding of so many values: the tag and the length in bytes."""
    return header(types_pb2.Embedding.VALUES_FIELD_NUMBER, count * WIRE_DTYPE.itemsize) if count else b""


def unit(vectors: NDArray[np.float32], field: str) -> NDArray[np.float32]:
    """Brings each row to unit length.

    Args:
        vectors: (n, d) or (d,), float32.
        field: Path of the request field, for the error.

    Returns:
        A new array of the same shape with rows of norm 1.

    Raises:
        InvalidInputError: A value is NaN or infinite (``VECTOR_NOT_FINITE``), or a row is all zeros
            (``VECTOR_ZERO``).
    """
    check_direction(vectors, field)
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    result: NDArray[np.float32] = (wide / norms).astype(np.float32)
    return result


def check_direction(vectors: NDArray[np.float32], field: str) -> None:
    """Checks that each row has a direction.

    Args:
        vectors: (n, d) or (d,), float32.
        field: Path of the request field, for the error.

    Raises:
        InvalidInputError: A value is NaN or infinite (``VECTOR_NOT_FINITE``), or a row is all zeros
            (``VECTOR_ZERO``).
    """
    # For one vector all is said by its length, unless that leaves the range of float32.
    with np.errstate(over="ignore", invalid="ignore"):
        if vectors.ndim == 1 and 0 < np.dot(vectors, vectors) < np.inf:
            return
    if not np.isfinite(vectors).all():
        raise InvalidInputError(
            f"{field} contains NaN or infinity", reason=Reason.VECTOR_NOT_FINITE, field=field
        )
    if not np.any(vectors, axis=-1).all():
        raise InvalidInputError(
            f"{field} is all zeros and has no direction", reason=Reason.VECTOR_ZERO, field=field
        )

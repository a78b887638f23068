from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.errors import InvalidInputError, Reason
from lookalike.v1 import types_pb2
from lookalike.wire.vectors import check_direction, from_bytes, set_values, to_bytes, unit, values_of


@given(st.integers(1, 5), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_bytes_round_trip(rows: int, dimension: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    assert np.array_equal(from_bytes(to_bytes(vectors), dimension, "v"), vectors)


@pytest.mark.parametrize("data", [b"", b"\0" * 15, b"\0" * 20])
def test_wrong_length_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        from_bytes(data, 4, "vectors")
    assert caught.value.reason == Reason.DIMENSION_MISMATCH
    assert caught.value.field == "vectors"


def test_unit_has_norm_one_even_for_extreme_values() -> None:
    vectors = np.array([[3e38, 3e38], [1e-38, 0.0], [3.0, 4.0]], dtype=np.float32)
    assert np.allclose(np.linalg.norm(unit(vectors, "v"), axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0, float("nan")], Reason.VECTOR_NOT_FINITE),
        ([1.0, float("inf")], Reason.VECTOR_NOT_FINITE),
        ([0.0, 0.0], Reason.VECTOR_ZERO),
    ],
)
def test_vectors_without_a_direction_are_refused(values: list[float], reason: Reason) -> None:
    for check in (unit, check_direction):
        with pytest.raises(InvalidInputError) as caught:
            check(np.array(values, dtype=np.float32), "query.embedding")
        assert caught.value.reason == reason


@pytest.mark.parametrize("values", [[3e38, -3e38], [1e-45, 0.0], [1e-30, 1e-30], [1.0, 2.0]])
def test_vectors_of_any_finite_length_have_a_direction(values: list[float]) -> None:
    check_direction(np.array(values, dtype=np.float32), "query.embedding")


FLOATS = st.lists(st.floats(width=32), max_size=5000)


@pytest.mark.parametrize("model_version", ["", "m", "\n" * 40])
@given(values=FLOATS)
def test_values_come_out_of_an_embedding_and_go_in_again(model_version: str, values: list[float]) -> None:
    embedding = types_pb2.Embedding(values=values, model_version=model_version)
    taken = values_of(embedding)
    assert taken.dtype == np.float32
    assert np.array_equal(taken, np.array(values, np.float32), equal_nan=True)
    again = types_pb2.Embedding(model_version=model_version)
    set_values(again, to_bytes(taken))
    assert again.SerializeToString() == embedding.SerializeToString()


def test_unpacked_values_are_values_too() -> None:
    encoded = b"".join(b"\x0d" + np.float32(value).tobytes() for value in (1.5, -2.0))
    assert values_of(types_pb2.Embedding.FromString(encoded)).tolist() == [1.5, -2.0]

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasher import hamming
from hasher.index import EnginePanicError, HashIndex
from lookalike import _native
from tests.hasher import oracle


@pytest.fixture(params=_native.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    _native.force_isa(request.param)
    yield request.param
    _native.force_isa(None)


@given(
    st.integers(1, 300),
    st.sampled_from([64, 128, 192, 256, 576, 2048]),
    st.integers(0, 2**64 - 1),
)
@settings(max_examples=40, deadline=None)
def test_rotation_and_codes_equal_the_oracle_exactly(dim: int, bits: int, seed: int) -> None:
    vectors = np.random.default_rng(seed % 1000).normal(size=(4, dim)).astype(np.float32)
    rotated = _native.rotate(vectors, bits=bits, seed=seed)
    np.testing.assert_array_equal(rotated, oracle.rotate(vectors, bits, seed))
    codes = _native.encode(vectors, bits=bits, seed=seed)
    np.testing.assert_array_equal(codes, oracle.encode(vectors, bits, seed))
    assert codes.shape == (4, bits // 64)


@pytest.mark.parametrize("dim", [1, 3, 16, 63, 96, 255, 256, 384, 1000])
def test_rotation_and_codes_equal_the_oracle_on_every_isa(isa: str, dim: int) -> None:
    vectors = np.random.default_rng(dim).normal(size=(3, dim)).astype(np.float32)
    rotated = _native.rotate(vectors, bits=1088, seed=dim)
    np.testing.assert_array_equal(rotated, oracle.rotate(vectors, 1088, dim), err_msg=isa)
    codes = _native.encode(vectors, bits=1088, seed=dim)
    np.testing.assert_array_equal(codes, oracle.encode(vectors, 1088, dim), err_msg=isa)


def test_the_first_rotation_keeps_inner_products() -> None:
    for dim in [64, 100, 192, 320]:
        vectors = np.random.default_rng(dim).normal(size=(20, dim)).astype(np.float32)
        rotated = _native.rotate(vectors, bits=-(-dim // 64) * 64, seed=1)[:, :dim]
        np.testing.assert_allclose(rotated @ rotated.T, vectors @ vectors.T, atol=1e-3)


@pytest.mark.parametrize("words", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 31, 32, 33])
def test_hamming_equals_the_oracle_on_every_isa(isa: str, words: int) -> None:
    assert _native.active_isa() == isa
    rng = np.random.default_rng(words)
    codes = rng.integers(0, 2**64, size=(37, words), dtype=np.uint64)
    query = rng.integers(0, 2**64, size=words, dtype=np.uint64)
    codes[5], codes[6] = query, ~query
    distances = _native.hamming_distances(query, codes)
    np.testing.assert_array_equal(distances, oracle.hamming_distances(query, codes))
    assert distances[6] == 64 * words


@pytest.mark.parametrize("words", [1, 3, 4, 8, 33])
def test_the_nearest_codes_equal_the_oracles_on_every_isa(isa: str, words: int) -> None:
    rng = np.random.default_rng(words)
    codes = rng.integers(0, 2**64, size=(1_037, words), dtype=np.uint64)
    queries = rng.integers(0, 2**64, size=(5, words), dtype=np.uint64)
    codes[1_036], codes[6] = queries[2], ~queries[2]
    for k in [1, 10, 1_037]:
        distances, rows = hamming.top_k(queries, codes, k)
        assert [distances.dtype.name, rows.dtype.name] == ["int32", "int64"]
        for found, expected in zip((distances, rows), oracle.hamming_top_k(queries, codes, k), strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=isa)
    by_byte = hamming.top_k(queries.view(np.uint8), codes.view(np.uint8), 1_037)
    np.testing.assert_array_equal(by_byte[1], rows)


def test_short_rows_of_the_nearest_codes_are_padded() -> None:
    queries = np.array([[0], [255]], np.uint64)
    distances, rows = hamming.top_k(queries, np.array([[1], [0]], np.uint64), 3)
    assert distances.tolist() == [[0, 1, hamming.NO_DISTANCE], [7, 8, hamming.NO_DISTANCE]]
    assert rows.tolist() == [[1, 0, hamming.NO_ROW], [0, 1, hamming.NO_ROW]]
    assert hamming.top_k(queries, np.empty((0, 1), np.uint64))[1].tolist() == [[hamming.NO_ROW] * 10] * 2
    assert hamming.top_k(queries[:0], queries)[0].shape == (0, 10)


def test_codes_that_do_not_fit_are_refused() -> None:
    codes = np.zeros((4, 2), np.uint64)
    with pytest.raises(ValueError, match="same number"):
        hamming.top_k(codes[:, :1].copy(), codes)
    with pytest.raises(ValueError, match="queries must be C-contiguous"):
        hamming.top_k(codes[:, :1], codes)
    with pytest.raises(ValueError, match="codes must have a multiple of 8 bytes"):
        hamming.top_k(codes, np.zeros((4, 12), np.uint8))
    with pytest.raises(ValueError, match="two-dimensional array of uint8 or uint64"):
        hamming.top_k(codes[0], codes)
    for k in [0, -1, 2**63, 1.5, True]:
        with pytest.raises(ValueError, match="k must be "):
            hamming.top_k(codes, codes, k)  # type: ignore[arg-type]


def test_dot_is_the_same_on_every_isa_and_near_the_truth() -> None:
    rng = np.random.default_rng(3)
    for length in [0, 1, 31, 32, 33, 100, 256, 1280]:
        a, b = rng.normal(size=(2, length)).astype(np.float32)
        results = set()
        for isa in _native.available_isas():
            _native.force_isa(isa)
            results.add(_native.dot(a, b))
        _native.force_isa(None)
        assert len(results) == 1
        assert results.pop() == pytest.approx(float(a.astype(np.float64) @ b), abs=1e-4)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 64"):
        _native.encode(np.ones((1, 8), np.float32), bits=100, seed=0)
    with pytest.raises(ValueError, match="same number"):
        _native.hamming_distances(np.zeros(3, np.uint64), np.zeros((2, 4), np.uint64))
    with pytest.raises(ValueError, match="lengths differ"):
        _native.dot(np.ones(3, np.float32), np.ones(4, np.float32))
    with pytest.raises(ValueError, match="unknown instruction set"):
        _native.force_isa("mmx")


def test_a_panic_of_the_engine_is_an_ordinary_exception() -> None:
    vectors = np.eye(4, dtype=np.float32)
    index = HashIndex.build(vectors, np.arange(4, dtype=np.uint64))
    how: dict[str, Any] = {
        "probes": None,
        "rerank": None,
        "effort": None,
        "filter": None,
        "exclude": None,
        "group": False,
        "ties": False,
        "documents": False,
        "estimate": "asymmetric",
        "exact": False,
        "threads": 1,
    }
    # The face refuses so many results: there is no memory for them.
    with pytest.raises(EnginePanicError, match="panicked: capacity overflow") as caught:
        index._native.search(vectors, k=2**62, **how)
    assert isinstance(caught.value, RuntimeError)
    # The index goes on.
    assert index.search(vectors, 1)[0].tolist() == [[0], [1], [2], [3]]
    index.add(vectors[:1], np.array([9], np.uint64))
    assert len(index) == 5

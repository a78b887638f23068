"""Exact search over vectors that are kept rounded: the candidates hold the answer of float32 brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hasher.filters import Attributes, Equals
from hasher.index import HashIndex

Floats = NDArray[np.float32]


def unit_rows(values: NDArray[np.float64]) -> Floats:
    rows = values / np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(rows, np.float32)


def clustered(rng: np.random.Generator, count: int, dim: int) -> Floats:
    """Rows around a few centres, some of them much nearer to each other than rounding moves them."""
    centres = rng.normal(size=(6, dim))
    spread = 10.0 ** rng.uniform(-6, 0, size=(count, 1))
    return unit_rows(centres[rng.integers(0, 6, count)] + spread * rng.normal(size=(count, dim)))


def best(scores: Floats, products: NDArray[np.uint64], k: int, group: bool) -> NDArray[np.bool_]:
    """The rows that are among the best, everything that equals the last of them included."""
    if group:
        of_products = np.full(int(products.max()) + 1, -np.inf, np.float32)
        np.maximum.at(of_products, products.astype(np.int64), scores)
        return np.asarray(scores >= np.sort(of_products)[::-1][:k][-1])
    return np.asarray(scores >= np.sort(scores)[::-1][:k][-1])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.sampled_from([2, 16, 100, 256]),
    rerank=st.sampled_from(["int8", "f16", "f32"]),
    grown=st.booleans(),
    group=st.booleans(),
    filtered=st.booleans(),
    k=st.integers(1, 40),
)
def test_candidates_hold_the_exact_best(
    seed: int, dim: int, rerank: str, grown: bool, group: bool, filtered: bool, k: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = clustered(rng, 600, dim)
    ids = rng.permutation(600).astype(np.uint64)
    products = rng.integers(0, 200, 600).astype(np.uint64)
    brands = rng.choice(["a", "b"], 600).tolist()
    first = 0 if grown else 600
    attributes = Attributes(values={"brand": brands[:first]})
    options: dict[str, Any] = {"bits": 64, "rerank": rerank}
    index = HashIndex.build(vectors[:first], ids[:first], products[:first], attributes=attributes, **options)
    for at in range(first, 600, 60):
        batch = slice(at, at + 60)
        brand = Attributes(values={"brand": brands[batch]})
        index.add(vectors[batch], ids[batch], products[batch], attributes=brand)
    exclude = rng.integers(0, 600, 9).astype(np.uint64)
    allowed = ~np.isin(ids, exclude)
    if filtered:
        allowed &= np.array(brands) == "a"
    queries = np.concatenate([vectors[:3], clustered(rng, 3, dim)])
    condition = Equals("brand", "a") if filtered else None
    found = index.exact_candidates(queries, k, filter=condition, exclude=exclude, group=group)
    # Excluded rows may have been looked at.
    passing = int((np.array(brands) == "a").sum()) if filtered else 600
    assert all(allowed.sum() <= scanned <= passing for scanned in found.codes_scanned)
    for query, candidates in zip(queries, found.ids, strict=True):
        assert np.isin(candidates, ids[allowed]).all()
        assert (np.diff(candidates.astype(np.int64)) > 0).all()
        # However whoever scores them sums.
        scores = vectors[allowed] @ query
        one_by_one = np.cumsum(vectors[allowed] * query, axis=1, dtype=np.float32)[:, -1]
        for score in (scores, one_by_one):
            right = ids[allowed][best(score, products[allowed], k, group)]
            assert np.isin(right, candidates).all()


@pytest.mark.parametrize(("rerank", "most"), [("int8", 60), ("f16", 14), ("f32", 11)])
def test_few_candidates_are_not_among_the_best(rerank: str, most: int) -> None:
    vectors = unit_rows(np.random.default_rng(4).normal(size=(20_000, 64)))
    index = HashIndex.build(vectors, np.arange(20_000, dtype=np.uint64), rerank=rerank)
    found = index.exact_candidates(vectors[:50], 10, threads=2)
    counts = [len(ids) for ids in found.ids]
    assert min(counts) >= 10
    assert np.mean(counts) < most
    assert set(found.seconds) == {"hash", "probe", "scan", "rerank"}


def test_candidates_are_checked_as_searches_are() -> None:
    vectors = np.eye(3, dtype=np.float32)
    index = HashIndex.build(vectors, np.arange(3, dtype=np.uint64))
    assert [ids.tolist() for ids in index.exact_candidates(vectors[:1], 3).ids] == [[0, 1, 2]]
    assert index.exact_candidates(vectors[:0], 3).ids == []
    empty = HashIndex.build(vectors[:0], np.empty(0, np.uint64))
    assert [ids.tolist() for ids in empty.exact_candidates(vectors[:1], 3).ids] == [[]]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"k": 0}, "k must be"),
        ({"filter": "x"}, "filter"),
        ({"exclude": [1]}, "exclude"),
        ({"threads": -1}, "threads"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            index.exact_candidates(vectors, **options)
    with pytest.raises(ValueError, match="dimension 3, not 2"):
        index.exact_candidates(vectors[:, :2].copy())

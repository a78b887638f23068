"""What a search returns of the items that it has scored: exclusions, grouping, ties; against brute force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hasher.filters import Attributes, Equals
from hasher.index import NO_ID, HashIndex

Ids = NDArray[np.uint64]

POOL = np.random.default_rng(5).normal(size=(9, 24)).astype(np.float32)
"""Items look like one of these, so that many are equal and no two others nearly so."""


@dataclass(frozen=True)
class Case:
    looks: NDArray[np.int64]
    ids: Ids
    products: Ids
    brands: list[str]
    query: int
    k: int
    exclude: Ids
    filtered: bool
    group: bool
    ties: bool
    exact: bool


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 60))

    def each(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=count, max_size=count))

    return Case(
        looks=np.array(each(st.integers(0, len(POOL) - 1))),
        ids=np.array(draw(st.permutations(range(count))), np.uint64),
        products=np.array(each(st.integers(0, 12)), np.uint64),
        brands=each(st.sampled_from("ab")),
        query=draw(st.integers(0, len(POOL) - 1)),
        k=draw(st.integers(1, 20)),
        exclude=np.array(draw(st.lists(st.integers(0, 70), max_size=15)), np.uint64),
        filtered=draw(st.booleans()),
        group=draw(st.booleans()),
        ties=draw(st.booleans()),
        exact=draw(st.booleans()),
    )


def expected(case: Case) -> list[int]:
    """Ids by brute force, best first, equal ones by id."""
    unit = POOL.astype(np.float64) / np.linalg.norm(POOL, axis=1, keepdims=True)
    scores = (unit @ unit[case.query]).round(9)
    allowed = ~np.isin(case.ids, case.exclude)
    if case.filtered:
        allowed &= np.array(case.brands) == "a"
    rows = zip(-scores[case.looks][allowed], case.ids[allowed], case.products[allowed], strict=True)
    left = sorted((float(worth), int(item), int(product)) for worth, item, product in rows)
    best: dict[int, float] = {}
    for worth, _, product in left:
        best.setdefault(product, worth)
    if case.group:
        left = [hit for hit in left if hit[0] == best[hit[2]]]
    keys: set[int] = set()
    found: list[int] = []
    last = np.inf
    for worth, item, product in left:
        key = product if case.group else item
        if len(keys) < case.k and key not in keys:
            keys.add(key)
            found.append(item)
            last = worth
        elif case.ties and (worth == last or key in keys):
            found.append(item)
    return found


@settings(max_examples=300, deadline=None)
@given(cases())
def test_searches_return_what_brute_force_selects(case: Case) -> None:
    attributes = Attributes(values={"brand": case.brands})
    index = HashIndex.build(
        POOL[case.looks], case.ids, case.products, attributes=attributes, bits=64, rerank="f32"
    )
    everything: dict[str, Any] = {"exact": True} if case.exact else {"probes": 2**20, "rerank": 2**20}
    result = index.search_detailed(
        POOL[[case.query]] * 3,
        case.k,
        filter=Equals("brand", "a") if case.filtered else None,
        exclude=case.exclude,
        group=case.group,
        ties=case.ties,
        **everything,
    )
    found = result.ids[0][result.ids[0] != NO_ID].tolist()
    assert found == expected(case)
    shape = (1, max(case.k, len(found)))
    assert result.ids.shape == result.products.shape == result.scores.shape == shape
    assert (result.scores[0, len(found) :] == -np.inf).all()
    assert (np.abs(result.scores[0, : len(found)]) <= 1).all()


def test_excluding_an_item_leaves_its_product() -> None:
    vectors = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0.1, 0.9, 0.2]], np.float32)
    index = HashIndex.build(vectors, np.arange(4, dtype=np.uint64), np.array([7, 7, 8, 8], np.uint64))
    ways: list[dict[str, Any]] = [{}, {"exact": True}, {"effort": 0.0}]
    for way in ways:
        ids, _ = index.search(vectors[:1], 2, group=True, exclude=np.array([0, 99], np.uint64), **way)
        assert ids.tolist() == [[1, 3]]


def test_more_candidates_make_up_for_the_excluded_ones() -> None:
    rng = np.random.default_rng(8)
    vectors = rng.normal(size=(6_000, 32)).astype(np.float32)
    ids = np.arange(6_000, dtype=np.uint64)
    index = HashIndex.build(vectors, ids, rerank="f32")
    query = vectors[:1]
    nearest = index.search(query, 600, exact=True)[0][0]
    found = index.search(query, 5, rerank=5, effort=0.9, exclude=nearest[:500])[0][0]
    assert not np.isin(found, nearest[:500]).any()
    assert len(found) == 5
    assert (found != NO_ID).all()
    exact = index.search(query, 100, exact=True, exclude=nearest[:500])[0][0]
    np.testing.assert_array_equal(exact, nearest[500:])


def test_equal_items_come_in_the_order_of_their_ids() -> None:
    vectors = np.tile(np.ones((1, 16), np.float32), (20, 1))
    index = HashIndex.build(vectors, np.arange(20, dtype=np.uint64)[::-1].copy())
    ids, scores = index.search(vectors[:1], 5, exact=True, ties=True)
    assert ids.tolist() == [list(range(20))]
    assert len(set(scores[0].tolist())) == 1


@pytest.mark.parametrize("rerank", ["int8", "f16", "f32"])
def test_scores_are_cosines_from_minus_one_to_one(rerank: str) -> None:
    rng = np.random.default_rng(3)
    vectors = np.concatenate([np.array([[2, 1, 2]]), rng.normal(size=(300, 3))]).astype(np.float32)
    index = HashIndex.build(vectors, np.arange(301, dtype=np.uint64), rerank=rerank)
    for exact in (True, False):
        for queries in (vectors, -vectors):
            scores = index.search(queries, 301, exact=exact)[1]
            assert (np.abs(scores) <= 1).all()
    assert index.search(vectors[:1], 1)[1][0, 0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        (np.arange(3), "exclude must be a uint64 array"),
        ([1, 2], "exclude must be a uint64 array"),
        (np.zeros((2, 2), np.uint64), r"exclude must have shape \(n,\)"),
        (np.arange(1_025, dtype=np.uint64), "exclude takes at most 1024 ids, not 1025"),
    ],
)
def test_wrong_exclusions_are_refused(exclude: object, message: str) -> None:
    index = HashIndex.build(POOL, np.arange(len(POOL), dtype=np.uint64))
    with pytest.raises(ValueError, match=message):
        index.search(POOL, 1, exclude=exclude)  # type: ignore[arg-type]


def test_more_ties_than_memory_are_refused() -> None:
    vectors = np.tile(POOL[:1], (5_000, 1))
    index = HashIndex.build(vectors, np.arange(5_000, dtype=np.uint64))
    assert index.search(vectors[:2], 1, ties=True, exact=True)[0].shape == (2, 5_000)
    with pytest.raises(ValueError, match="search fewer queries in one call"):
        index.search(vectors[:3_400], 1, ties=True, exact=True)

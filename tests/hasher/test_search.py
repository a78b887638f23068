"""Searches of a generation against brute force over its rows: order of equals, exclusion, exactness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasher.attributes import attributes_of
from hasher.documents import document_of
from hasher.generation import Generation
from hasher.log.base import Change, Delete, Upsert
from lookalike.collections import Rerank, Spec
from lookalike.filters import Equals, Filter
from lookalike.v1 import types_pb2
from tests.hasher.generations import opened
from tests.hasher.port_search import SearchQuery, item_id_of, search

DIMENSION = 32
Vector = np.ndarray[Any, np.dtype[np.float32]]


def unit(vector: Any) -> Vector:
    wide = np.asarray(vector, dtype=np.float64)
    return (wide / np.linalg.norm(wide)).astype(np.float32)


def upsert(item_id: str, vector: Vector, product: str = "", colour: str = "") -> Upsert:
    item = types_pb2.Item(item_id=item_id, attributes={"colour": colour} if colour else {})
    return Upsert(item_id, product, item.SerializeToString(), vector, attributes_of(item), document_of(item))


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Makes generations that hold given rows."""
    shards = []

    def made(rerank: Rerank, batches: list[list[Upsert]], dimension: int = DIMENSION) -> Generation:
        shard = opened(tmp_path / f"data-{len(shards)}")
        shards.append(shard)
        shard.create("g", Spec("m", dimension, 64, 16, rerank), "create")
        generation = shard.generation("g")
        for n, rows in enumerate(batches):
            generation.submit(Change(f"r{n}", b"h", tuple(rows))).result(20)
        return generation

    yield made
    for shard in shards:
        shard.close()


def found(generation: Generation, queries: Any, k: int, **options: Any) -> list[list[tuple[str, float]]]:
    answer = search(generation, SearchQuery(np.atleast_2d(queries), k, **options))
    return [[(item_id_of(hit.document), hit.score) for hit in hits] for hits in answer.hits]


def ids(generation: Generation, query: Any, k: int, **options: Any) -> list[str]:
    return [item_id for item_id, _ in found(generation, query, k, **options)[0]]


@pytest.mark.parametrize("rerank", Rerank)
@pytest.mark.parametrize("exact", [True, False])
def test_equal_scores_come_in_the_order_of_the_item_ids(make: Any, rerank: Rerank, exact: bool) -> None:
    same = unit(np.arange(1, DIMENSION + 1))
    backwards = "tsrqponmlkjihgfedcba"
    generation = make(rerank, [[upsert(one, same)] for one in backwards])
    for k in (1, 5, 19, 20, 30):
        assert ids(generation, same, k, exact=exact) == sorted(backwards)[:k]
    assert ids(generation, same, 5, exact=exact, exclude_item_id="b") == ["a", "c", "d", "e", "f"]


@pytest.mark.parametrize("rerank", Rerank)
@pytest.mark.parametrize("exact", [True, False])
def test_equal_scores_within_and_between_products(make: Any, rerank: Rerank, exact: bool) -> None:
    same, near = unit(np.arange(1, DIMENSION + 1)), unit(np.arange(2, DIMENSION + 2))
    rows = [upsert("z", same, "p"), upsert("y", same, "p"), upsert("b", near, "p")]
    rows += [upsert("x", same, "q"), upsert("c", near, "q"), upsert("w", same), upsert("a", near, "r")]
    generation = make(rerank, [rows])
    assert ids(generation, same, 10, group=False, exact=exact) == ["w", "x", "y", "z", "a", "b", "c"]
    assert ids(generation, same, 10, exact=exact) == ["w", "x", "y", "a"]
    for k, expected in ((1, ["w"]), (2, ["w", "x"]), (3, ["w", "x", "y"])):
        assert ids(generation, same, k, exact=exact) == expected
    assert ids(generation, same, 3, exact=exact, exclude_item_id="y") == ["w", "x", "z"]


def test_scores_are_cosines(make: Any) -> None:
    for rerank in Rerank:
        generation = make(rerank, [[upsert("a", unit([2, 1, 2])), upsert("b", unit([-2, -1, -2]))]], 3)
        for exact in (True, False):
            (hits,) = found(generation, np.array([2, 1, 2], dtype=np.float32), 2, exact=exact)
            assert [item_id for item_id, _ in hits] == ["a", "b"]
            assert all(-1 <= score <= 1 for _, score in hits)
            assert [score for _, score in hits] == pytest.approx([1, -1], abs=0.006)


def check_exact(
    rows: list[Upsert], query: Vector, k: int, group: bool, hits: list[tuple[str, float]]
) -> None:
    """Compares with brute force in double precision, up to the rounding of single precision."""
    wide = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
    scores = {row.item_id: float(row.vector.astype(np.float64) @ wide) for row in rows}
    best: dict[str, float] = {}
    for row in rows:
        product = row.product_id if group and row.product_id else f"only {row.item_id}"
        best[product] = max(best.get(product, -2.0), scores[row.item_id])
    right = sorted(best.values(), reverse=True)[:k]
    assert [score for _, score in hits] == pytest.approx(right, abs=3e-7)
    assert [scores[item_id] for item_id, _ in hits] == pytest.approx(right, abs=3e-7)
    assert len({item_id for item_id, _ in hits}) == len(hits)


@pytest.mark.parametrize("rerank", Rerank)
def test_exact_searches_tell_apart_what_the_index_rounds_to_the_same(make: Any, rerank: Rerank) -> None:
    rng = np.random.default_rng(5)
    centre = rng.standard_normal(DIMENSION)
    rows = [
        upsert(f"i{n:03}", unit(centre + 1e-2 * rng.standard_normal(DIMENSION)), f"p{n % 50}")
        for n in range(300)
    ]
    rows += [upsert(f"far{n}", unit(rng.standard_normal(DIMENSION)), f"p{n}") for n in range(200)]
    generation = make(rerank, [rows[:250], rows[250:]])
    for _ in range(10):
        query = unit(centre + 1e-2 * rng.standard_normal(DIMENSION))
        for group in (False, True):
            for excluded in ("", "i007"):
                (hits,) = found(generation, query, 10, exact=True, group=group, exclude_item_id=excluded)
                check_exact([row for row in rows if row.item_id != excluded], query, 10, group, hits)


RED = Equals("colour", "red")
COARSE = st.lists(st.integers(-2, 2), min_size=3, max_size=3).map(lambda values: unit([*values, 1]))
FINE = st.lists(st.integers(-3, 3), min_size=3, max_size=3).map(
    lambda values: unit([*(1 + 1e-3 * value for value in values), 1])
)
CATALOGUES = st.lists(
    st.tuples(COARSE | FINE, st.sampled_from(["", "p", "q", "r"]), st.sampled_from(["red", "blue", ""])),
    min_size=1,
    max_size=14,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rerank=st.sampled_from(list(Rerank)),
    catalogue=CATALOGUES,
    queries=st.lists(COARSE | FINE, min_size=1, max_size=3),
    excluded=st.integers(0, 14),
    k=st.integers(1, 6),
    group=st.booleans(),
    filter=st.sampled_from([None, Filter(all=(RED,)), Filter(none=(RED,))]),
)
def test_exact_searches_equal_brute_force(
    make: Any,
    rerank: Rerank,
    catalogue: list[tuple[Vector, str, str]],
    queries: list[Vector],
    excluded: int,
    k: int,
    group: bool,
    filter: Filter | None,
) -> None:
    rows = [upsert(f"i{n}", *entry) for n, entry in enumerate(catalogue)]
    generation = make(rerank, [rows], 4)
    red = [row for row in rows if row.attributes.values.get("colour") == "red"]
    passing = rows if filter is None else red if filter.all else [row for row in rows if row not in red]
    passing = [row for row in passing if row.item_id != f"i{excluded}"]
    options = {"group": group, "filter": filter, "exclude_item_id": f"i{excluded}"}
    for query, hits in zip(
        queries, found(generation, np.stack(queries), k, exact=True, **options), strict=True
    ):
        check_exact(passing, query, k, group, hits)


def test_many_equal_rows_are_read_some_at_a_time(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hasher.rows.store._CHUNK_ROWS", 7)
    same = unit(np.arange(1, DIMENSION + 1))
    generation = make(Rerank.INT8, [[upsert(f"i{n:02}", same, "p") for n in range(50)]])
    assert ids(generation, same, 3, exact=True) == ["i00"]
    assert ids(generation, same, 3, exact=True, group=False) == ["i00", "i01", "i02"]
    row = generation.store.vectors([1])
    assert next(row).vectors.shape == (1, DIMENSION)


def test_a_row_that_goes_between_the_index_and_the_rows_drops_out(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = unit(np.arange(1, DIMENSION + 1))
    generation = make(Rerank.F16, [[upsert("a", same), upsert("b", same), upsert("c", same)]])
    missing, inner = 1, generation.store.vectors
    monkeypatch.setattr(
        generation.store, "vectors", lambda numbers: inner([n for n in numbers if n != missing])
    )
    assert ids(generation, same, 3, exact=True) == ["b", "c"]


@pytest.mark.parametrize("rerank", Rerank)
def test_only_exact_searches_read_the_rows(
    make: Any, rerank: Rerank, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = unit(np.arange(1, DIMENSION + 1))
    generation = make(rerank, [[upsert("a", same, "p"), upsert("b", same, "p"), upsert("c", same)]])
    monkeypatch.delattr(generation.store, "_readers")
    assert ids(generation, same, 3) == ["a", "c"]
    assert ids(generation, same, 3, group=False, exclude_item_id="b") == ["a", "c"]
    if rerank is not Rerank.F32:
        with pytest.raises(grpc.RpcError, match="internal error"):
            ids(generation, same, 3, exact=True)


def test_an_excluded_item_that_is_written_again_meanwhile_stays_excluded(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = unit(np.arange(1, DIMENSION + 1))
    generation = make(Rerank.INT8, [[upsert("a", same), upsert("b", same)]])
    inner, left = generation.store.vectors, iter(range(2))

    def read(numbers: Any) -> Any:
        found = list(inner(numbers))
        if (n := next(left, None)) is not None:
            for request_id, mutation in ((f"gone{n}", Delete("a")), (f"back{n}", upsert("a", same))):
                generation.submit(Change(request_id, b"h", (mutation,))).result(20)
        return found

    monkeypatch.setattr(generation.store, "vectors", read)
    assert ids(generation, same, 3, exact=True, exclude_item_id="a") == ["b"]
    assert next(left, None) is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rerank=st.sampled_from(list(Rerank)),
    catalogue=CATALOGUES,
    queries=st.lists(COARSE | FINE, min_size=1, max_size=3),
    excluded=st.integers(0, 14),
    k=st.integers(1, 6),
    group=st.booleans(),
)
def test_without_an_item_searches_find_what_they_would_if_it_were_not_there(
    make: Any,
    rerank: Rerank,
    catalogue: list[tuple[Vector, str, str]],
    queries: list[Vector],
    excluded: int,
    k: int,
    group: bool,
) -> None:
    rows = [upsert(f"i{n}", *entry) for n, entry in enumerate(catalogue)]
    vectors, left_out = np.stack(queries), f"i{excluded}"
    generation = make(rerank, [rows], 4)
    hits = found(generation, vectors, k, group=group, exclude_item_id=left_out)
    generation.submit(Change("gone", b"h", (Delete(left_out),))).result(20)
    assert hits == found(generation, vectors, k, group=group)

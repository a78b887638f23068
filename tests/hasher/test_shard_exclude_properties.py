"""Leaving one item out of an answer equals searching a catalogue that never had it, filtered or not."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hasher.attributes import attributes_of
from hasher.log.base import Change, Upsert
from hasher.rows.records import SearchQuery
from hasher.shard import Shard
from lookalike.collections import Spec
from lookalike.filters import Equals, Filter
from lookalike.v1 import types_pb2

DIMENSION = 4


def unit(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    vector = np.array([*values, 1], dtype=np.float32)
    return vector / np.float32(np.linalg.norm(vector))


VECTORS = st.lists(st.integers(-3, 3), min_size=DIMENSION - 1, max_size=DIMENSION - 1).map(unit)
COLOURS = st.sampled_from(["red", "blue", ""])
PRODUCTS = st.sampled_from(["", "p", "q", "r"])
CATALOGUES = st.lists(st.tuples(VECTORS, PRODUCTS, COLOURS), min_size=1, max_size=12)
RED = Equals("colour", "red")
FILTERS = st.sampled_from([None, Filter(all=(RED,)), Filter(none=(RED,))])


def upsert(number: int, product: str, colour: str, vector: np.ndarray) -> Upsert:
    item = types_pb2.Item(item_id=f"i{number}", attributes={"colour": colour} if colour else {})
    return Upsert(f"i{number}", product, item.SerializeToString(), vector, attributes_of(item))


@settings(max_examples=40, deadline=None)
@given(
    CATALOGUES,
    st.lists(VECTORS, min_size=1, max_size=3),
    st.integers(0, 12),
    st.integers(1, 6),
    st.booleans(),
    FILTERS,
)
def test_exclusion_equals_absence(
    catalogue: list[tuple[np.ndarray, str, str]],
    queries: list[np.ndarray],
    excluded: int,
    k: int,
    group: bool,
    filter: Filter | None,
) -> None:
    items = [upsert(n, product, colour, vector) for n, (vector, product, colour) in enumerate(catalogue)]
    with tempfile.TemporaryDirectory() as folder:
        shard = Shard(Path(folder), 0, 1)
        shard.lock()
        shard.load()
        shard.create("g", Spec("m", DIMENSION, 64, 16), "create")
        generation = shard.generation("g")
        generation.submit(Change("r", b"h", tuple(items))).result(10)
        query = SearchQuery(
            np.stack(queries), k, group=group, exact=True, filter=filter, exclude_item_id=f"i{excluded}"
        )
        answer = generation.search(query)
        shard.close()
    wanted = {"red": filter is None or not filter.none, "blue": filter is None or not filter.all}
    wanted[""] = wanted["blue"]
    kept = [item for n, item in enumerate(items) if n != excluded and wanted[catalogue[n][2]]]
    for query_vector, hits in zip(queries, answer.hits, strict=True):
        assert f"i{excluded}" not in [types_pb2.Item.FromString(hit.item).item_id for hit in hits]
        scores = {item.item: float(query_vector @ item.vector) for item in kept}
        best: dict[str, float] = {}
        for item in kept:
            key = (item.product_id or item.item_id) if group else item.item_id
            best[key] = max(best.get(key, -2.0), scores[item.item])
        expected = sorted(best.values(), reverse=True)[:k]
        np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-5)
        np.testing.assert_allclose([scores[hit.item] for hit in hits], expected, atol=1e-5)

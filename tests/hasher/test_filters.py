"""Filters through :class:`HashIndex`, against looking at every item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hasher.filters import Attributes, Equals, Filter, In, InCategories, InCategory, Range
from hasher.index import NO_ID, HashIndex
from tests.hasher import oracle

COUNT, DIM = 4000, 32
FILTERS: dict[str, Any] = {
    "everything": Filter(),
    "half": Equals("half", "yes"),
    "a tenth": Equals("size", "3"),
    "one in a thousand": Filter(all=(Equals("rare", "yes"),)),
    "nothing": Equals("size", "absent"),
    "unknown name": In("shape", ("round",)),
    "a list": In("size", ("1", "3", "absent")),
    "a range": Range("price", 10, 19.5),
    "half a range": Filter(all=(Range("price", max=70), InCategory(("a",)))),
    "a category": InCategory(("a", "b")),
    "categories": InCategories((("a", "b"), ("c",))),
    "not": Filter(none=(InCategory(("a",)), Equals("half", "yes"))),
    "mixed": Filter(all=(Equals("half", "yes"),), any=(Range("price", min=90), Equals("size", "3"))),
}


class Data:
    """Vectors with categories and attributes, the same in each run."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.vectors: NDArray[np.float32] = rng.standard_normal((COUNT, DIM)).astype(np.float32)
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)
        self.ids = rng.permutation(10 * COUNT)[:COUNT].astype(np.uint64)
        paths = [(), ("a",), ("a", "b"), ("a", "b", "c"), ("b",)]
        self.categories = [paths[i] for i in rng.integers(0, len(paths), COUNT)]
        self.rows: list[dict[str, str]] = []
        for i in range(COUNT):
            row = {"half": ["yes", "no"][int(rng.integers(2))], "size": str(rng.integers(10))}
            if rng.random() < 0.8:
                row["price"] = f"{rng.random() * 100:.2f}"
            if i % 1000 == 7:
                row["rare"] = "yes"
            self.rows.append(row)

    def attributes(self, part: slice = slice(None), *, columns: bool = False) -> Attributes:
        rows = self.rows[part]
        if not columns:
            return Attributes(self.categories[part], rows)
        names = {name for row in rows for name in row}
        return Attributes(self.categories[part], {name: [row.get(name) for row in rows] for name in names})

    def passing(self, filter: Any) -> NDArray[np.bool_]:
        pairs = zip(self.categories, self.rows, strict=True)
        return np.array([oracle.passes(filter, category, row) for category, row in pairs])


@pytest.fixture(scope="module")
def data() -> Data:
    return Data(3)


@pytest.fixture(scope="module")
def index(data: Data) -> HashIndex:
    """Half of the items built in, a quarter of these replaced, the rest added."""
    half = COUNT // 2
    index = HashIndex.build(
        data.vectors[half - 500 : COUNT],
        data.ids[half - 500 : COUNT],
        attributes=Data(4).attributes(slice(half - 500, COUNT)),
        rerank="f32",
    )
    index.add(data.vectors[:half], data.ids[:half], attributes=data.attributes(slice(half)))
    index.add(
        data.vectors[half:], data.ids[half:], attributes=data.attributes(slice(half, COUNT), columns=True)
    )
    return index


def best(data: Data, alive: NDArray[np.bool_], query: NDArray[np.float32], k: int) -> list[int]:
    scores = np.where(alive, data.vectors @ query, -np.inf)
    order = np.argsort(-scores, kind="stable")[:k]
    return [int(data.ids[i]) for i in order if np.isfinite(scores[i])]


@pytest.mark.parametrize("name", FILTERS)
def test_exact_search_finds_the_best_that_pass(index: HashIndex, data: Data, name: str) -> None:
    passing = data.passing(FILTERS[name])
    for query in np.random.default_rng(5).standard_normal((3, DIM)).astype(np.float32):
        ids, scores = index.search(query[None, :], 10, filter=FILTERS[name], exact=True)
        expected = best(data, passing, query, 10)
        assert [int(i) for i in ids[0] if i != NO_ID] == expected
        assert np.isneginf(scores[0, len(expected) :]).all()


@pytest.mark.parametrize("name", FILTERS)
def test_hashed_search_finds_most_of_them_and_nothing_else(index: HashIndex, data: Data, name: str) -> None:
    passing = data.passing(FILTERS[name])
    allowed = set(data.ids[passing].tolist())
    queries = np.random.default_rng(6).standard_normal((20, DIM)).astype(np.float32)
    ids, _ = index.search(queries, 10, filter=FILTERS[name], effort=1.0)
    hits = wanted = 0
    for query, row in zip(queries, ids.tolist(), strict=True):
        found = {i for i in row if i != NO_ID}
        assert found <= allowed
        assert len(found) == min(10, len(allowed)), "short only where few pass"
        expected = set(best(data, passing, query, 10))
        hits += len(found & expected)
        wanted += len(expected)
    assert hits >= 0.9 * wanted


def test_filters_survive_save_and_removal(data: Data, tmp_path: Path) -> None:
    index = HashIndex.build(data.vectors, data.ids, attributes=data.attributes())
    index.remove(data.ids[::3])
    index.save(tmp_path / "ix")
    opened = HashIndex.open(tmp_path / "ix")
    alive = np.arange(COUNT) % 3 != 0
    for filter in FILTERS.values():
        passing = data.passing(filter) & alive
        query = data.vectors[0]
        for one in (index, opened):
            ids, _ = one.search(query[None, :], COUNT, filter=filter, exact=True)
            assert {int(i) for i in ids[0] if i != NO_ID} == set(data.ids[passing].tolist())


def test_groups_hold_their_best_item_that_passes(data: Data) -> None:
    products = np.arange(COUNT, dtype=np.uint64) // 8
    index = HashIndex.build(data.vectors, data.ids, products, attributes=data.attributes(), rerank="f32")
    filter = Equals("size", "3")
    found = index.search_detailed(data.vectors[:1], 20, filter=filter, group=True, exact=True)
    scores = np.where(data.passing(filter), data.vectors @ data.vectors[0], -np.inf)
    by_product = scores.reshape(-1, 8).max(axis=1)
    assert found.products[0].tolist() == np.argsort(-by_product, kind="stable")[:20].tolist()


def test_items_without_attributes_pass_what_only_excludes(data: Data) -> None:
    index = HashIndex.build(data.vectors[:50], data.ids[:50])
    ids, _ = index.search(data.vectors[:1], 50, filter=Filter(none=(Equals("a", "b"),)), exact=True)
    assert (ids != NO_ID).all()
    index.add(data.vectors[50:60], data.ids[50:60], attributes=Attributes(values=[{"a": "b"}] * 10))
    ids, _ = index.search(data.vectors[:1], 60, filter=Equals("a", "b"), exact=True)
    assert set(ids[0, :10].tolist()) == set(data.ids[50:60].tolist())


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (Attributes([()] * 2), "categories has 2 entries, but there are 3 vectors"),
        (Attributes(values={"a": ["x"] * 4}), r"values\[\"a\"\] has 4 entries, but there are 3 vectors"),
        (Attributes(values=[{}] * 2), "values has 2 entries, but there are 3 vectors"),
        (Attributes([("a",), ("a", ""), ()]), r"categories\[1\] must be a sequence of non-empty names"),
        (Attributes(["a", "b", "c"]), r"categories\[0\] must be a sequence of non-empty names, not 'a'"),
        (Attributes([("a",) * 17, (), ()]), "at most 16 levels, not 17"),
        (Attributes(values={"a": ["x", 2, None]}), r"values\[\"a\"\]\[1\] must be text or None, not 2"),  # type: ignore[list-item]
        (Attributes(values=[{}, {"a": 1}, {}]), r"values\[1\] must be a mapping of text to text"),  # type: ignore[dict-item]
        (Attributes(values=[{"": "x"}] * 3), "an attribute without a name"),
        (Attributes(values={5: ["x"] * 3}), "values must be named by text, not 5"),  # type: ignore[dict-item]
        (Attributes([("\ud800",)] * 3), r"categories\[0\] must be .*: lone surrogates are not text"),
        (Attributes(values={"\ud800": ["x"] * 3}), r"values must be .*: lone surrogates are not text"),
        (
            Attributes(values={"a": ["\ud800"] * 3}),
            r"values\[\"a\"\]\[0\] must be .*: lone surrogates are not text",
        ),
        (Attributes(values=[{"a": "\ud800"}] * 3), r"values\[0\] must be .*: lone surrogates are not text"),
        ({"a": "b"}, "attributes must be an Attributes, not dict"),
    ],
)
def test_bad_attributes_are_refused(data: Data, attributes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HashIndex.build(data.vectors[:3], data.ids[:3], attributes=attributes)
    index = HashIndex.build(data.vectors[3:6], data.ids[3:6])
    with pytest.raises(ValueError, match=message):
        index.add(data.vectors[:3], data.ids[:3], attributes=attributes)
    assert len(index) == 3


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"categories has 2, values\['a'\] has 1"):
        Attributes([(), ()], {"a": ["x"]})
    assert len(Attributes([(), ()], [{}, {}])) == 2
    assert len(Attributes()) == 0


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"values": 5},
            "values must be a mapping of columns or a sequence of one entry for each item, not int",
        ),
        (
            {"values": (row for row in ())},
            "values must be a mapping of columns or a sequence .*, not generator",
        ),
        ({"values": {"a": 5}}, r"values\['a'\] must be a sequence of one entry for each item, not int"),
        ({"categories": 5}, "categories must be a sequence of one entry for each item, not int"),
    ],
)
def test_what_is_no_sequence_is_refused(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Attributes(**attributes)


@pytest.mark.parametrize("filter", [{"a": "b"}, "a", 3, Equals])
def test_what_is_no_filter_is_refused(index: HashIndex, data: Data, filter: Any) -> None:
    with pytest.raises(ValueError, match="filter must be a Filter or one of Equals, In"):
        index.search(data.vectors[:1], filter=filter)


def test_a_text_is_not_a_column_of_its_letters() -> None:
    with pytest.raises(ValueError, match=r"values\['c'\] must be a sequence"):
        Attributes([("a",), ("a",)], {"c": "ab"})

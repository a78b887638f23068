"""Random items, and random searches of them: of every kind, with ties, and such as are to be refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.v1 import catalog_pb2, search_pb2, types_pb2

__all__ = ["Made", "Message", "Searches", "items_of"]

COLOURS = ("black", "white", "red", "blue", "green", "brown", "")
CATEGORIES = (
    ("clothes", "sport", "running"),
    ("clothes", "sport", "tennis"),
    ("clothes", "street"),
    ("shoes", "street", "leather"),
    ("shoes", "sport", "running"),
    ("shoes",),
    (),
)
NOISE = 0.35
TWINS = 0.1
"""Items whose vector is that of another: their scores are equal."""
IMAGES = (1, 1, 1, 2, 3, 6)
KS = (1, 2, 3, 10, 10, 10, 24, 100, 400, 1000)
Request = search_pb2.SearchRequest
Message = search_pb2.SearchRequest | search_pb2.MultiSearchRequest | bytes
"""One search, several, or one that was cut off."""


@dataclass(frozen=True)
class Made:
    """Items and their vectors, ``(n, d)`` float32."""

    items: Sequence[types_pb2.Item]
    vectors: NDArray[np.float32]

    def upserts(self, first: int, count: int) -> Iterator[catalog_pb2.UpsertItem]:
        """Yields some of them as they are written."""
        for item, vector in zip(
            self.items[first : first + count], self.vectors[first : first + count], strict=True
        ):
            yield catalog_pb2.UpsertItem(item=item, embedding=types_pb2.Embedding(values=vector))


def items_of(count: int, dim: int, seed: int) -> Made:
    """Returns items of products with one or several images, some without a product, category or attribute."""
    random = np.random.default_rng(seed)
    items: list[types_pb2.Item] = []
    vectors, product = np.empty((count, dim), np.float32), 0
    while len(items) < count:
        centre = random.standard_normal(dim, np.float32)
        category = CATEGORIES[random.integers(len(CATEGORIES))]
        for _ in range(min(int(random.choice(IMAGES)), count - len(items))):
            at = len(items)
            vectors[at] = centre + np.float32(NOISE) * random.standard_normal(dim, np.float32)
            if at and random.random() < TWINS:
                vectors[at] = vectors[random.integers(at)]
            items.append(_item(random, at, product, category))
        product += 1
    return Made(items, vectors)


def _item(random: np.random.Generator, number: int, product: int, category: Sequence[str]) -> types_pb2.Item:
    attributes = {}
    if colour := COLOURS[random.integers(len(COLOURS))]:
        attributes["colour"] = colour
    if random.random() < 0.8:
        attributes["price"] = f"{random.integers(1, 200)}.90" if random.random() < 0.9 else "on request"
    return types_pb2.Item(
        item_id=f"item-{number}",
        product_id="" if random.random() < 0.1 else f"product-{product}",
        title=f"Number {product}",
        category=types_pb2.CategoryPath(names=category),
        attributes=attributes,
        image_uri=f"photos/{number}.jpg",
    )


class Searches:
    """Makes searches; equal seeds make equal ones.

    Args:
        refused: Share that is made such that it should be refused, for one reason or for two.
        together: Share that is sent as several searches at once.
        cut: Share of which the end is missing.
    """

    def __init__(
        self,
        made: Made,
        collection: str,
        seed: int,
        refused: float = 0.15,
        together: float = 0.05,
        cut: float = 0.01,
    ) -> None:
        self._made = made
        self._collection = collection
        self._random = np.random.default_rng(seed)
        self._refused = refused
        self._together = together
        self._cut = cut

    def __iter__(self) -> Iterator[Message]:
        while True:
            if self._chance(self._together):
                searches = [self.one() for _ in range(self._random.integers(0, 9))]
                yield search_pb2.MultiSearchRequest(searches=searches)
            elif self._chance(self._cut):
                whole = self.one().SerializeToString()
                yield whole[: self._random.integers(len(whole))]
            else:
                yield self.one()

    def one(self) -> Request:
        """Returns one search."""
        request = Request(collection=self._collection, query=self._query(), k=self._one_of(KS))
        if self._chance(0.6):
            request.group_by_product = self._chance(0.5)
        request.exact = self._chance(0.15)
        kind = self._random.random()
        if kind < 0.25:
            request.effort = self._one_of((0.0, 1.0, self._random.random(), self._random.random()))
        elif kind < 0.4:
            request.probes = self._one_of((1, 2, 8, 64, 1000, 65_536))
        if self._chance(0.25):
            spread = self._one_of((0.5, 0.9, 0.999, -1.0, 1.0, self._random.uniform(-1, 1)))
            request.min_score = spread
        if self._chance(0.35):
            request.filter.CopyFrom(self._filter())
        if self._chance(0.1):
            request.min_coverage = self._one_of((0.0, 1.0, self._random.random()))
        if self._chance(self._refused):
            for _ in range(self._random.integers(1, 3)):
                self._one_of(_SPOILED)(request)
        return request

    def _query(self) -> search_pb2.Query:
        kind, row = self._random.random(), int(self._random.integers(len(self._made.items)))
        if kind < 0.25:
            return search_pb2.Query(item_id=self._made.items[row].item_id)
        vector = self._made.vectors[row]
        if kind < 0.35:  # Its twins have equal scores.
            pass
        elif kind < 0.45:
            vector = self._random.standard_normal(len(vector), np.float32)
        elif kind < 0.5:
            vector = vector * np.float32(10.0 ** self._random.integers(-15, 16))
        else:
            vector = vector + np.float32(NOISE) * self._random.standard_normal(len(vector), np.float32)
        return search_pb2.Query(embedding=types_pb2.Embedding(values=vector))

    def _filter(self) -> types_pb2.Filter:
        parts: dict[str, list[types_pb2.Condition]] = {"all": [], "any": [], "none": []}
        for _ in range(self._random.integers(0, 4)):
            parts[self._one_of(tuple(parts))].append(self._condition())
        return types_pb2.Filter(**parts)

    def _condition(self) -> types_pb2.Condition:
        kind = self._random.integers(5)
        if kind == 4:
            paths = [self._one_of(CATEGORIES[:-1]) for _ in range(self._random.integers(1, 4))]
            several = [types_pb2.CategoryPath(names=names) for names in paths]
            return types_pb2.Condition(in_categories=types_pb2.CategoryPaths(paths=several))
        if kind == 0:
            names = self._one_of(CATEGORIES[:-1])[: self._random.integers(1, 4)]
            return types_pb2.Condition(in_category=types_pb2.CategoryPath(names=names))
        if kind == 1:
            value = self._one_of((*COLOURS, "purple"))
            return types_pb2.Condition(equals=types_pb2.AttributeEquals(name="colour", value=value))
        if kind == 2:
            values = [self._one_of(COLOURS) for _ in range(self._random.integers(1, 4))]
            return _in(self._one_of(("colour", "size")), values)
        test = types_pb2.AttributeRange(name="price")
        low, high = sorted(self._random.uniform(0, 200, 2))
        if self._chance(0.7):
            test.min = low
        if self._chance(0.7):
            test.max = high
        return types_pb2.Condition(range=test)

    def _chance(self, share: float) -> bool:
        return bool(self._random.random() < share)

    def _one_of(self, values: Sequence[Any]) -> Any:
        return values[int(self._random.integers(len(values)))]


def _set(name: str, value: Any) -> Callable[[Request], None]:
    return lambda request: setattr(request, name, value)


def _ask(**query: Any) -> Callable[[Request], None]:
    return lambda request: request.query.CopyFrom(search_pb2.Query(**query))


def _vector(spoil: Callable[[list[float]], list[float]], model: str = "") -> Callable[[Request], None]:
    def change(request: Request) -> None:
        values = spoil(list(request.query.embedding.values) or [1.0])
        embedding = types_pb2.Embedding(values=values, model_version=model)
        request.query.CopyFrom(search_pb2.Query(embedding=embedding))

    return change


def _filtered(**parts: Any) -> Callable[[Request], None]:
    return lambda request: request.filter.MergeFrom(types_pb2.Filter(**parts))


def _range(**bounds: float) -> types_pb2.Condition:
    return types_pb2.Condition(range=types_pb2.AttributeRange(name="price", **bounds))


def _equals(name: str, value: str = "x") -> types_pb2.Condition:
    return types_pb2.Condition(equals=types_pb2.AttributeEquals(name=name, value=value))


def _in(name: str, values: Sequence[str]) -> types_pb2.Condition:
    condition = types_pb2.Condition()
    # The field's name is a word of Python.
    getattr(condition, "in").CopyFrom(types_pb2.AttributeIn(name=name, values=values))
    return condition


_SPOILED: tuple[Callable[[Request], None], ...] = (
    lambda request: request.ClearField("query"),
    *(_set("k", k) for k in (0, 1001, 2**32 - 1)),
    *(_set("min_score", score) for score in (math.nan, 1.5, -1.01, math.inf)),
    *(_set("min_coverage", coverage) for coverage in (math.nan, -0.1, 1.1)),
    *(_set("probes", probes) for probes in (0, 65_537)),
    *(_set("effort", effort) for effort in (math.nan, -0.1, 1.5)),
    *(_set("collection", name) for name in ("nothing", "No!", "", "x" * 64)),
    _set("category_gate", 9),
    _set("category_gate_mode", 2),
    _set("category_gate_mass", 0.5),
    *(_set("min_log_position", token) for token in ("?", "x" * 5000)),
    *(_ask(item_id=name) for name in ("", "nobody", "ä" * 65)),
    _ask(image=types_pb2.Image()),
    _ask(image=types_pb2.Image(content=b"no photo", region=types_pb2.Region(x_min=0.5, x_max=0.5, y_max=1))),
    _ask(images=types_pb2.ImageSet()),
    _ask(images=types_pb2.ImageSet(images=[types_pb2.Image(content=b"p")] * 9)),
    _vector(lambda values: values[:-1]),
    _vector(lambda values: [*values, 1.0]),
    _vector(lambda values: []),
    _vector(lambda values: [0.0] * len(values)),
    _vector(lambda values: [math.nan, *values[1:]]),
    _vector(lambda values: [*values[:-1], math.inf]),
    _vector(lambda values: values, model="another"),
    _vector(lambda values: values, model="m" * 5000),
    _filtered(all=[types_pb2.Condition()]),
    _filtered(none=[types_pb2.Condition(in_category=types_pb2.CategoryPath())]),
    _filtered(all=[types_pb2.Condition(in_category=types_pb2.CategoryPath(names=["a", "", "b"]))]),
    _filtered(any=[types_pb2.Condition(in_category=types_pb2.CategoryPath(names="abcd"))]),
    _filtered(any=[_equals("colour")] * 65),
    _filtered(all=[_equals(""), _range(min=2.0, max=1.0)]),
    _filtered(all=[_equals("n" * 65)]),
    _filtered(none=[_equals("colour", "v" * 1025)]),
    _filtered(all=[_range(min=math.nan)]),
    _filtered(any=[_in("colour", [])]),
    _filtered(all=[_in("colour", ["v"] * 1001)]),
)

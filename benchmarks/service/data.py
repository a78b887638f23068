"""The items that every server holds, the requests that it gets, and the answers that are right."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.catalogue import Catalogue, Spec, exact_top, load_or_generate
from benchmarks.service.subjects import Answers
from lookalike.client import Item
from lookalike.v1 import catalog_pb2, search_pb2, types_pb2

__all__ = ["COLLECTION", "Data", "K", "encoded", "item_of", "overlap", "recall_of"]

COLLECTION = "bench"
K = 10
COLOURS = ("black", "white", "red", "blue", "green", "brown")
CATEGORIES = (("clothes", "sport", "running"), ("clothes", "sport", "tennis"), ("shoes", "street", "leather"))


@dataclass(frozen=True)
class Data:
    """A simulated catalogue, and requests made from it.

    Args:
        catalogue: The vectors.
        queries: How many different searches there are.
    """

    catalogue: Catalogue
    queries: int

    @classmethod
    def load(cls, items: int, dim: int, seed: int, queries: int, cache: Path, progress: Any) -> Data:
        """Returns the data from a folder, made there the first time."""
        return cls(load_or_generate(Spec(dim, items, seed), cache, progress), queries)

    @property
    def name(self) -> str:
        """What the data is, for names of files."""
        return self.catalogue.name

    def items(self) -> Iterator[Item]:
        """Yields every item."""
        for row in range(len(self.catalogue.vectors)):
            yield self._item(row)

    def _item(self, row: int) -> Item:
        return item_of(row, int(self.catalogue.products[row]), self.catalogue.vectors[row])

    @property
    def vectors(self) -> NDArray[np.float32]:
        """What is searched for."""
        return self.catalogue.queries[: self.queries]

    @property
    def truth(self) -> list[set[str]]:
        """The ids of the right hits of each vector."""
        return [set(map(item_id, rows[:K])) for rows in self.catalogue.truth[: self.queries]]

    def searches(self, **options: Any) -> list[bytes]:
        """Searches by embedding; ``options`` are fields of ``SearchRequest``."""
        return [
            encoded(search_pb2.Query(embedding=types_pb2.Embedding(values=vector)), **options)
            for vector in self.vectors
        ]

    def item_searches(self) -> tuple[list[bytes], list[set[str]]]:
        """Searches by item id with the ids of their right hits; an item is not among its own."""
        rows = np.sort(
            np.random.default_rng(1).choice(len(self.catalogue.vectors), self.queries, replace=False)
        )
        nearest = exact_top(self.catalogue.vectors, np.asarray(self.catalogue.vectors[rows]), K + 1)
        others = [found[found != row][:K] for row, found in zip(rows, nearest, strict=True)]
        searches = [encoded(search_pb2.Query(item_id=item_id(row))) for row in rows]
        return searches, [set(map(item_id, right)) for right in others]

    def writes(self, count: int, items: int) -> list[bytes]:
        """Writes that replace items by what they already are, each with a request id of its own."""
        run = uuid.uuid4().hex
        rows = np.random.default_rng(2).integers(0, len(self.catalogue.vectors), (count, items))
        requests = []
        for number, batch in enumerate(rows):
            request = catalog_pb2.UpsertItemsRequest(collection=COLLECTION, request_id=f"{run}-{number}")
            for row in np.unique(batch):
                item = self._item(int(row))
                request.items.add(
                    item=types_pb2.Item(
                        item_id=item.item_id,
                        product_id=item.product_id,
                        title=item.title,
                        category=types_pb2.CategoryPath(names=item.category),
                        attributes=item.attributes,
                        image_uri=item.image_uri,
                    ),
                    embedding=types_pb2.Embedding(values=item.embedding),
                )
            requests.append(request.SerializeToString())
        return requests


def item_id(row: int) -> str:
    """The id of a row."""
    return f"item-{row}"


def item_of(row: int, product: int, vector: NDArray[np.float32]) -> Item:
    """The item of a row, with some 150 bytes of payload."""
    category = CATEGORIES[product % len(CATEGORIES)]
    return Item(
        item_id=item_id(row),
        product_id=f"product-{product}",
        title=f"{category[-1].capitalize()} number {product}, view {row}",
        category=category,
        attributes={"colour": COLOURS[product % len(COLOURS)], "price": f"{product % 200}.90"},
        image_uri=f"photos/{product}/{row}.jpg",
        embedding=np.asarray(vector),
    )


def encoded(query: search_pb2.Query, **options: Any) -> bytes:
    """A search; ``options`` are fields of ``SearchRequest``."""
    # Peers know no products: hits are items, here and there.
    fields = {"collection": COLLECTION, "k": K, "group_by_product": False, **options}
    return search_pb2.SearchRequest(query=query, **fields).SerializeToString()


def recall_of(truth: Sequence[set[str]]) -> Callable[[Answers], float]:
    """Returns what compares encoded answers with the ids of the right hits."""

    def hits(answer: bytes | None) -> set[str] | None:
        return (
            None
            if answer is None
            else {hit.item_id for hit in search_pb2.SearchResponse.FromString(answer).hits}
        )

    return lambda answers: overlap([hits(answer) for answer in answers], truth)


def overlap(found: Sequence[set[str] | None], truth: Sequence[set[str]]) -> float:
    """Mean share of the right hits that were found, over the searches with an answer."""
    shares = [
        len(hits & right) / len(right) for hits, right in zip(found, truth, strict=True) if hits is not None
    ]
    return float(np.mean(shares))

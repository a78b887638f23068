"""Queries of a catalogue, asked through the public API."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookalike.catalog import Catalog, CatalogItem
from lookalike.cli.console import Update
from lookalike.errors import InvalidInputError, Reason

if TYPE_CHECKING:
    from lookalike.client import Client, Hit, SearchResult


@dataclass(frozen=True, slots=True)
class Question:
    """A query photo, and how many indexed items of its product there are besides itself."""

    item: CatalogItem
    truth_count: int
    indexed: bool
    """Whether the photo itself is in the index, and must be left out of its own answer."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one query found: items best first, its own left out.

    Attributes:
        query: The query's row of the catalogue.
        truth_count: Indexed items of the same product, itself not counted.
        hits: At most ``k`` items.
        predicted: The most probable category path by level.
        seconds: From sending to having the answer, seen by the client.
        scanned_fraction: Share of the collection's codes compared with the query.
        model_version: Of the model that embedded the query.
    """

    query: CatalogItem
    truth_count: int
    hits: tuple[Hit, ...]
    predicted: dict[str, tuple[str, ...]]
    seconds: float
    scanned_fraction: float
    model_version: str


def questions(catalog: Catalog) -> list[Question]:
    """Returns the rows with split ``query`` or ``both`` that have at least one right answer in the index.

    Raises:
        InvalidInputError: There is none.
    """
    index = catalog.index_items()
    per_product = Counter(item.product_id for item in index)
    indexed = {item.item_id for item in index}
    found = [
        Question(item, per_product[item.product_id] - (item.item_id in indexed), item.item_id in indexed)
        for item in catalog.query_items()
    ]
    answerable = [question for question in found if question.truth_count]
    if not answerable:
        raise InvalidInputError(
            "the catalogue has no query with a right answer: no row with split query or both has another"
            " row of its product with split index or both",
            reason=Reason.CATALOG_INVALID,
            field="split",
        )
    return answerable


def ask(
    client: Client,
    asked: Sequence[Question],
    collection: str,
    *,
    k: int,
    exact: bool,
    concurrency: int,
    update: Update,
) -> list[Ranking]:
    """Searches for every photo; ranks items, not products.

    Args:
        client: Shared by all threads.
        asked: The queries.
        collection: Where to search.
        k: Hits of each ranking.
        exact: Compare with every stored vector.
        concurrency: Queries under way at the same time.
        update: Told how many are done.

    Returns:
        One ranking for each query, in their order.
    """

    def one(question: Question) -> Ranking:
        photo = question.item.image_path.read_bytes()
        start = time.perf_counter()
        result = client.search(
            image=photo,
            k=k + question.indexed,
            collection=collection,
            exact=exact,
            group_by_product=False,
            timeout_seconds=60.0,
        )
        return _ranking(question, result, k, time.perf_counter() - start)

    with ThreadPoolExecutor(concurrency, thread_name_prefix="query") as pool:
        futures = [pool.submit(one, question) for question in asked]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                update(done, len(futures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _ranking(question: Question, result: SearchResult, k: int, seconds: float) -> Ranking:
    predicted: dict[str, tuple[str, ...]] = {}
    for prediction in result.predicted_categories:
        predicted.setdefault(prediction.level, prediction.category)
    hits = [hit for hit in result.hits if hit.item_id != question.item.item_id]
    return Ranking(
        query=question.item,
        truth_count=question.truth_count,
        hits=tuple(hits[:k]),
        predicted=predicted,
        seconds=seconds,
        scanned_fraction=result.coverage.scanned_fraction,
        model_version=result.model_version,
    )

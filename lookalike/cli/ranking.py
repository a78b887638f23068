"""Queries of a catalogue, asked through the public API."""

from __future__ import annotations

import time
from collections import defaultdict
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
    """A row to search for, and the ids of the indexed items of its product, itself not among them."""

    item: CatalogItem
    relevant: frozenset[str]
    indexed: bool
    """Whether the photo itself is in the index, and will be found."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one query found: items best first, its own left out.

    Attributes:
        question: What was asked.
        hits: At most ``k`` items.
        predicted: The most probable category path by level; empty for a model without categories.
        seconds: From sending to having the answer, seen by the client.
        scanned_fraction: Share of the collection's codes compared with the query.
        model_version: Of the model that embedded the query.
    """

    question: Question
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
    by_product: dict[str, set[str]] = defaultdict(set)
    for item in catalog.index_items():
        by_product[item.product_id].add(item.item_id)
    found = []
    for item in catalog.query_items():
        same = by_product[item.product_id]
        if relevant := frozenset(same - {item.item_id}):
            found.append(Question(item, relevant, indexed=item.item_id in same))
    if not found:
        raise InvalidInputError(
            "the catalogue has no query with a right answer: no row with split query or both has another"
            " row of its product with split index or both",
            reason=Reason.CATALOG_INVALID,
            field="split",
        )
    return found


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
        question=question,
        hits=tuple(hits[:k]),
        predicted=predicted,
        seconds=seconds,
        scanned_fraction=result.coverage.scanned_fraction,
        model_version=result.model_version,
    )

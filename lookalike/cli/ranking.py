"""Queries of a catalogue, asked through the public API."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lookalike.catalogue.questions import Question
from lookalike.cli.console import Update

if TYPE_CHECKING:
    from lookalike.client import Client, Hit, SearchResult

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one query found: items best first, its own left out.

    Attributes:
        question: What was asked.
        hits: At most ``k`` items.
        predicted: The first category by level, the predicted one itself at levels below its end; empty for a
            model without categories.
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
        update: Called with how many are done.

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

    return ask_each(one, asked, concurrency, update)


def ask_each(
    one: Callable[[_Asked], _Answer], asked: Sequence[_Asked], concurrency: int, update: Update
) -> list[_Answer]:
    """Asks for each in threads, in any order; the first error ends it.

    Args:
        one: Asks for one.
        asked: What is asked for.
        concurrency: How many at the same time.
        update: Called with how many are done.

    Returns:
        The answers, in the order of ``asked``.
    """
    with ThreadPoolExecutor(concurrency, thread_name_prefix="query") as pool:
        futures = [pool.submit(one, each) for each in asked]
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
    category = result.predicted_category
    for prediction in result.predicted_categories:
        reached = len(prediction.category) <= len(category)
        predicted.setdefault(prediction.level, prediction.category if reached else category)
    hits = [hit for hit in result.hits if hit.item_id != question.item.item_id]
    return Ranking(
        question=question,
        hits=tuple(hits[:k]),
        predicted=predicted,
        seconds=seconds,
        scanned_fraction=result.coverage.scanned_fraction,
        model_version=result.model_version,
    )

"""One search: candidates from the index, their order and their items from the rows.

The contract orders equal scores by item id, which the index does not know: it returns all that equals the
last result, and ids are looked up here where scores are equal. A search that is to be exact is scored from
the vectors as they were written: what the index keeps may be rounded, but it knows what can be among the
best.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasher.index import HashIndex
from hasher.results import NO_ID, SearchResult
from hasher.rows.records import Hit, SearchAnswer, SearchQuery
from hasher.rows.store import RowStore
from lookalike.collections import Rerank


class _Candidate(NamedTuple):
    """A row that may be among the hits, in the order of the contract."""

    minus_score: float
    item_id: str
    number: int
    product: int


class _Found(NamedTuple):
    """The rows found for each vector, best first, and what finding them took."""

    rows: list[list[tuple[float, int]]]
    """Scores and row numbers."""
    codes_scanned: NDArray[np.uint64]
    buckets_probed: int
    candidates_reranked: int
    seconds: dict[str, float]


def search(index: HashIndex, store: RowStore, query: SearchQuery, position: int) -> SearchAnswer:
    """Finds the nearest rows to each vector of a query; blocks for the length of the search."""
    codes_total = store.item_count
    number = store.row_number(query.exclude_item_id) if query.exclude_item_id else None
    exclude = None if number is None else np.array([number], dtype=np.uint64)
    rescored = query.exact and store.spec.rerank is not Rerank.F32
    found = (_exact if rescored else _indexed)(index, store, query, exclude)
    start = time.perf_counter()
    numbers = list({number for row in found.rows for _, number in row})
    # A row that was deleted since the index was asked is not among the items, and drops out.
    items = store.items(numbers) if numbers else {}
    hits = [[Hit(score, items[number]) for score, number in row if number in items] for row in found.rows]
    found.seconds["fetch"] = time.perf_counter() - start
    # Rows that are no longer found are looked at too.
    scanned = np.minimum(found.codes_scanned, codes_total).tolist()
    work = (scanned, found.buckets_probed, found.candidates_reranked)
    return SearchAnswer(hits, *work, codes_total, position, found.seconds)


def _indexed(
    index: HashIndex, store: RowStore, query: SearchQuery, exclude: NDArray[np.uint64] | None
) -> _Found:
    """Takes the scores of the index."""
    found = index.search_detailed(
        query.vectors,
        query.k,
        probes=query.probes,
        effort=query.effort,
        filter=query.filter,
        exclude=exclude,
        exact=query.exact,
        group=query.group,
        ties=True,
        threads=1,
    )
    rows = []
    for i, tied in enumerate(_has_ties(found).tolist()):
        there = found.ids[i] != NO_ID
        numbers, scores = found.ids[i][there].tolist(), found.scores[i][there].tolist()
        if tied:
            ids = store.item_ids(numbers)
            candidates = (
                _Candidate(-score, ids[number], number, product)
                for score, number, product in zip(
                    scores, numbers, found.products[i][there].tolist(), strict=True
                )
                if number in ids
            )
            rows.append(_best(candidates, query))
        else:
            rows.append(list(zip(scores, numbers, strict=True)))
    probed, reranked = sum(found.buckets_probed.tolist()), sum(found.candidates_reranked.tolist())
    return _Found(rows, found.codes_scanned, probed, reranked, dict(found.seconds))


def _has_ties(found: SearchResult) -> NDArray[np.bool_]:
    """Returns which rows of a result have equal scores."""
    equal = (found.scores[:, 1:] == found.scores[:, :-1]) & (found.ids[:, 1:] != NO_ID)
    result: NDArray[np.bool_] = equal.any(axis=1)
    return result


def _exact(
    index: HashIndex, store: RowStore, query: SearchQuery, exclude: NDArray[np.uint64] | None
) -> _Found:
    """Scores the vectors as they were written."""
    found = index.exact_candidates(
        query.vectors, query.k, filter=query.filter, exclude=exclude, group=query.group, threads=1
    )
    start = time.perf_counter()
    rows = []
    for vector, numbers in zip(query.vectors, found.ids, strict=True):
        wide = vector.astype(np.float64)
        wide /= np.linalg.norm(wide)
        candidates: list[_Candidate] = []
        for chunk in store.vectors(numbers.tolist()):
            # Each row is summed by itself and in the same order, so that equal vectors have equal scores.
            cosines = (chunk.vectors.astype(np.float64) * wide).sum(axis=1)
            scores = np.clip(cosines, -1, 1).astype(np.float32).tolist()
            candidates.extend(
                map(_Candidate, (-score for score in scores), chunk.item_ids, chunk.numbers, chunk.products)
            )
        rows.append(_best(candidates, query))
    seconds = dict(found.seconds)
    seconds["rerank"] = seconds.get("rerank", 0.0) + time.perf_counter() - start
    # The index scores whatever may be found to know what can be among the best.
    return _Found(rows, found.codes_scanned, 0, sum(found.codes_scanned.tolist()), seconds)


def _best(candidates: Iterable[_Candidate], query: SearchQuery) -> list[tuple[float, int]]:
    """Returns the best candidates in the order of the contract, of each product only the first if grouped."""
    best: list[tuple[float, int]] = []
    products: set[int] = set()
    for candidate in sorted(candidates):
        if query.group and candidate.product in products:
            continue
        products.add(candidate.product)
        best.append((-candidate.minus_score, candidate.number))
        if len(best) == query.k:
            break
    return best

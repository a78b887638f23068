"""One search: what the index finds, in the order of the contract, with the documents that it keeps.

The contract orders equal scores by item id. The index does not know these, but returns all that equals the
last result, and the ids are in the documents. A search that is to be exact is scored from the vectors as
they were written: what the index keeps may be rounded, but it knows what can be among the best. Only such a
search reads the row file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasher.documents import document_of, item_id_of
from hasher.index import HashIndex
from hasher.results import NO_ID, SearchResult
from hasher.rows.records import Hit, SearchAnswer, SearchQuery
from hasher.rows.store import RowStore
from lookalike.collections import Rerank
from lookalike.v1 import types_pb2


class _Candidate(NamedTuple):
    """A row that may be among the hits, in the order of the contract."""

    minus_score: float
    item_id: str
    product: int
    content: bytes
    """Its document, or its item."""


class _Found(NamedTuple):
    """The hits of each vector, best first, and what finding them took."""

    hits: list[list[Hit]]
    codes_scanned: NDArray[np.uint64]
    buckets_probed: int
    candidates_reranked: int
    seconds: dict[str, float]


def search(index: HashIndex, store: RowStore, query: SearchQuery, position: int) -> SearchAnswer:
    """Finds the nearest rows to each vector of a query; blocks for the length of the search."""
    codes_total = store.item_count
    if query.exact and store.spec.rerank is not Rerank.F32:
        found = _exact(index, store, query)
    else:
        found = _indexed(index, query)
    # Rows that are no longer found are looked at too.
    scanned = np.minimum(found.codes_scanned, codes_total).tolist()
    work = (scanned, found.buckets_probed, found.candidates_reranked)
    return SearchAnswer(found.hits, *work, codes_total, position, found.seconds)


def _indexed(index: HashIndex, query: SearchQuery) -> _Found:
    """Takes the scores of the index.

    Which row the excluded item has is known once it was found: then the search is done again without it.
    """
    excluded: list[int] = []
    seconds: Counter[str] = Counter()
    while True:
        found = index.search_detailed(
            query.vectors,
            query.k,
            probes=query.probes,
            effort=query.effort,
            filter=query.filter,
            exclude=np.array(excluded, dtype=np.uint64) if excluded else None,
            exact=query.exact,
            group=query.group,
            ties=True,
            documents=True,
            threads=1,
        )
        seconds.update(found.seconds)
        # A row that is written again meanwhile has another number, and is found once more.
        rows = _rows_of(found, query.exclude_item_id) if query.exclude_item_id else set()
        if not rows:
            break
        excluded.extend(rows)
    hits = [_hits(found, i, query, tied) for i, tied in enumerate(_has_ties(found).tolist())]
    probed, reranked = sum(found.buckets_probed.tolist()), sum(found.candidates_reranked.tolist())
    return _Found(hits, found.codes_scanned, probed, reranked, dict(seconds))


def _rows_of(found: SearchResult, item_id: str) -> set[int]:
    """Returns the numbers of the rows among the results that hold an item."""
    return {
        number
        for numbers, documents in zip(found.ids.tolist(), found.documents, strict=True)
        for number, document in zip(numbers, documents, strict=False)
        if item_id_of(document) == item_id
    }


def _has_ties(found: SearchResult) -> NDArray[np.bool_]:
    """Returns which rows of a result have equal scores."""
    equal = (found.scores[:, 1:] == found.scores[:, :-1]) & (found.ids[:, 1:] != NO_ID)
    result: NDArray[np.bool_] = equal.any(axis=1)
    return result


def _hits(found: SearchResult, i: int, query: SearchQuery, tied: bool) -> list[Hit]:
    """Returns the hits of one vector."""
    documents = found.documents[i]
    scores = found.scores[i, : len(documents)].tolist()
    if not tied:
        return list(map(Hit, scores, documents))
    products = found.products[i, : len(documents)].tolist()
    ids, lows = map(item_id_of, documents), (-score for score in scores)
    return [
        Hit(-one.minus_score, one.content)
        for one in _best(map(_Candidate, lows, ids, products, documents), query)
    ]


def _exact(index: HashIndex, store: RowStore, query: SearchQuery) -> _Found:
    """Scores the vectors as they were written."""
    number = store.row_number(query.exclude_item_id) if query.exclude_item_id else None
    exclude = None if number is None else np.array([number], dtype=np.uint64)
    found = index.exact_candidates(
        query.vectors, query.k, filter=query.filter, exclude=exclude, group=query.group, threads=1
    )
    start = time.perf_counter()
    hits = []
    for vector, numbers in zip(query.vectors, found.ids, strict=True):
        wide = vector.astype(np.float64)
        wide /= np.linalg.norm(wide)
        candidates: list[_Candidate] = []
        # A row that was deleted since the index was asked is not among the rows, and drops out.
        for chunk in store.vectors(numbers.tolist()):
            # Each row is summed by itself and in the same order, so that equal vectors have equal scores.
            cosines = (chunk.vectors.astype(np.float64) * wide).sum(axis=1)
            scores = np.clip(cosines, -1, 1).astype(np.float32).tolist()
            candidates.extend(
                map(_Candidate, (-score for score in scores), chunk.item_ids, chunk.products, chunk.items)
            )
        hits.append(
            [
                Hit(-one.minus_score, document_of(types_pb2.Item.FromString(one.content)))
                for one in _best(candidates, query)
            ]
        )
    seconds = dict(found.seconds)
    seconds["rerank"] = seconds.get("rerank", 0.0) + time.perf_counter() - start
    # The index scores whatever may be found to know what can be among the best.
    return _Found(hits, found.codes_scanned, 0, sum(found.codes_scanned.tolist()), seconds)


def _best(candidates: Iterable[_Candidate], query: SearchQuery) -> list[_Candidate]:
    """Returns the best candidates in the order of the contract, of each product only the first if grouped."""
    best: list[_Candidate] = []
    products: set[int] = set()
    for candidate in sorted(candidates):
        if query.group and candidate.product in products:
            continue
        products.add(candidate.product)
        best.append(candidate)
        if len(best) == query.k:
            break
    return best

"""The shards' answers as one: the best hits of the whole collection."""

from __future__ import annotations

from collections.abc import Iterable

from lookalike.v1 import search_pb2


def merge_hits(
    answers: Iterable[Iterable[search_pb2.Hit]], k: int, *, group_by_product: bool, min_score: float
) -> list[search_pb2.Hit]:
    """Returns the k best hits, best score first, equal scores by item id.

    The result is that of one search over all rows, if every shard gave its k best (by product where
    grouped): a product among the k best overall is among the k best of the shard that holds its best item.

    Args:
        answers: The hits of each shard.
        k: How many at most.
        group_by_product: Keep the best item of each product only. An item without a product is its own.
        min_score: Hits below this cosine similarity are left out. Every score that was returned can be given
            here to find its hit again.
    """
    candidates = [
        (-score, hit.item_id, hit)
        for hits in answers
        for hit in hits
        if (score := _cosine(hit.score)) >= min_score
    ]
    candidates.sort(key=lambda candidate: candidate[:2])
    best: list[search_pb2.Hit] = []
    seen: set[str] = set()
    for minus_score, _, hit in candidates:
        product_id = hit.product_id
        if group_by_product and product_id:
            if product_id in seen:
                continue
            seen.add(product_id)
        best.append(hit if hit.score == -minus_score else _with_score(hit, -minus_score))
        if len(best) == k:
            break
    return best


def _cosine(score: float) -> float:
    """Returns a score within the bounds of a cosine, which rounding may have left by a little."""
    return min(max(score, -1.0), 1.0)


def _with_score(hit: search_pb2.Hit, score: float) -> search_pb2.Hit:
    copy = search_pb2.Hit()
    copy.CopyFrom(hit)
    copy.score = score
    return copy

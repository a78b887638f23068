"""The shards' answers as one: the best hits of the whole collection."""

from __future__ import annotations

from collections.abc import Iterable

from lookalike.v1 import hasher_pb2


def merge_hits(
    answers: Iterable[Iterable[hasher_pb2.ShardHit]], k: int, *, group_by_product: bool, min_score: float
) -> list[hasher_pb2.ShardHit]:
    """Returns the k best hits, best score first, equal scores by item id.

    The result is that of one search over all rows, if every shard gave its k best (by product where
    grouped): a product among the k best overall is among the k best of the shard that holds its best item.

    Args:
        answers: The hits of each shard.
        k: How many at most.
        group_by_product: Keep the best item of each product only. An item without a product is its own.
        min_score: Hits below this cosine similarity are left out.
    """
    candidates = [
        (-hit.score, hit.item.item_id, hit) for hits in answers for hit in hits if hit.score >= min_score
    ]
    candidates.sort(key=lambda candidate: candidate[:2])
    if not group_by_product:
        return [hit for _, _, hit in candidates[:k]]
    best: list[hasher_pb2.ShardHit] = []
    seen: set[str] = set()
    for _, _, hit in candidates:
        product_id = hit.item.product_id
        if product_id in seen:
            continue
        if product_id:
            seen.add(product_id)
        best.append(hit)
        if len(best) == k:
            break
    return best

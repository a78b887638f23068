"""The hits of a search as they came from the shards: looked at, put into another order, and cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from gateway.native_fanout import Hits
from lookalike.categories.tree import CategoryPath
from lookalike.v1 import search_pb2
from lookalike.wire.fields import fields_in


def neighbours_in(hits: Hits, count: int) -> Iterable[tuple[CategoryPath, float]]:
    """Returns category and score of the first hits."""
    for _, content in islice(fields_in(hits.encoded), count):
        hit = search_pb2.Hit.FromString(content)
        yield tuple(hit.category.names), hit.score


def in_order(hits: Hits, order: Sequence[int]) -> Hits:
    """Returns some of the hits, by their numbers, in another order."""
    fields = [whole for whole, _ in fields_in(hits.encoded)]
    chosen = [fields[number] for number in order]
    best_score = hits.best_score if chosen else None
    return replace(hits, encoded=b"".join(chosen), count=len(chosen), best_score=best_score)


def first_of(hits: Hits, count: int) -> Hits:
    """Returns the first hits."""
    return hits if hits.count <= count else in_order(hits, range(count))

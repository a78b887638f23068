"""Whether queries still resemble the catalogue that they are compared with.

For each collection the mean of the query vectors is compared with the mean of the catalogue's, and the
predicted categories of photos with those of the items. Both move when callers begin to send other photos,
when the catalogue changes, or when the model is fed what it was not trained on. The absolute figures depend
on the model: what counts is a change from what they were.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gateway.asked import Asked
from gateway.directory.base import Collection, Directory
from gateway.fanout import Shards
from gateway.peers import Shard
from gateway.quality.bounds import MOST_CATEGORIES, MOST_COLLECTIONS, OTHER
from gateway.quality.profiles import CatalogueProfile, QueryProfile, cosine, divergence, spread
from lookalike.errors import LookalikeError
from lookalike.runtime.metrics import Metrics, Read, Value
from lookalike.v1 import hasher_pb2

SAMPLE_SECONDS = 0.05
"""Between two queries that are looked at; others pass."""
_PROFILE_SECONDS = 10.0
"""For all shards to describe their rows."""
_SOON_SECONDS = 10.0
"""Until the next look, where the last one did not see all catalogues."""
_PREFIX = "lookalike_gateway_"
_READ = (
    Read(
        f"{_PREFIX}profiled_queries_total",
        "Queries that the means below have seen: at most 20 a second.",
        ("collection",),
        "counter",
    ),
    Read(
        f"{_PREFIX}embedding_mean_cosine_ratio",
        "Cosine of the mean of recent queries, about 2,000 that fade out, to the mean of the catalogue.",
        ("collection",),
    ),
    Read(
        f"{_PREFIX}embedding_spread_ratio",
        "Variance of unit vectors around their mean, of recent queries and of the catalogue; 0: all equal.",
        ("collection", "of"),
    ),
    Read(
        f"{_PREFIX}category_divergence_ratio",
        "Jensen-Shannon divergence of the predicted first-level categories of recent photos from those of the"
        " catalogue: 0 equal, 1 nothing in common.",
        ("collection",),
    ),
    Read(
        f"{_PREFIX}category_share_ratio",
        "Share of a first-level category among recent photos, as predicted, and in the catalogue; the 20 most"
        " frequent ones, and other.",
        ("collection", "category", "of"),
    ),
)


@dataclass(slots=True)
class _Watched:
    """One collection and what is known of it."""

    collection: Collection
    queries: QueryProfile
    catalogue: CatalogueProfile | None = None
    is_answered: bool = False
    """Whether all shards have described it, also where they had no rows of it."""


class Drift:
    """Compares queries with the catalogue.

    Args:
        directory: Which collections there are.
        shards: Describe their rows.
        metrics: Where the comparison shows.
        interval_seconds: Time between two looks at the catalogue; 0: nothing is compared.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        directory: Directory,
        shards: Shards,
        metrics: Metrics,
        interval_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._shards = shards
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._next_sample_at = -math.inf if interval_seconds else math.inf
        self._watched: dict[str, _Watched] = {}
        metrics.read(_READ, self._values)

    def take(self, asked: Asked) -> None:
        """Looks at one query, now and then."""
        now = self._clock()
        if now < self._next_sample_at:
            return
        self._next_sample_at = now + SAMPLE_SECONDS
        collection = asked.collection
        watched = self._watched.get(collection.name)
        if watched is None or watched.collection.generation != collection.generation:
            if watched is None and len(self._watched) >= MOST_COLLECTIONS:
                return
            watched = _Watched(collection, QueryProfile(collection.spec.dimension))
            self._watched[collection.name] = watched
        belief = asked.embedded.belief if asked.embedded else None
        watched.queries.take(asked.vector_f32_le, belief.predictions(MOST_CATEGORIES) if belief else ())

    async def run(self) -> None:
        """Looks at the catalogue for ever."""
        while self._interval_seconds:
            await self.look()
            await asyncio.sleep(self.pause_seconds)

    @property
    def pause_seconds(self) -> float:
        """Until the next look: short where a collection is new here, or a shard was away."""
        known = self._watched and all(one.is_answered for one in self._watched.values())
        return self._interval_seconds if known else min(self._interval_seconds, _SOON_SECONDS)

    async def look(self) -> None:
        """Asks the shards what their rows are like, for each collection that was searched."""
        for name, watched in list(self._watched.items()):
            found = self._directory.find(name)
            if found is None or found.generation != watched.collection.generation:
                del self._watched[name]
                continue
            request = hasher_pb2.DescribeRequest(generation=found.generation, with_profile=True)
            try:
                outcome = await self._shards.ask(
                    Shard.describe, self._shards.for_all(request), _PROFILE_SECONDS, aside="profile"
                )
            except LookalikeError:
                continue
            parts = [info for answer in outcome.answers.values() for info in answer.generations]
            if outcome.failures:
                continue
            watched.is_answered = True
            if any(part.HasField("profile") for part in parts):
                watched.catalogue = CatalogueProfile(parts)

    def _values(self) -> Iterator[Value]:
        for name, watched in self._watched.copy().items():
            queries, catalogue = watched.queries, watched.catalogue
            yield f"{_PREFIX}profiled_queries_total", (name,), queries.queries
            yield f"{_PREFIX}embedding_spread_ratio", (name, "queries"), spread(queries.mean)
            if catalogue is None:
                continue
            yield f"{_PREFIX}embedding_spread_ratio", (name, "catalogue"), spread(catalogue.mean)
            yield f"{_PREFIX}embedding_mean_cosine_ratio", (name,), cosine(queries.mean, catalogue.mean)
            if queries.photos and catalogue.shares:
                predicted, present = queries.shares, catalogue.shares
                yield f"{_PREFIX}category_divergence_ratio", (name,), divergence(predicted, present)
                for category, of_queries, of_catalogue in _most_frequent(predicted, present):
                    yield f"{_PREFIX}category_share_ratio", (name, category, "queries"), of_queries
                    yield f"{_PREFIX}category_share_ratio", (name, category, "catalogue"), of_catalogue


def _most_frequent(
    predicted: Mapping[str, float], present: Mapping[str, float]
) -> Iterator[tuple[str, float, float]]:
    """Yields category, share of queries and share of the catalogue; the last is that of all others."""
    names = sorted(predicted.keys() | present.keys(), key=lambda name: (-present.get(name, 0), name))
    shown = [(name, predicted.get(name, 0.0), present.get(name, 0.0)) for name in names[:MOST_CATEGORIES]]
    yield from shown
    yield OTHER, 1 - sum(one[1] for one in shown), 1 - sum(one[2] for one in shown)

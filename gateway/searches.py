"""The slots of searches, by what they need most: of each kind as many run as do not slow each other down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.admission import Admission
from gateway.config import GatewaySettings
from gateway.deadline import Deadline
from gateway.limit import AdaptiveLimit
from gateway.metrics import GatewayMetrics, Requests
from lookalike.runtime.front import Limiter
from lookalike.v1 import search_pb2

_LEAST_PHOTOS = 8
"""Embedders encode several photos at once: fewer would be no faster, however long they take."""


class SearchAdmission:
    """Lets searches in.

    Those by photo need the embedder, exact ones a thread that shards have one of, all others the shards.

    Args:
        settings: Bounds of what adapts.
        metrics: Where slots can be seen.
    """

    def __init__(self, settings: GatewaySettings, metrics: GatewayMetrics) -> None:
        def admission(what: Requests, least: int) -> Admission:
            most = settings.max_searches
            least = min(max(least, settings.min_searches), most)
            limit = AdaptiveLimit(least, most, settings.search_slowdown)
            waiting, burst_seconds = settings.max_waiting_searches, settings.search_burst_seconds
            return Admission(what, limit, waiting, metrics, burst_seconds)

        self._by_vector = admission("vector_searches", 1)
        self._by_photo = admission("photo_searches", _LEAST_PHOTOS)
        self._exact = admission("exact_searches", 1)
        self._kinds = (self._by_vector, self._by_photo, self._exact)
        self._limiter: Limiter | None = None
        self._most: int | None = None

    @property
    def is_busy(self) -> bool:
        """Whether there is no time for what can wait."""
        return any(kind.is_busy for kind in self._kinds)

    def refuse_by(self, limiter: Limiter) -> None:
        """Refuses by it what would be refused anyway, before it is read."""
        self._limiter = limiter
        for kind in self._kinds:
            kind.refused_unread = limiter.refused

    @asynccontextmanager
    async def slot(
        self, request: search_pb2.SearchRequest, deadline: Deadline, *, patient: bool = False
    ) -> AsyncIterator[None]:
        """Waits for a slot and holds it; see :meth:`gateway.admission.Admission.slot`."""
        if request.query.WhichOneof("target") in ("image", "images"):
            kind = self._by_photo
        else:
            kind = self._exact if request.exact else self._by_vector
        try:
            async with kind.slot(deadline, patient=patient):
                self._limit()
                yield
        finally:
            self._limit()

    def _limit(self) -> None:
        """Says how many searches may be in progress, where more is asked than can be answered.

        Each search needs what those by vector need; and where only photos have come for a while, the next one
        is by photo.
        """
        if not self._limiter:
            return
        only_photos = self._by_vector.is_unused and self._exact.is_unused
        kind = self._by_vector if self._by_vector.is_over or not only_photos else self._by_photo
        most = sum(kind.most for kind in self._kinds) if kind.is_over else None
        if most != self._most:
            self._most = most
            if most is None:
                self._limiter.lift()
            else:
                self._limiter.limit(most, *kind.refusal())

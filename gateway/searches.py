"""The slots of searches, by what they need most: of each kind as many run as do not slow each other down."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from gateway.admission import Admission
from gateway.config import GatewaySettings
from gateway.deadline import Deadline
from gateway.limit import AdaptiveLimit
from gateway.metrics import GatewayMetrics, Requests
from lookalike.runtime.idle import idle_shares
from lookalike.v1 import search_pb2


class SearchAdmission:
    """Lets searches in.

    Those by photo need the embedder, exact ones a thread that shards have one of, all others the shards.

    Args:
        settings: Bounds of what adapts.
        metrics: Where slots can be seen.
    """

    def __init__(self, settings: GatewaySettings, metrics: GatewayMetrics) -> None:
        def admission(what: Requests) -> Admission:
            most = settings.max_searches
            least = min(settings.min_searches, most)
            limit = AdaptiveLimit(least, most, settings.search_slowdown, idle_shares())
            waiting, burst_seconds = settings.max_waiting_searches, settings.search_burst_seconds
            return Admission(what, limit, waiting, metrics, burst_seconds)

        self._by_vector = admission("vector_searches")
        self._by_photo = admission("photo_searches")
        self._exact = admission("exact_searches")

    @property
    def is_busy(self) -> bool:
        """Whether there is no time for what can wait."""
        return self._by_vector.is_busy or self._by_photo.is_busy or self._exact.is_busy

    def slot(
        self, request: search_pb2.SearchRequest, deadline: Deadline, *, patient: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """Waits for a slot and holds it; see :meth:`gateway.admission.Admission.slot`."""
        if request.query.WhichOneof("target") in ("image", "images"):
            kind = self._by_photo
        else:
            kind = self._exact if request.exact else self._by_vector
        return kind.slot(deadline, patient=patient)

    def check(self) -> None:
        """Refuses a search that has not been read, where nearly all are refused.

        Each search needs what those by vector need; and where only photos have come for a while, it is one by
        photo.

        Raises:
            OverloadedError: More is asked than can be answered.
        """
        self._by_vector.check()
        if self._by_vector.is_unused and self._exact.is_unused:
            self._by_photo.check()

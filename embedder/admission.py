"""The bound on what one model has under way: photos and bytes, over all calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from embedder.metrics import EmbedderMetrics
from lookalike.errors import OverloadedError

_SMOOTHING = 0.2


class Admission:
    """Admits calls until there is too much under way. To be used within one event loop.

    Args:
        max_photos: Photos under way over all calls.
        max_bytes: Their files' bytes, all photos of a call included until it ends. A call that is alone is
            admitted whatever its size.
        metrics: Shows both.
    """

    def __init__(self, max_photos: int, max_bytes: int, metrics: EmbedderMetrics) -> None:
        self.max_photos = max_photos
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._photos = self._bytes = 0
        self._seconds_per_photo = 0.0
        self._nothing_under_way = asyncio.Event()
        self._nothing_under_way.set()

    @contextmanager
    def admitted(self, photos: int, size_bytes: int) -> Iterator[None]:
        """Counts a call for as long as the block runs.

        Args:
            photos: Those of its photos that are under way at the same time.
            size_bytes: Of all its photos.

        Raises:
            OverloadedError: There is no room for it; ``retry_after_seconds`` estimates when there will be.
        """
        too_many = self._photos + photos > self.max_photos
        if self._photos and (too_many or self._bytes + size_bytes > self._max_bytes):
            self._metrics.refused("photos" if too_many else "bytes")
            raise OverloadedError(
                f"the embedder has {self._photos} photos of {self._bytes:,} bytes under way; try again later",
                retry_after_seconds=self._photos * self._seconds_per_photo,
            )
        self._count(photos, size_bytes)
        try:
            yield
        finally:
            self._count(-photos, -size_bytes)

    def encoded(self, photos: int, seconds: float) -> None:
        """Notes how long a batch took, for the estimate."""
        self._seconds_per_photo += _SMOOTHING * (seconds / photos - self._seconds_per_photo)

    async def drained(self) -> None:
        """Waits until no call is under way; for a model that no new call reaches."""
        while self._photos:
            await self._nothing_under_way.wait()

    def _count(self, photos: int, size_bytes: int) -> None:
        self._photos += photos
        self._bytes += size_bytes
        self._metrics.queued(photos, size_bytes)
        if self._photos:
            self._nothing_under_way.clear()
        else:
            self._nothing_under_way.set()

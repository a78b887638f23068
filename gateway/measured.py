"""The embedder with its calls timed, and their failures counted."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from gateway.metrics import GatewayMetrics
from gateway.outcome import cause_of, is_callers_mistake
from gateway.peers import Embedder
from lookalike.errors import LookalikeError
from lookalike.v1 import embedder_pb2

_Response = TypeVar("_Response")


class MeasuredEmbedder:
    """An embedder that shows how it answers.

    Args:
        embedder: Is called.
        metrics: Where it shows.
        on_model: Is shown each description of the model that is served.
    """

    def __init__(
        self,
        embedder: Embedder,
        metrics: GatewayMetrics,
        on_model: Callable[[embedder_pb2.GetModelResponse], None],
    ) -> None:
        self._embedder = embedder
        self._metrics = metrics
        self._on_model = on_model

    async def embed(
        self, request: embedder_pb2.EmbedRequest, *, timeout_seconds: float
    ) -> embedder_pb2.EmbedResponse:
        """See :class:`gateway.peers.Embedder`."""
        return await self._timed(self._embedder.embed, request, timeout_seconds=timeout_seconds)

    async def classify(
        self, request: embedder_pb2.EmbedderServiceClassifyRequest, *, timeout_seconds: float
    ) -> embedder_pb2.EmbedderServiceClassifyResponse:
        """See :class:`gateway.peers.Embedder`."""
        return await self._timed(self._embedder.classify, request, timeout_seconds=timeout_seconds)

    async def get_model(self, *, timeout_seconds: float) -> embedder_pb2.GetModelResponse:
        """See :class:`gateway.peers.Embedder`."""
        model = await self._timed(self._embedder.get_model, timeout_seconds=timeout_seconds)
        self._metrics.embedder_serves(model.model_version)
        self._on_model(model)
        return model

    async def _timed(
        self, method: Callable[..., Awaitable[_Response]], *arguments: Any, timeout_seconds: float
    ) -> _Response:
        start = time.perf_counter()
        try:
            return await method(*arguments, timeout_seconds=timeout_seconds)
        except LookalikeError as error:
            if not is_callers_mistake(error):
                self._metrics.embedder_failed(method.__name__, cause_of(error))
            raise
        finally:
            self._metrics.embedder_took(method.__name__, time.perf_counter() - start)

"""Opens the inference backend that the settings name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from embedder.bundle import Bundle
from embedder.config import EmbedderSettings
from embedder.encoder import AsyncEncoder, ThreadEncoder
from embedder.golden import FLOAT32_TOLERANCE
from embedder.metrics import TritonMetrics
from lookalike.errors import InvalidInputError, Reason
from lookalike.runtime.metrics import Metrics


class Backends:
    """Makes encoders of one kind.

    Args:
        settings: Name the backend and what it needs.
        metrics: Takes the metrics of requests to Triton.

    Attributes:
        backend: The one in use; never ``auto``.
    """

    def __init__(self, settings: EmbedderSettings, metrics: Metrics) -> None:
        self._settings = settings
        self.backend = cpu_backend() if settings.backend == "auto" else settings.backend
        self._triton_metrics = TritonMetrics(metrics) if self.backend == "triton" else None

    @property
    def max_running(self) -> int:
        """Batches that may be encoded at the same time."""
        return self._settings.triton_requests if self._triton_metrics else 1

    async def open(self, bundle: Bundle) -> AsyncEncoder:
        """Loads a bundle, or finds it in Triton.

        Raises:
            InvalidInputError: The network is not what the bundle says, or the backend is not installed.
            UnavailableError: Triton cannot be reached, or does not have the model loaded.
        """
        if self._triton_metrics:
            return await self._open_triton(bundle, self._triton_metrics)
        return await asyncio.to_thread(self._load, bundle)

    def _load(self, bundle: Bundle) -> ThreadEncoder:
        settings = self._settings
        with _needing_packages(self.backend):
            if self.backend == "openvino":
                from embedder.backends.openvino import OpenVinoEncoder

                encoder = OpenVinoEncoder(bundle, settings.threads, settings.precision)
                return ThreadEncoder(encoder, encoder.tolerance)
            from embedder.backends.onnx import OnnxEncoder

            return ThreadEncoder(OnnxEncoder(bundle, settings.threads), FLOAT32_TOLERANCE)

    async def _open_triton(self, bundle: Bundle, metrics: TritonMetrics) -> AsyncEncoder:
        settings = self._settings
        with _needing_packages(self.backend):
            from embedder.triton.client import TritonEncoder, TritonTarget
        target = TritonTarget(
            settings.triton_url,
            settings.triton_model,
            timeout_seconds=settings.triton_timeout_seconds,
            retries=settings.triton_retries,
            max_batch=settings.max_batch,
            shared_memory=settings.triton_shared_memory,
            regions=settings.triton_requests,
        )
        encoder = TritonEncoder(bundle, target, metrics)
        try:
            await encoder.open()
        except BaseException:
            await encoder.close()
            raise
        return encoder


def cpu_backend() -> Literal["onnx", "openvino"]:
    """Returns the backend that wins on this processor: OpenVINO if it is installed and has bfloat16.

    In float32 ONNX Runtime is no slower (docs/adr/0009-inference-engine-by-processor.md).
    """
    try:
        from embedder.backends.openvino import has_bf16
    except ModuleNotFoundError:
        return "onnx"
    return "openvino" if has_bf16() else "onnx"


@contextmanager
def _needing_packages(backend: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"the {backend} backend needs the package {error.name}; install lookalike[serve-embedder]",
            reason=Reason.CONFIG_INVALID,
        ) from error

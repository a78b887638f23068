"""What the embedder reports of its work on ``/metrics``, whichever model it serves."""

from __future__ import annotations

from contextlib import AbstractContextManager

from lookalike.errors import Reason
from lookalike.runtime.metrics import Metrics, show_from_the_start

_TRITON_FAILURES = (
    Reason.MODEL_SERVER_UNAVAILABLE,
    Reason.DEADLINE_EXCEEDED,
    Reason.OVERLOADED,
    Reason.MODEL_PARITY_FAILED,
    Reason.INTERNAL,
)
_BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class EmbedderMetrics:
    """What becomes of photos and models; one for the process, because models come and go.

    Args:
        metrics: The process's registry.
    """

    def __init__(self, metrics: Metrics) -> None:
        stage_seconds = metrics.histogram(
            "lookalike_embedder_stage_seconds",
            "Seconds that a photo was preprocessed or waited (queue), and that a batch was encoded; each"
            " also in vain.",
            ("stage",),
        )
        self._preprocess = stage_seconds.labels("preprocess")
        self._queue = stage_seconds.labels("queue")
        self._encode = stage_seconds.labels("encode")
        self._batch_size = metrics.histogram(
            "lookalike_embedder_batch_photos", "Photos encoded together.", buckets=_BATCH_SIZE_BUCKETS
        )
        photos = metrics.counter(
            "lookalike_embedder_images_total", "Photos embedded (ok) or found bad (rejected).", ("result",)
        )
        self._photos = {True: photos.labels("ok"), False: photos.labels("rejected")}
        self._queue_depth = metrics.gauge(
            "lookalike_embedder_queue_photos",
            "Photos under way; calls are refused when max_queue is reached.",
        )
        self._queue_bytes = metrics.gauge(
            "lookalike_embedder_queue_bytes",
            "Bytes of the photos of all calls under way; calls are refused when max_queue_bytes is reached.",
        )
        self._refused = metrics.counter(
            "lookalike_embedder_refused_calls_total",
            "Calls refused because too much was under way: photos or bytes.",
            ("cause",),
        )
        show_from_the_start(self._refused, ("photos", "bytes"))
        self._model = metrics.gauge(
            "lookalike_embedder_model_info", "The model that is served.", ("model_version", "backend")
        )
        switches = metrics.counter(
            "lookalike_embedder_model_switches_total",
            "Models that took over while serving (ok) or were refused (failed).",
            ("result",),
        )
        self._switches = {True: switches.labels("ok"), False: switches.labels("failed")}

    def preprocessing(self) -> AbstractContextManager[object]:
        """Times the preprocessing of one photo."""
        return self._preprocess.time()

    def waited(self, seconds: float) -> None:
        """Takes how long one photo waited for its turn, or until its caller left."""
        self._queue.observe(seconds)

    def batched(self, photos: int) -> None:
        """Takes the size of one batch."""
        self._batch_size.observe(photos)

    def encoded(self, seconds: float) -> None:
        """Takes how long one batch was encoded, also where that failed."""
        self._encode.observe(seconds)

    def embedded(self, ok: bool) -> None:
        """Counts one photo that was embedded or found bad."""
        self._photos[ok].inc()

    def queued(self, photos: int, size_bytes: int) -> None:
        """Adds photos to those under way, or subtracts them where both are negative."""
        self._queue_depth.inc(photos)
        self._queue_bytes.inc(size_bytes)

    def refused(self, cause: str) -> None:
        """Counts one call that was refused; ``cause`` is "photos" or "bytes"."""
        self._refused.labels(cause).inc()

    def serves(self, model_version: str, backend: str) -> None:
        """Notes the model that is served from now on."""
        self._model.clear()
        self._model.labels(model_version, backend).set(1)

    def switched(self, ok: bool) -> None:
        """Counts one model that took over or was refused."""
        self._switches[ok].inc()


class TritonMetrics:
    """What becomes of the requests to Triton.

    Args:
        metrics: The process's registry.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._requests = metrics.counter(
            "lookalike_embedder_triton_requests_total",
            "Requests to Triton by their outcome, that of the last attempt.",
            ("result",),
        )
        show_from_the_start(self._requests, ("ok", *(reason.value.lower() for reason in _TRITON_FAILURES)))
        self._seconds = metrics.histogram(
            "lookalike_embedder_triton_request_seconds",
            "Seconds that one answered request to Triton took, retries included.",
        )

    def answered(self, seconds: float) -> None:
        """Takes one request that was answered."""
        self._requests.labels("ok").inc()
        self._seconds.observe(seconds)

    def failed(self, reason: str) -> None:
        """Counts one request that failed."""
        self._requests.labels(reason).inc()

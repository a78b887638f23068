"""What the embedder tells about its work on ``/metrics``, whichever model it serves."""

from __future__ import annotations

from lookalike.runtime.metrics import Metrics

BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class StageMetrics:
    """The pipeline's metrics; one for the process, because models come and go."""

    def __init__(self, metrics: Metrics) -> None:
        stage_seconds = metrics.histogram(
            "lookalike_embedder_stage_seconds",
            "Seconds that a photo was preprocessed or waited, and that a batch was encoded.",
            ("stage",),
        )
        self.preprocess_seconds = stage_seconds.labels("preprocess")
        self.queue_seconds = stage_seconds.labels("queue")
        self.encode_seconds = stage_seconds.labels("encode")
        self.batch_size = metrics.histogram(
            "lookalike_embedder_batch_size", "Photos encoded together.", buckets=BATCH_SIZE_BUCKETS
        )
        photos = metrics.counter(
            "lookalike_embedder_images_total", "Photos embedded (ok) or found bad (rejected).", ("result",)
        )
        self.ok, self.rejected = photos.labels("ok"), photos.labels("rejected")
        self.queue_depth = metrics.gauge(
            "lookalike_embedder_queue_depth", "Photos under way; calls are refused when max_queue is reached."
        )
        self.queue_bytes = metrics.gauge(
            "lookalike_embedder_queue_bytes",
            "Bytes of the photos of all calls under way; calls are refused when max_queue_bytes is reached.",
        )
        switches = metrics.counter(
            "lookalike_embedder_model_switches_total",
            "Models that took over while serving (ok) or were refused (failed).",
            ("result",),
        )
        self.switched, self.switch_failed = switches.labels("ok"), switches.labels("failed")


class TritonMetrics:
    """Metrics of the requests to Triton."""

    def __init__(self, metrics: Metrics) -> None:
        self.requests = metrics.counter(
            "lookalike_embedder_triton_requests_total",
            "Requests to Triton, retries included, by what came of them.",
            ("result",),
        )
        self.retries = metrics.counter(
            "lookalike_embedder_triton_retries_total", "Requests sent again after UNAVAILABLE."
        )
        self.seconds = metrics.histogram(
            "lookalike_embedder_triton_request_seconds", "Seconds that one answered request to Triton took."
        )

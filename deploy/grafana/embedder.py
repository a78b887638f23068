"""Photos: decoding, waiting, the network, and Triton behind it."""

from __future__ import annotations

from deploy.grafana.panels import Lines, Page, Query, Row
from deploy.grafana.queries import IN, mean, quantile, quantiles, rate

_STAGE = "lookalike_embedder_stage_seconds"


def _triton_mean(counter: str) -> str:
    """Returns seconds per request of one of Triton's counters of microseconds."""
    return f"{rate(counter)} / {rate('nv_inference_request_success')} / 1e6"


EMBEDDER = Page(
    "lookalike-embedder",
    "Embedder and Triton",
    "Photos a second, what each waits for, and how full the batches are.",
    [
        Row(
            "Photos",
            [
                Lines(
                    "Photos",
                    "A second: embedded, or refused as bad.",
                    [Query(rate("lookalike_embedder_images_total", IN, "result"), "{{result}}")],
                    "short",
                    stacked=True,
                ),
                Lines(
                    "Time of a photo, by stage",
                    "Mean seconds: preprocess (decoding, resizing), queue (waiting for a decoder and a batch), encode.",
                    [Query(mean(_STAGE, IN, "stage"), "{{stage}}")],
                    "s",
                    stacked=True,
                ),
                Lines(
                    "p99 of each stage",
                    "queue grows first when photos come faster than they are encoded.",
                    [Query(quantile(0.99, _STAGE, IN, "stage"), "{{stage}}")],
                    "s",
                ),
                Lines(
                    "Under way and refused",
                    "Photos under way in each embedder; calls refused a second, by cause.",
                    [
                        Query(f"sum by (instance) (lookalike_embedder_queue_photos{{{IN}}})", "{{instance}}"),
                        Query(
                            rate("lookalike_embedder_refused_calls_total", IN, "cause"), "refused: {{cause}}"
                        ),
                    ],
                    "short",
                ),
                Lines(
                    "Photos in a batch",
                    "Mean. 1 at low load is right: a lone photo is never delayed.",
                    [Query(mean("lookalike_embedder_batch_photos"), "photos")],
                    "short",
                ),
                Lines(
                    "Bytes of photos under way",
                    "By embedder; calls are refused at max_queue_bytes.",
                    [Query(f"sum by (instance) (lookalike_embedder_queue_bytes{{{IN}}})", "{{instance}}")],
                    "bytes",
                ),
                Lines(
                    "As the gateway sees it",
                    "Seconds until the embedder answered, network included.",
                    quantiles("lookalike_gateway_embedder_seconds", f'call="embed",{IN}'),
                    "s",
                ),
                Lines(
                    "Failed calls to the embedder",
                    "A second, by cause.",
                    [Query(rate("lookalike_gateway_embedder_failures_total", IN, "cause"), "{{cause}}")],
                    "reqps",
                ),
            ],
        ),
        Row(
            "Triton (where it is the backend)",
            [
                Lines(
                    "Requests to Triton",
                    "A second, by outcome.",
                    [Query(rate("lookalike_embedder_triton_requests_total", IN, "result"), "{{result}}")],
                    "reqps",
                ),
                Lines(
                    "Latency of Triton, as the embedder sees it",
                    "Of answered requests, retries included.",
                    quantiles("lookalike_embedder_triton_request_seconds"),
                    "s",
                ),
                Lines(
                    "Time within Triton",
                    "Mean seconds of a request: waiting for an instance, computing.",
                    [
                        Query(_triton_mean("nv_inference_queue_duration_us"), "queue"),
                        Query(_triton_mean("nv_inference_compute_infer_duration_us"), "compute"),
                    ],
                    "s",
                    stacked=True,
                ),
                Lines(
                    "Photos in one of Triton's batches",
                    "Mean over its executions.",
                    [
                        Query(
                            f"{rate('nv_inference_count')} / {rate('nv_inference_exec_count')}",
                            "photos",
                        )
                    ],
                    "short",
                ),
            ],
        ),
    ],
)

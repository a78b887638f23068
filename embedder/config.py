"""Settings of the embedder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from embedder.decoding.budget import DEFAULT_MEGAPIXELS
from embedder.triton.naming import DEFAULT_MODEL, MODEL_PATTERN
from lookalike.addresses import DEFAULT_TRITON, EMBEDDER_PORT, check_address
from lookalike.limits import MIB
from lookalike.runtime.settings import (
    Port,
    PositiveCount,
    PositiveSeconds,
    Seconds,
    ServerSettings,
    settings_config,
)


class EmbedderSettings(ServerSettings):
    """Serves a model bundle: photos to vectors and categories."""

    model_config = settings_config("embedder")

    port: Port = EMBEDDER_PORT
    """gRPC port; 0 takes a free one."""
    bundle: Path
    """Folder of the model bundle to serve."""
    follow_seconds: Seconds = 2.0
    """How often the bundle's folder is looked at; another bundle there takes over without a failed call once
    it has passed its checks. 0: never."""
    backend: Literal["auto", "onnx", "openvino", "triton"] = "auto"
    """Inference backend: ONNX Runtime or OpenVINO on the CPU, in process, or Triton Inference Server. auto:
    on processors with bfloat16 (AMX, AVX512_BF16) OpenVINO, else ONNX Runtime."""
    precision: Literal["auto", "f32", "bf16"] = "auto"
    """What OpenVINO computes in; auto takes bfloat16 where the processor has it and it is faster."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Threads that share the encoding of one batch in process; 0 takes one per core."""
    triton_url: Annotated[str, AfterValidator(check_address)] = DEFAULT_TRITON
    """gRPC address of Triton, ``host:port``."""
    triton_model: str = Field(default=DEFAULT_MODEL, pattern=MODEL_PATTERN)
    """Name of the model in Triton."""
    triton_timeout_seconds: PositiveSeconds = 30.0
    """Longest time for one request to Triton; a caller's own deadline counts where it is sooner."""
    triton_retries: int = Field(default=2, ge=0, le=4)
    """Further attempts, with jitter and within the deadline, where Triton is UNAVAILABLE."""
    triton_requests: int = Field(default=8, ge=1, le=256)
    """Batches in Triton at the same time; it merges them as its model's configuration says."""
    triton_shared_memory: bool = False
    """Hand pictures over in shared memory; only for a Triton on this machine that shares /dev/shm."""
    golden_tolerance: float = Field(default=0.0, ge=0, le=2, allow_inf_nan=False)
    """Cosine distance allowed from the bundle's golden embeddings; 0 takes what backend and bundle say."""
    preprocess_workers: int = Field(default=0, ge=0, le=1024)
    """Photos decoded at the same time; 0 takes one per core."""
    decode_megapixels: PositiveCount = DEFAULT_MEGAPIXELS
    """Megapixels decoded at the same time, over all photos: a bound on memory, at most 16 MB each. Further
    photos wait their turn, and one that has more is decoded alone."""
    max_batch: int = Field(default=2, ge=1, le=256)
    """Photos encoded together at most. A CPU of few cores encodes no photo faster in larger batches, which
    only make others wait; raise it where there are many cores."""
    max_wait_seconds: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    """How long an incomplete batch waits for company; 0 never delays a lone photo."""
    max_queue: PositiveCount = 256
    """Photos under way over all calls; a call that finds no room is refused with RESOURCE_EXHAUSTED."""
    max_queue_bytes: int = Field(default=256 * MIB, ge=1, le=1 << 40)
    """Bytes of the photos of all calls under way, each held twice; likewise, but a call that is alone is
    never refused."""

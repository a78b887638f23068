"""Settings of the embedder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from lookalike.addresses import EMBEDDER_PORT
from lookalike.runtime.settings import Port, ServerSettings, settings_config


class EmbedderSettings(ServerSettings):
    """Serves a model bundle: photos to vectors and categories."""

    model_config = settings_config("embedder")

    port: Port = EMBEDDER_PORT
    """gRPC port; 0 takes a free one."""
    bundle: Path
    """Folder of the model bundle to serve."""
    backend: Literal["onnx"] = "onnx"
    """Inference engine: ONNX Runtime on the CPU, in process."""
    threads: int = Field(default=0, ge=0)
    """Threads that share the encoding of one batch; 0 takes one per core."""
    preprocess_workers: int = Field(default=0, ge=0)
    """Photos decoded at the same time; 0 takes one per core."""
    max_batch: int = Field(default=2, ge=1, le=256)
    """Photos encoded together at most. A CPU of few cores encodes no photo faster in larger batches, which
    only make others wait; raise it where there are many cores."""
    max_wait_seconds: float = Field(default=0.0, ge=0, le=1)
    """How long an incomplete batch waits for company; 0 never delays a lone photo."""
    max_queue: int = Field(default=256, ge=1)
    """Photos under way over all calls; a call that finds no room is refused with RESOURCE_EXHAUSTED."""

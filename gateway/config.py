"""Settings of the gateway: ``LOOKALIKE_GATEWAY_*`` or ``[gateway]`` in the settings file."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lookalike.runtime.settings import ServerSettings, settings_config


class GatewaySettings(ServerSettings):
    """What the gateway can be told."""

    model_config = settings_config("gateway")

    port: int = Field(default=7700, ge=0, le=65535)
    """gRPC port; 0 takes a free one."""
    metrics_port: int = Field(default=9700, ge=-1, le=65535)
    """Port of ``/metrics``; 0 takes a free one, -1 serves none."""
    data_folder: Path
    """Holds the SQLite file of collections and aliases; belongs to one gateway."""
    embedder: str = "127.0.0.1:7701"
    """``host:port`` of the embedder."""
    hashers: list[str] = Field(default=["127.0.0.1:7710"], min_length=1)
    """``host:port`` of every hasher, in the order of their shard numbers."""
    max_searches: int = Field(default=64, ge=1)
    """Searches that run at once."""
    max_waiting_searches: int = Field(default=128, ge=0)
    """Searches that wait for their turn; more are refused with RESOURCE_EXHAUSTED."""
    max_writes: int = Field(default=8, ge=1)
    """Writes that run at once; a loaded batch counts as one."""
    max_waiting_writes: int = Field(default=32, ge=0)
    """Writes that wait for their turn; more are refused with RESOURCE_EXHAUSTED."""
    slow_search_seconds: float = Field(default=1.0, gt=0)
    """A search that takes longer is logged with its stages."""
    readiness_timeout_seconds: float = Field(default=1.0, gt=0)
    """How long the embedder and each shard have to answer a readiness check."""
    ingest_batch_seconds: float = Field(default=60.0, gt=0, le=60)
    """Time that one batch of a bulk load may take, waiting under overload included."""

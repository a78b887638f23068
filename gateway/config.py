"""Settings of the gateway: ``LOOKALIKE_GATEWAY_*`` or ``[gateway]`` in the settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from lookalike.addresses import (
    EMBEDDER_PORT,
    FIRST_HASHER_PORT,
    GATEWAY_PORT,
    HasherAddress,
    check_address,
)
from lookalike.runtime.settings import (
    Count,
    FeedingSettings,
    Port,
    PositiveCount,
    PositiveSeconds,
    Seconds,
    settings_config,
)


class GatewaySettings(FeedingSettings):
    """Serves searches, catalogues and collections to callers."""

    model_config = settings_config("gateway")

    port: Port = GATEWAY_PORT
    """gRPC port; 0 takes a free one."""
    data_folder: Path
    """Holds the SQLite file of collections and aliases; belongs to one gateway."""
    embedder: str = f"127.0.0.1:{EMBEDDER_PORT}"
    """``host:port`` of the embedder. If the host has several addresses, all of them are called in turn."""
    hashers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(f"127.0.0.1:{FIRST_HASHER_PORT}",), min_length=1
    )
    """``host:port`` of every hasher, in the order of their shard numbers, separated by commas. Searches go to
    the port 100 above it, or to the search port of ``host:port/search_port``."""
    max_searches: PositiveCount = 64
    """Searches that run at once at most, of each kind (by vector, by photo, exact). Within this bound as many
    run as do not slow each other down too much."""
    min_searches: PositiveCount = 2
    """Searches of a kind that may run at once however long they take, within ``max_searches``; by photo at
    least 8."""
    search_slowdown: float = Field(default=4.0, gt=1, le=100, allow_inf_nan=False)
    """How many times as long as when few run searches may take before fewer are let in."""
    max_waiting_searches: Count = 128
    """Searches of a kind that wait for their turn; more are refused with RESOURCE_EXHAUSTED."""
    search_burst_seconds: PositiveSeconds = 0.1
    """How long one search after the other may wait for its turn, or four times as long as they take, up to
    2 s, if that is more; a wait of a tenth of that is none. A queue that lasts longer, though searches are
    answered, is no burst: more is asked than can be answered, and only as many wait then as run."""
    max_writes: PositiveCount = 8
    """Writes that run at once; a loaded batch counts as one."""
    max_waiting_writes: Count = 32
    """Writes that wait for their turn; more are refused with RESOURCE_EXHAUSTED."""
    profile_interval_seconds: Seconds = 300.0
    """Time between two looks at what the catalogue is like, to compare queries with it; 0: none."""
    recall_probe_interval_seconds: Seconds = 10.0
    """Time between two live searches that are run again exactly, to measure recall; 0: none."""
    recall_probe_share: float = Field(default=0.01, gt=0, le=1, allow_inf_nan=False)
    """Share of the time that such searches may take; after a long one the pause is longer."""
    recall_probe_timeout_seconds: PositiveSeconds = 5.0
    """How long such a search may take."""
    slow_search_seconds: PositiveSeconds = 1.0
    """A search that takes longer is logged with its stages."""
    ready_coverage: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    """Share of the shards that must answer, with all their data, for searches and writes to be SERVING; for
    searches at their search ports, too. With 1, one lost shard takes every gateway out of service, and so all
    that the other shards could answer."""
    readiness_timeout_seconds: PositiveSeconds = 1.0
    """How long the embedder and each shard have to answer a readiness check."""
    ingest_batch_seconds: float = Field(default=60.0, gt=0, le=60, allow_inf_nan=False)
    """Time that one batch of a bulk load may take, waiting under overload included."""

    @field_validator("hashers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """A file has a list; flags and variables are text."""
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("embedder", "hashers")
    @classmethod
    def _check_targets(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, str):
            return check_address(value)
        addresses = [HasherAddress.parse(one) for one in value]
        if len({one.calls for one in addresses}) < len(addresses):
            raise ValueError("a hasher is named twice")
        return value

    @property
    def hasher_addresses(self) -> list[HasherAddress]:
        """The addresses of every hasher, in the order of their shard numbers."""
        return [HasherAddress.parse(one) for one in self.hashers]

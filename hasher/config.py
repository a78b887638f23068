"""Settings of the hasher."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from lookalike.addresses import FIRST_HASHER_PORT, SEARCH_PORT_OFFSET
from lookalike.runtime.settings import (
    MAX_PORT,
    Count,
    FeedingSettings,
    Port,
    PositiveCount,
    PositiveSeconds,
    settings_config,
)


class HasherSettings(FeedingSettings):
    """Settings of one hasher process: ``LOOKALIKE_HASHER_*`` or ``[hasher]``.

    Without ``port`` the shard listens on 7710 + ``shard``, and answers searches on 100 above its port.
    """

    model_config = settings_config("hasher")

    data_folder: Path
    """Holds the rows and indexes of this shard; one process at a time may use it."""
    shard: Count = 0
    """Number of this shard, from 0."""
    shard_count: PositiveCount = 1
    """Shards that the items are spread over; the same for all of them."""
    search_port: Port = 0
    """Port that answers searches; 0 takes a free one; by default ``port`` + 100."""
    search_threads: int = Field(default=0, ge=0, le=1024)
    """Searches that run at once, and as many reads; 0 takes one per processor that the process may use."""
    max_waiting_searches: PositiveCount = 128
    """Searches that wait for a thread, those that take long apart; more are refused as RESOURCE_EXHAUSTED."""
    max_pending_changes: PositiveCount = 256
    """Changes of one generation that may wait for their commit; more are refused with RESOURCE_EXHAUSTED."""
    checkpoint_interval_seconds: PositiveSeconds = 300.0
    """The longest time that a change waits for the next saved index, where a start after a crash begins; an
    index is saved earlier when a third of it has changed."""
    position_wait_seconds: PositiveSeconds = 5.0
    """The longest wait for a position of the log; a nearer deadline of the call shortens it."""

    @model_validator(mode="before")
    @classmethod
    def _derive_port(cls, values: dict[str, Any]) -> dict[str, Any]:
        # Runs before the base class derives the metrics port from the port.
        try:
            port = int(values.get("port", FIRST_HASHER_PORT + int(values.get("shard", 0))))
        except (TypeError, ValueError, OverflowError):
            return values  # the field's own check names what is wrong
        derived = port + SEARCH_PORT_OFFSET
        return {"port": port, "search_port": derived if port and derived <= MAX_PORT else 0, **values}

    @property
    def listens_on(self) -> list[tuple[str, int]]:
        """Host and port of the calls, of the searches, and of the metrics if they are served."""
        calls, *metrics = super().listens_on
        return [calls, (self.host, self.search_port), *metrics]

    @model_validator(mode="after")
    def _check_shard(self) -> Self:
        if self.shard >= self.shard_count:
            raise ValueError(f"shard {self.shard} must be less than shard_count {self.shard_count}")
        return self

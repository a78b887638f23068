"""What the client says of a server: its collections, aliases and limits, as plain, frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, cast

from lookalike.matching import MatchCalibration


class CollectionOptions(TypedDict, total=False):
    """What a collection is made for; an option that is not given is the server's choice.

    Attributes:
        model_version: The one model whose vectors it takes; else that of the server's embedder.
        dimension: Of its vectors, 2..4096.
        bits: Code length, a multiple of 64 up to 2048.
        partition_count: Partitions that items are spread over, 1..65536.
        rerank: How exactly its index keeps vectors: ``int8`` (a quarter of float32's memory), ``f16`` or
            ``f32``. Searches with ``exact`` are exact with each.
    """

    model_version: str
    dimension: int
    bits: int
    partition_count: int
    rerank: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection: its :class:`CollectionOptions`, and what the server knows about it.

    ``item_count`` is known where one collection was asked for, else None. ``repaired_shards`` are known where
    it was created or repaired: those on which it was created again, empty, so that its items must be loaded
    again. ``match_calibration`` is its own; ``match_calibration_in_use``, known where one collection was
    asked for, is that or the one of its model.
    """

    name: str
    model_version: str
    dimension: int
    bits: int
    partition_count: int
    generation: str
    create_time: datetime
    item_count: int | None = None
    rerank: str = ""
    repaired_shards: tuple[int, ...] | None = None
    match_calibration: MatchCalibration | None = None
    match_calibration_in_use: MatchCalibration | None = None

    @property
    def options(self) -> CollectionOptions:
        """What makes the same collection again."""
        options: Any = {name: getattr(self, name) for name in CollectionOptions.__annotations__}
        return cast(CollectionOptions, options)


@dataclass(frozen=True, slots=True)
class Alias:
    """A second name of a collection."""

    name: str
    collection: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that a server enforces."""

    max_message_bytes: int
    max_image_bytes: int
    max_k: int
    max_upsert_items: int
    max_multi_search: int
    max_deadline_seconds: float
    max_item_ids: int
    max_page_size: int
    max_images_per_query: int
    max_filter_conditions: int
    max_filter_values: int
    max_filter_bytes: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is.

    ``model_version`` is empty while its embedder cannot be reached, ``match_calibration_version`` also where
    the model has none.
    """

    version: str
    model_version: str
    embedding_dimension: int
    shards_total: int
    limits: Limits
    match_calibration_version: str = ""

"""What the client takes and returns: plain, frozen dataclasses."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from lookalike.client.gates import CategoryGate
from lookalike.errors import LookalikeError
from lookalike.filters import Condition, Filter

Photo: TypeAlias = bytes | str | os.PathLike[str]
"""A photo: the bytes of a JPEG, PNG or WebP file, or the path of one."""

Vector: TypeAlias = Sequence[float] | NDArray[np.floating]
"""An embedding: (dimension,) finite numbers of any length; the server normalises."""


class Region(NamedTuple):
    """A rectangle inside a photo, after EXIF rotation, as fractions 0..1 of its width and height."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search. Exactly one of ``image``, ``images``, ``embedding`` and ``item_id`` says what for.

    Attributes:
        image: A photo.
        images: 1 to 8 photos of one product.
        embedding: A vector of the collection's model.
        item_id: A stored item, which is left out of its own answer.
        k: How many hits, 1..1000.
        collection: A collection's name or an alias.
        exact: Compare with every stored vector: slow, and exact.
        group_by_product: One hit for each product, or every item for itself.
        probes: Buckets visited for each hash table, 1..65536; None leaves it to the server.
        effort: How hard to look, from 0 (fast) to 1 (thorough), in place of ``probes``.
        filter: Only items that pass are found: a filter, or one condition.
        min_score: Hits below this cosine similarity are left out, -1..1.
        min_match_probability: Hits that are less likely the same product are left out, 0..1; an empty answer
            then says that the product is not there. Refused where there are no probabilities.
        min_coverage: Share of shards that must answer, 0..1; None means all.
        min_log_position: Read your writes: ``WriteReceipt.log_position`` of a write to be seen.
        region: The part of the photo that counts; None is the whole.
        category_vote: Let the nearest items that have a category vote on the query's, which may be a new one.
        category_gate: Look where the query's category probably is: a gate, or the level of one that boosts.
    """

    image: Photo | None = None
    images: Sequence[Photo] | None = None
    embedding: Vector | None = None
    item_id: str | None = None
    k: int = 10
    collection: str = "default"
    exact: bool = False
    group_by_product: bool = True
    probes: int | None = None
    effort: float | None = None
    filter: Filter | Condition | None = None
    min_score: float | None = None
    min_match_probability: float | None = None
    min_coverage: float | None = None
    min_log_position: str | None = None
    region: Region | tuple[float, float, float, float] | None = None
    category_vote: bool = False
    category_gate: CategoryGate | str | None = None


class SearchFields(TypedDict, total=False):
    """The fields of :class:`Search` as keyword arguments."""

    image: Photo | None
    images: Sequence[Photo] | None
    embedding: Vector | None
    item_id: str | None
    k: int
    collection: str
    exact: bool
    group_by_product: bool
    probes: int | None
    effort: float | None
    filter: Filter | Condition | None
    min_score: float | None
    min_match_probability: float | None
    min_coverage: float | None
    min_log_position: str | None
    region: Region | tuple[float, float, float, float] | None
    category_vote: bool
    category_gate: CategoryGate | str | None


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search.

    ``score`` is the cosine similarity, -1..1; ``match_probability`` how likely it is the same product, 0..1,
    or None where neither the collection nor its model has a calibration.
    """

    product_id: str
    item_id: str
    score: float
    title: str = ""
    category: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    image_uri: str = ""
    match_probability: float | None = None


@dataclass(frozen=True, slots=True)
class CategoryPrediction:
    """A category, as its full path, that is predicted with ``probability`` at ``level``.

    ``level`` is ``meta``, ``level2`` or ``leaf``.
    """

    category: tuple[str, ...]
    level: str
    probability: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the collection an answer rests on."""

    shards_total: int
    shards_answered: int
    codes_scanned: int
    codes_total: int
    degraded_reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether every shard answered."""
        return self.shards_answered == self.shards_total

    @property
    def scanned_fraction(self) -> float:
        """Share of the codes compared with the query, 0..1; 0 for an empty collection."""
        return self.codes_scanned / self.codes_total if self.codes_total else 0.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the server's time went, in seconds."""

    total_seconds: float
    admit_seconds: float
    embed_seconds: float
    preprocess_seconds: float
    queue_seconds: float
    encode_seconds: float
    fanout_seconds: float
    hash_seconds: float
    probe_seconds: float
    scan_seconds: float
    rerank_seconds: float
    merge_seconds: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one search; ``hits`` come best first.

    ``predicted_category`` is the most probable path of the category tree, empty where nothing is predicted.
    Of each level in ``predicted_categories``, the category on that path comes first. ``gated_categories`` are
    those that a search with ``category_gate`` looked in or preferred.
    ``match_calibration_version`` says which calibration their probabilities are of; empty: they have none.
    """

    hits: tuple[Hit, ...]
    predicted_categories: tuple[CategoryPrediction, ...]
    coverage: Coverage
    timing: Timing
    model_version: str
    predicted_category: tuple[str, ...] = ()
    match_calibration_version: str = ""
    gated_categories: tuple[CategoryPrediction, ...] = ()


@dataclass(frozen=True, slots=True)
class Classification:
    """A photo's category, and predictions by level: of each the one on its path first, then the best."""

    predictions: tuple[CategoryPrediction, ...]
    model_version: str
    category: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item to write; its vector comes from ``image`` or is ``embedding``.

    Attributes:
        item_id: Unique in its collection; 1 to 128 bytes.
        product_id: Listings of one product share it; empty: the item is a product of its own.
        title: At most 1 KiB.
        category: Names from the top level down, at most three.
        attributes: At most 64 short texts by name. Numbers are refused: write them as text (``"19.99"``), as
            ranges of a filter read it, so that what is stored is what was sent.
        image_uri: Where the caller keeps the photo; opaque to the server.
        image: The photo to embed.
        region: The part of the photo that counts; None is the whole.
        embedding: The vector, instead of a photo.
        embedding_model_version: The model that made ``embedding``; empty: the collection's own.
        if_version: Write only if the stored version is this one; 0: only if the item is new.
    """

    item_id: str
    product_id: str = ""
    title: str = ""
    category: Sequence[str] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    image_uri: str = ""
    image: Photo | None = None
    region: Region | tuple[float, float, float, float] | None = None
    embedding: Vector | None = None
    embedding_model_version: str = ""
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it is stored; ``embedding`` is (dimension,) float32, or None where it was not asked for."""

    item_id: str
    product_id: str
    title: str
    category: tuple[str, ...]
    attributes: Mapping[str, str]
    image_uri: str
    version: int
    update_time: datetime
    embedding: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class WriteReceipt:
    """How safe a write is (``LOCAL_DISK`` or ``REPLICATED_LOG``), and its place in the log."""

    durability: str
    log_position: str


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item of a write: its stored ``version``, or the ``error`` that kept it out."""

    item_id: str
    version: int | None = None
    error: LookalikeError | None = None


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """What became of the items of a write, in their order; no receipt when every item failed."""

    results: tuple[ItemResult, ...]
    receipt: WriteReceipt | None

    @property
    def failures(self) -> tuple[ItemResult, ...]:
        """Only the items that failed."""
        return tuple(result for result in self.results if result.error is not None)


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """How many of the items existed and are gone now, and how many did not exist.

    ``failures`` are the items that stayed, since they had another version than asked for.
    """

    deleted_count: int
    missing_count: int
    receipt: WriteReceipt
    failures: tuple[ItemResult, ...] = ()


@dataclass(frozen=True, slots=True)
class GetResult:
    """The items that exist, in the order asked for, and the ids that do not."""

    items: tuple[StoredItem, ...]
    missing_item_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far a bulk load is: items durable, items refused, and streams that had to be opened again."""

    acknowledged_count: int
    failed_count: int
    reconnects: int


@dataclass(frozen=True, slots=True)
class IngestReport:
    """The outcome of a bulk load.

    Attributes:
        acknowledged_count: Items that are durable.
        failures: Items that were refused, each with its error.
        reconnects: How often a broken or drained stream was replaced.
        receipt: Of the last write; pass its position to a search that must see everything. None if
            nothing was written.
        collection: The collection that the load went to, where it was given an alias.
        generation: The build of its data.
    """

    acknowledged_count: int
    failures: tuple[ItemResult, ...]
    reconnects: int
    receipt: WriteReceipt | None
    collection: str = ""
    generation: str = ""

"""Between the messages of ``hasher.proto`` and the hasher's own records: checks and conversion."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasher.attributes import ItemAttributes, attributes_of
from hasher.documents import document_of
from hasher.identity import Identity
from hasher.log.base import Applied, Change, Delete, Mutation, Outcome, Upsert
from hasher.profile import Profile
from hasher.rows.records import GenerationStats, StoredRow
from lookalike.collections import Spec
from lookalike.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidInputError,
    Reason,
)
from lookalike.limits import MAX_ID_BYTES, MAX_REQUEST_ID_BYTES
from lookalike.v1 import hasher_pb2
from lookalike.wire.categories import check_category
from lookalike.wire.status import status_of
from lookalike.wire.vectors import WIRE_DTYPE, from_bytes, to_bytes, unit
from lookalike.wire.writes import rows_of

MAX_MUTATIONS = 1000
MAX_IDS = 1000
MAX_PAGE = 1000
MAX_INSTALLATION_ID_BYTES = 64
_DIGEST_BYTES = 32

PlacementCheck = Callable[[str, Spec, str], None]


def target_of(request: Any) -> Identity:
    """Returns the shard that a request says it is meant for."""
    if not request.HasField("target"):
        raise InvalidInputError(
            "target is missing: say which shard the request is meant for",
            reason=Reason.FIELD_MISSING,
            field="target",
        )
    target = request.target
    _check_text(target.installation_id, 1, MAX_INSTALLATION_ID_BYTES, "target.installation_id")
    return Identity(target.installation_id, target.shard, target.shard_count, target.layout_epoch)


def check_request_id(request_id: str) -> None:
    """Checks the request id of a change."""
    _check_text(request_id, 1, MAX_REQUEST_ID_BYTES, "request_id")


def change_of(request: hasher_pb2.ApplyRequest, spec: Spec, check_placement: PlacementCheck) -> Change:
    """Returns a write as a change, checked whole before anything is done."""
    write = request.write
    check_model(write.model_version, spec, "write.model_version")
    count = len(write.mutations)
    if not count:
        raise InvalidInputError(
            "write.mutations is empty", reason=Reason.FIELD_MISSING, field="write.mutations"
        )
    _check_batch(count, MAX_MUTATIONS, "write.mutations")
    mutations = _plain_mutations(write, spec.dimension) or _checked_mutations(write, spec.dimension)
    seen: set[str] = set()
    for i, mutation in enumerate(mutations):
        if mutation.item_id in seen:
            raise InvalidInputError(
                f"item {mutation.item_id!r} is in write.mutations twice; send its last state only",
                field=f"write.mutations[{i}]",
            )
        seen.add(mutation.item_id)
        check_placement(mutation.item_id, spec, f"write.mutations[{i}]")
    return Change(request.request_id, _content_digest(request), mutations)


def _plain_mutations(write: hasher_pb2.Mutations, dimension: int) -> tuple[Mutation, ...]:
    """Returns the mutations of a write of items that are all plain; none: it is another one."""
    found = rows_of(write.SerializeToString(), dimension)
    if found is None:
        return ()
    rows, vectors = found
    return tuple(
        Upsert(
            row.item_id,
            row.product_id,
            row.item,
            vector,
            ItemAttributes(row.category, row.attributes),
            row.document,
            row.if_version,
        )
        for row, vector in zip(rows, vectors, strict=True)
    )


def _checked_mutations(write: hasher_pb2.Mutations, dimension: int) -> tuple[Mutation, ...]:
    vectors = _upserted_vectors(write.mutations, dimension)
    return tuple(
        _mutation(mutation, vectors.get(i), f"write.mutations[{i}]")
        for i, mutation in enumerate(write.mutations)
    )


def _content_digest(request: hasher_pb2.ApplyRequest) -> bytes:
    """Returns what distinguishes two contents of one request id."""
    if not request.content_digest:
        # The same write may come to a shard again under another layout.
        request.ClearField("target")
        return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    if len(request.content_digest) != _DIGEST_BYTES:
        raise InvalidInputError(
            f"content_digest has {len(request.content_digest)} bytes; a SHA-256 has {_DIGEST_BYTES}",
            field="content_digest",
        )
    return request.content_digest


def _upserted_vectors(
    mutations: Sequence[hasher_pb2.Mutation], dimension: int
) -> dict[int, NDArray[np.float32]]:
    """Returns the unit vectors of the upserts by their place in the request."""
    raw: dict[int, NDArray[np.float32]] = {}
    for i, mutation in enumerate(mutations):
        if mutation.WhichOneof("operation") == "upsert":
            field = f"write.mutations[{i}].upsert.vector_f32_le"
            data = mutation.upsert.vector_f32_le
            if len(data) != dimension * WIRE_DTYPE.itemsize:
                raise InvalidInputError(
                    f"{field} holds {len(data)} bytes; one {dimension}-dimensional float32 vector has"
                    f" {dimension * WIRE_DTYPE.itemsize}",
                    reason=Reason.DIMENSION_MISMATCH,
                    field=field,
                    metadata={"dimension": str(dimension)},
                )
            raw[i] = from_bytes(data, dimension, field)[0]
    if not raw:
        return {}
    try:
        return dict(zip(raw, unit(np.stack(list(raw.values())), "write.mutations"), strict=True))
    except InvalidInputError:
        for i, vector in raw.items():
            unit(vector, f"write.mutations[{i}].upsert.vector_f32_le")
        raise


def _mutation(message: hasher_pb2.Mutation, vector: NDArray[np.float32] | None, field: str) -> Mutation:
    if_version = message.if_version if message.HasField("if_version") else None
    if vector is not None:
        item = message.upsert.item
        _check_text(item.item_id, 1, MAX_ID_BYTES, f"{field}.upsert.item.item_id")
        _check_text(item.product_id, 0, MAX_ID_BYTES, f"{field}.upsert.item.product_id")
        # What the index refuses must not get into the rows that it is made from.
        check_category(item.category.names, f"{field}.upsert.item.category")
        if "" in item.attributes:
            raise InvalidInputError(
                f"{field}.upsert.item.attributes has an empty name", field=f"{field}.upsert.item.attributes"
            )
        return Upsert(
            item.item_id,
            item.product_id,
            item.SerializeToString(),
            vector,
            attributes_of(item),
            document_of(item),
            if_version,
        )
    if message.WhichOneof("operation") is None:
        raise InvalidInputError(f"{field} has no operation", reason=Reason.FIELD_MISSING, field=field)
    _check_text(message.delete_item_id, 1, MAX_ID_BYTES, f"{field}.delete_item_id")
    return Delete(message.delete_item_id, if_version)


def check_get(request: hasher_pb2.GetRequest) -> None:
    """Checks a request for rows."""
    _check_batch(len(request.item_ids), MAX_IDS, "item_ids")


def check_list(request: hasher_pb2.ListRequest) -> None:
    """Checks a request for a page."""
    _check_range(request.page_size, 1, MAX_PAGE, "page_size")


def check_model(model_version: str, spec: Spec, field: str) -> None:
    """Checks that vectors come from the generation's model."""
    if model_version != spec.model_version:
        raise FailedPreconditionError(
            f"{field} is {model_version!r}, but the generation holds vectors of {spec.model_version!r}",
            reason=Reason.MODEL_VERSION_MISMATCH,
            field=field,
            metadata={"expected": spec.model_version},
        )


def applied_message(applied: Applied) -> hasher_pb2.ApplyResponse:
    """Returns the reply to a write."""
    return hasher_pb2.ApplyResponse(
        position=applied.position, results=[_outcome_message(outcome) for outcome in applied.outcomes]
    )


def outcomes_message(outcomes: Mapping[int, Sequence[Outcome]]) -> hasher_pb2.AwaitResponse:
    """Returns what became of a write, by partition."""
    return hasher_pb2.AwaitResponse(
        partitions=[
            hasher_pb2.PartitionResults(partition=partition, results=map(_outcome_message, ours))
            for partition, ours in sorted(outcomes.items())
        ]
    )


def _outcome_message(outcome: Outcome) -> hasher_pb2.MutationResult:
    if not outcome.conflict:
        return hasher_pb2.MutationResult(version=outcome.version, existed=outcome.existed)
    state = f"the item has version {outcome.version}" if outcome.existed else "there is no such item"
    error = AbortedError(
        f"if_version does not hold: {state}", field="if_version", metadata={"version": str(outcome.version)}
    )
    return hasher_pb2.MutationResult(error=status_of(error), existed=outcome.existed)


def row_message(row: StoredRow) -> hasher_pb2.Row:
    """Returns a row as it is sent."""
    message = hasher_pb2.Row(vector_f32_le=row.vector or b"")
    message.stored.item.MergeFromString(row.item)
    message.stored.version = row.version
    message.stored.update_time.FromNanoseconds(row.update_time_ns)
    return message


def stats_message(stats: GenerationStats, profile: Profile | None) -> hasher_pb2.GenerationInfo:
    """Returns the description of a generation, with a profile where there is one."""
    return hasher_pb2.GenerationInfo(
        generation=stats.name,
        spec=stats.spec.to_message(),
        item_count=stats.item_count,
        product_count=stats.product_count,
        position=stats.position,
        index_bytes=stats.index_bytes,
        failure=stats.failure,
        log_id=stats.log_id,
        profile=None if profile is None else _profile_message(profile),
    )


def _profile_message(profile: Profile) -> hasher_pb2.Profile:
    return hasher_pb2.Profile(
        row_count=profile.row_count, mean_f32_le=to_bytes(profile.mean), meta_rows=profile.meta_rows
    )


def _check_text(value: str, minimum: int, maximum: int, field: str) -> None:
    size = len(value.encode())
    if not minimum <= size <= maximum:
        raise InvalidInputError(
            f"{field} has {size} bytes; it must have {minimum} to {maximum}",
            reason=Reason.FIELD_OUT_OF_RANGE if size else Reason.FIELD_MISSING,
            field=field,
        )


def _check_range(value: int, minimum: int, maximum: int, field: str) -> None:
    if not minimum <= value <= maximum:
        raise InvalidInputError(
            f"{field} is {value}; it must be {minimum} to {maximum}",
            reason=Reason.FIELD_OUT_OF_RANGE,
            field=field,
            metadata={"min": str(minimum), "max": str(maximum)},
        )


def _check_batch(count: int, maximum: int, field: str) -> None:
    if count > maximum:
        raise InvalidInputError(
            f"{field} holds {count}; send at most {maximum} in one call",
            reason=Reason.BATCH_TOO_LARGE,
            field=field,
            metadata={"max": str(maximum)},
        )

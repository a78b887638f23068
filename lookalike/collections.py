"""What a collection is made for: one record for the gateway, the hashers and the wire."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, Self

from lookalike.errors import InvalidInputError, Reason
from lookalike.files.kept_json import kept_values
from lookalike.limits import CODE_BITS, DIMENSIONS, MAX_MODEL_VERSION_BYTES, MAX_PARTITION_COUNT
from lookalike.v1 import collection_pb2

DEFAULT_COLLECTION: Final = "default"
DEFAULT_BITS: Final = 256
DEFAULT_PARTITION_COUNT: Final = 1024


class Rerank(StrEnum):
    """How exactly an index keeps the vectors that it ranks the last candidates by."""

    INT8 = "int8"
    F16 = "f16"
    F32 = "f32"


DEFAULT_RERANK: Final = Rerank.F16
RERANK_BEFORE_CHOICE: Final = Rerank.F32
"""What collections of the first schema have, which has no field for it."""
_RERANKS: Final = {
    collection_pb2.RERANK_PRECISION_INT8: Rerank.INT8,
    collection_pb2.RERANK_PRECISION_F16: Rerank.F16,
    collection_pb2.RERANK_PRECISION_F32: Rerank.F32,
}
_RERANK_NUMBERS: Final = {rerank: number for number, rerank in _RERANKS.items()}


@dataclass(frozen=True, slots=True)
class Spec:
    """What a collection is made for; fixed for its life."""

    model_version: str
    dimension: int
    bits: int
    partition_count: int
    rerank: Rerank = DEFAULT_RERANK

    @classmethod
    def from_message(cls, message: collection_pb2.CollectionSpec, field: str) -> Self:
        """Returns a spec of which nothing is left open.

        Args:
            message: As it was received.
            field: Path of the message in its request, for errors.

        Raises:
            InvalidInputError: A value is missing or out of range.
        """
        check_spec(message, field)
        for name in ("model_version", "dimension", "bits", "partition_count", "rerank"):
            if not getattr(message, name):
                raise InvalidInputError(
                    f"{field}.{name} is missing", reason=Reason.FIELD_MISSING, field=f"{field}.{name}"
                )
        return cls(
            message.model_version,
            message.dimension,
            message.bits,
            message.partition_count,
            _RERANKS[message.rerank],
        )

    def to_message(self) -> collection_pb2.CollectionSpec:
        """Returns the spec as a message."""
        return collection_pb2.CollectionSpec(
            model_version=self.model_version,
            dimension=self.dimension,
            bits=self.bits,
            partition_count=self.partition_count,
            rerank=_RERANK_NUMBERS[self.rerank],
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns a spec that was kept as text; an option that is not in it has its default.

        Raises:
            FailedPreconditionError: A newer version kept it (``CONFIG_INVALID``).
            TypeError, ValueError: The text is not a spec.
        """
        values = kept_values(text, cls, "a collection")
        return cls(**{**values, "rerank": Rerank(values.get("rerank", DEFAULT_RERANK))})

    def to_json(self) -> str:
        """Returns the spec as text, to be kept."""
        return json.dumps(asdict(self))

    @classmethod
    def completed(cls, asked: collection_pb2.CollectionSpec, model_version: str, dimension: int) -> Self:
        """Returns a checked spec with defaults where it leaves an option open.

        Args:
            asked: As it was received.
            model_version: Of the collection.
            dimension: Of the model's vectors.
        """
        return cls(
            model_version,
            dimension,
            asked.bits or DEFAULT_BITS,
            asked.partition_count or DEFAULT_PARTITION_COUNT,
            rerank_of(asked) or DEFAULT_RERANK,
        )

    def satisfies(self, asked: collection_pb2.CollectionSpec) -> bool:
        """Whether a request could have made this collection.

        An open model fits any: the embedder's model may have changed since the first call. So does an open
        precision: collections that were made before they could choose do not have the default one.
        """
        return (
            asked.model_version in ("", self.model_version)
            and asked.dimension in (0, self.dimension)
            and (asked.bits or DEFAULT_BITS) == self.bits
            and (asked.partition_count or DEFAULT_PARTITION_COUNT) == self.partition_count
            and rerank_of(asked) in (None, self.rerank)
        )


def rerank_of(message: collection_pb2.CollectionSpec) -> Rerank | None:
    """Returns the precision that a checked spec asks for; None where it leaves it open."""
    return _RERANKS.get(message.rerank)


def check_spec(message: collection_pb2.CollectionSpec, field: str) -> None:
    """Checks what a spec says; what it leaves open is 0 or empty.

    Raises:
        InvalidInputError: A value is out of range.
    """
    problem = ""
    if len(message.model_version.encode()) > MAX_MODEL_VERSION_BYTES:
        name, problem = "model_version", f"must have at most {MAX_MODEL_VERSION_BYTES} bytes"
    elif message.dimension and message.dimension not in DIMENSIONS:
        name, problem = "dimension", "must be 2 to 4096, or 0 for that of the embedder's model"
    elif message.bits and message.bits not in CODE_BITS:
        name, problem = "bits", f"must be a multiple of 64 from 64 to 2048, or 0 for {DEFAULT_BITS}"
    elif message.partition_count > MAX_PARTITION_COUNT:
        name = "partition_count"
        problem = f"must be 1 to {MAX_PARTITION_COUNT}, or 0 for {DEFAULT_PARTITION_COUNT}"
    elif message.rerank and message.rerank not in _RERANKS:
        name, problem = "rerank", "must be INT8, F16 or F32, or UNSPECIFIED for F16"
    if problem:
        raise InvalidInputError(
            f"{field}.{name} {problem}", reason=Reason.FIELD_OUT_OF_RANGE, field=f"{field}.{name}"
        )

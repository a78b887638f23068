"""What a collection is made for: one record for the gateway, the hashers and the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from lookalike.errors import InvalidInputError, Reason
from lookalike.limits import CODE_BITS, DIMENSIONS, MAX_MODEL_VERSION_BYTES, MAX_PARTITION_COUNT
from lookalike.v1 import collection_pb2

DEFAULT_COLLECTION: Final = "default"
DEFAULT_BITS: Final = 256
DEFAULT_PARTITION_COUNT: Final = 1024


@dataclass(frozen=True, slots=True)
class Spec:
    """What a collection is made for; fixed for its life."""

    model_version: str
    dimension: int
    bits: int
    partition_count: int

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
        for name in ("model_version", "dimension", "bits", "partition_count"):
            if not getattr(message, name):
                raise InvalidInputError(
                    f"{field}.{name} is missing", reason=Reason.FIELD_MISSING, field=f"{field}.{name}"
                )
        return cls(message.model_version, message.dimension, message.bits, message.partition_count)

    def to_message(self) -> collection_pb2.CollectionSpec:
        """Returns the spec as a message."""
        return collection_pb2.CollectionSpec(
            model_version=self.model_version,
            dimension=self.dimension,
            bits=self.bits,
            partition_count=self.partition_count,
        )


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
    if problem:
        raise InvalidInputError(
            f"{field}.{name} {problem}", reason=Reason.FIELD_OUT_OF_RANGE, field=f"{field}.{name}"
        )

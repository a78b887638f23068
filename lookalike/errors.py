"""The error types of Lookalike's domain code.

No transport code lives here: :mod:`lookalike.wire.status` holds the one table that maps these
classes to gRPC status codes. Every error carries a message a user can act on, a stable
machine-readable ``reason`` and, for bad requests, the path of the offending field.

    LookalikeError
    ├── InvalidInputError          the request or the file is wrong; sending it again cannot help
    ├── NotFoundError              a named thing does not exist
    ├── AlreadyExistsError         a thing of that name exists, with other settings
    ├── FailedPreconditionError    right in itself, but not in the current state
    ├── AbortedError               lost against a concurrent change; read again and retry
    ├── OverloadedError            too much work right now; retry after ``retry_after_seconds``
    ├── UnavailableError           a part cannot be reached right now; retry
    ├── UnauthenticatedError       the caller did not prove who it is
    ├── PermissionDeniedError      the caller is known, and may not do this
    ├── DeadlineError              the deadline passed before the answer was ready
    ├── NotSupportedError          a documented option that this version does not have yet
    └── DataLossError              stored bytes are damaged and could not be rebuilt
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

MAX_SHOWN_CHARACTERS: Final = 100


class Reason(StrEnum):
    """Stable, machine-readable causes: the ``reason`` of ``google.rpc.ErrorInfo``."""

    # Images
    IMAGE_EMPTY = "IMAGE_EMPTY"
    IMAGE_TOO_LARGE = "IMAGE_TOO_LARGE"
    IMAGE_TOO_MANY_PIXELS = "IMAGE_TOO_MANY_PIXELS"
    IMAGE_FORMAT_UNSUPPORTED = "IMAGE_FORMAT_UNSUPPORTED"
    IMAGE_DAMAGED = "IMAGE_DAMAGED"
    REGION_INVALID = "REGION_INVALID"
    # Requests
    FIELD_MISSING = "FIELD_MISSING"
    FIELD_INVALID = "FIELD_INVALID"
    FIELD_OUT_OF_RANGE = "FIELD_OUT_OF_RANGE"
    BATCH_TOO_LARGE = "BATCH_TOO_LARGE"
    DIMENSION_MISMATCH = "DIMENSION_MISMATCH"
    VECTOR_NOT_FINITE = "VECTOR_NOT_FINITE"
    VECTOR_ZERO = "VECTOR_ZERO"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    PRODUCT_CONFLICT = "PRODUCT_CONFLICT"
    CATEGORY_INVALID = "CATEGORY_INVALID"
    CATEGORY_NOT_PREDICTED = "CATEGORY_NOT_PREDICTED"
    # State
    COLLECTION_NOT_FOUND = "COLLECTION_NOT_FOUND"
    COLLECTION_EXISTS = "COLLECTION_EXISTS"
    COLLECTION_ALIASED = "COLLECTION_ALIASED"
    ALIAS_NOT_FOUND = "ALIAS_NOT_FOUND"
    ITEM_NOT_FOUND = "ITEM_NOT_FOUND"
    VERSION_CONFLICT = "VERSION_CONFLICT"
    MODEL_VERSION_MISMATCH = "MODEL_VERSION_MISMATCH"
    MODEL_HAS_NO_CLASSIFIER = "MODEL_HAS_NO_CLASSIFIER"
    MATCH_NOT_CALIBRATED = "MATCH_NOT_CALIBRATED"
    MODEL_PARITY_FAILED = "MODEL_PARITY_FAILED"
    LOG_POSITION_NOT_REACHED = "LOG_POSITION_NOT_REACHED"
    SHARD_LAYOUT_MISMATCH = "SHARD_LAYOUT_MISMATCH"
    INSTALLATION_MISMATCH = "INSTALLATION_MISMATCH"
    GENERATION_MOVED = "GENERATION_MOVED"
    OUTCOME_NOT_FOUND = "OUTCOME_NOT_FOUND"
    # Capacity and reachability
    OVERLOADED = "OVERLOADED"
    MEMORY_FULL = "MEMORY_FULL"
    OPEN_FILES_LIMIT = "OPEN_FILES_LIMIT"
    SHARD_UNAVAILABLE = "SHARD_UNAVAILABLE"
    COVERAGE_TOO_LOW = "COVERAGE_TOO_LOW"
    DIRECTORY_UNAVAILABLE = "DIRECTORY_UNAVAILABLE"
    DISK_FULL = "DISK_FULL"
    EMBEDDER_UNAVAILABLE = "EMBEDDER_UNAVAILABLE"
    MODEL_SERVER_UNAVAILABLE = "MODEL_SERVER_UNAVAILABLE"
    GATEWAY_UNREACHABLE = "GATEWAY_UNREACHABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    STREAM_IDLE = "STREAM_IDLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    # Callers
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    # Others
    NOT_SUPPORTED_YET = "NOT_SUPPORTED_YET"
    CATALOG_INVALID = "CATALOG_INVALID"
    BUNDLE_INVALID = "BUNDLE_INVALID"
    CONFIG_INVALID = "CONFIG_INVALID"
    STORE_DAMAGED = "STORE_DAMAGED"
    INTERNAL = "INTERNAL"


def shown(text: str) -> str:
    """Returns a text of the caller's as an error repeats it: quoted, on one line, and cut."""
    cut = repr(text[:MAX_SHOWN_CHARACTERS])
    return cut if len(text) <= MAX_SHOWN_CHARACTERS else f"{cut}..."


class LookalikeError(Exception):
    """Base of all domain errors.

    Args:
        message: One sentence that says what is wrong and what would be right.
        reason: The stable cause.
        field: Path of the request field at fault, such as ``query.image``; empty if none.
        metadata: Short extra facts for programs, such as ``{"max": "1000"}``.
    """

    default_reason = Reason.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        reason: Reason | None = None,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.field = field
        self.metadata: dict[str, str] = dict(metadata or {})


class InvalidInputError(LookalikeError):
    """The request or the file is wrong; sending it again cannot help."""

    default_reason = Reason.FIELD_INVALID


class NotFoundError(LookalikeError):
    """A named thing does not exist."""

    default_reason = Reason.ITEM_NOT_FOUND


class AlreadyExistsError(LookalikeError):
    """A thing of that name exists, with other settings."""

    default_reason = Reason.COLLECTION_EXISTS


class FailedPreconditionError(LookalikeError):
    """Right in itself, but not in the current state of the system."""

    default_reason = Reason.MODEL_VERSION_MISMATCH


class AbortedError(LookalikeError):
    """Lost against a concurrent change; read again and retry."""

    default_reason = Reason.VERSION_CONFLICT


class RetryableError(LookalikeError):
    """An error that may pass: ``retry_after_seconds`` says when to try again (0: at once)."""

    def __init__(
        self,
        message: str,
        *,
        reason: Reason | None = None,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_seconds: float = 0.0,
    ) -> None:
        super().__init__(message, reason=reason, field=field, metadata=metadata)
        self.retry_after_seconds = retry_after_seconds


class OverloadedError(RetryableError):
    """Too much work right now."""

    default_reason = Reason.OVERLOADED


class UnavailableError(RetryableError):
    """A part cannot be reached right now."""

    default_reason = Reason.SHARD_UNAVAILABLE


class UnauthenticatedError(LookalikeError):
    """The caller did not prove who it is."""

    default_reason = Reason.UNAUTHENTICATED


class PermissionDeniedError(LookalikeError):
    """The caller is known, and may not do this."""

    default_reason = Reason.PERMISSION_DENIED


class DeadlineError(LookalikeError):
    """The deadline passed before the answer was ready."""

    default_reason = Reason.DEADLINE_EXCEEDED


class NotSupportedError(LookalikeError):
    """A documented option that this version does not have yet."""

    default_reason = Reason.NOT_SUPPORTED_YET


class DataLossError(LookalikeError):
    """Stored bytes are damaged and could not be rebuilt."""

    default_reason = Reason.STORE_DAMAGED

"""The one table between domain errors and gRPC status codes, in both directions.

On the wire an error is a ``google.rpc.Status`` with ``ErrorInfo`` (reason, metadata), ``BadRequest`` where a
field is at fault and ``RetryInfo`` where trying again may help. It always fits into gRPC's metadata: what is
too long is cut, since a status that does not fit reaches the caller as RESOURCE_EXHAUSTED of gRPC's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from lookalike import errors
from lookalike.errors import LookalikeError, Reason, RetryableError

DOMAIN = "lookalike"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""Trailing metadata: when a client may repeat the call, in milliseconds; negative: it should not."""

# gRPC gives metadata 8 KiB. The message is sent three times: percent-encoded, which may triple it, and twice
# in the details, which base64 makes a third longer.
_MAX_MESSAGE_BYTES = 900
_MAX_FIELD_BYTES = 200
_MAX_METADATA_BYTES = 900
_MAX_METADATA_VALUE_BYTES = 200

_CODES: dict[type[LookalikeError], grpc.StatusCode] = {
    errors.InvalidInputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AbortedError: grpc.StatusCode.ABORTED,
    errors.OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.NotSupportedError: grpc.StatusCode.UNIMPLEMENTED,
    errors.DataLossError: grpc.StatusCode.DATA_LOSS,
}
_CLASSES = {code: error_class for error_class, code in _CODES.items()}
CODES_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def code_of(error: LookalikeError) -> grpc.StatusCode:
    """Returns the gRPC status code of a domain error; INTERNAL for the base class itself."""
    for error_class in type(error).__mro__:
        if error_class in _CODES:
            return _CODES[error_class]
    return grpc.StatusCode.INTERNAL


def status_of(error: LookalikeError) -> status_pb2.Status:
    """Returns the ``google.rpc.Status`` of a domain error, with its rich details; what is too long is cut."""
    message = _cut(error.message, _MAX_MESSAGE_BYTES)
    status = status_pb2.Status(code=code_of(error).value[0], message=message)
    info = error_details_pb2.ErrorInfo(
        reason=error.reason.value, domain=DOMAIN, metadata=_cut_metadata(error.metadata)
    )
    status.details.add().Pack(info)
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(error.field, _MAX_FIELD_BYTES), description=message, reason=error.reason.value
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, RetryableError):
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after_seconds * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def _cut(text: str, max_bytes: int) -> str:
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= max_bytes:
        return encoded.decode()
    return encoded[: max_bytes - 3].decode("utf-8", "ignore") + "..."


def _cut_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = _MAX_METADATA_BYTES
    for name, value in metadata.items():
        shortened = _cut(value, _MAX_METADATA_VALUE_BYTES)
        room -= len(name.encode()) + len(shortened.encode())
        if room >= 0:
            kept[name] = shortened
    return kept


def error_from_status(status: status_pb2.Status) -> LookalikeError:
    """Rebuilds the domain error from a ``google.rpc.Status``; a foreign status gets the code's own class."""
    code = CODES_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    error_class = _CLASSES.get(code, LookalikeError)
    error = error_class(status.message or code.name)
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            _take_info(error, detail)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            error.field = bad_request.field_violations[0].field if bad_request.field_violations else ""
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) and isinstance(error, RetryableError):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            error.retry_after_seconds = retry.retry_delay.ToNanoseconds() / 1e9
    return error


def error_from_bytes(details: bytes) -> LookalikeError:
    """Rebuilds the domain error from an encoded ``google.rpc.Status``."""
    return error_from_status(status_pb2.Status.FromString(details))


def _take_info(error: LookalikeError, detail: object) -> None:
    info = error_details_pb2.ErrorInfo()
    detail.Unpack(info)  # type: ignore[attr-defined]
    if info.reason in Reason.__members__:
        error.reason = Reason(info.reason)
    error.metadata = dict(info.metadata)


def described_error(error: grpc.RpcError) -> LookalikeError | None:
    """Rebuilds the domain error that a service of Lookalike itself described.

    Returns:
        None for what it did not describe: a refused connection, a deadline, a message that is too large.
    """
    status = _status_in(error)
    if status is None:
        return None
    info = error_details_pb2.ErrorInfo()
    ours = any(detail.Unpack(info) and info.domain == DOMAIN for detail in status.details)
    return error_from_status(status) if ours else None


def _status_in(error: grpc.RpcError) -> status_pb2.Status | None:
    metadata: Sequence[tuple[str, str | bytes]] = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == DETAILS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return None


def error_from_rpc(error: grpc.RpcError) -> LookalikeError:
    """Rebuilds the domain error from a failed call, sync or aio.

    A failure that the server did not describe (connection refused, deadline) gets its code's class.
    """
    code = error.code()
    status = _status_in(error)
    if status is not None:
        return error_from_status(status)
    message = error.details() or code.name
    return error_from_status(status_pb2.Status(code=code.value[0], message=message))

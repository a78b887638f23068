from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from lookalike import errors
from lookalike.errors import InvalidInputError, LookalikeError, Reason, RetryableError, shown
from lookalike.wire.status import code_of, described_error, error_from_status, status_of


def _all_errors(base: type[LookalikeError] = LookalikeError) -> list[type[LookalikeError]]:
    return [found for child in base.__subclasses__() for found in (child, *_all_errors(child))]


@pytest.mark.parametrize("error_class", [c for c in _all_errors() if c is not RetryableError])
def test_every_domain_error_survives_the_wire(error_class: type[LookalikeError]) -> None:
    error = error_class("what is wrong", field="query.image", metadata={"max": "3"})
    if isinstance(error, RetryableError):
        error.retry_after_seconds = 1.5
    rebuilt = error_from_status(status_pb2.Status.FromString(status_of(error).SerializeToString()))
    assert isinstance(rebuilt, LookalikeError)
    assert code_of(rebuilt) == code_of(error) != grpc.StatusCode.INTERNAL
    assert (rebuilt.message, rebuilt.reason, rebuilt.field, rebuilt.metadata) == (
        error.message,
        error.reason,
        error.field,
        error.metadata,
    )
    if isinstance(rebuilt, RetryableError):
        assert rebuilt.retry_after_seconds == 1.5


@given(st.text(max_size=50), st.sampled_from(["x", "é", "😀", "\ud800", "\n"]), st.integers(1, 5000))
def test_every_status_fits_into_grpcs_metadata(start: str, character: str, length: int) -> None:
    long = start + character * length
    error = InvalidInputError(long, field=long, metadata={f"{n}": long for n in range(length % 40)})
    status = status_of(error)
    sent = len(quote(status.message, safe="")) + len(b64encode(status.SerializeToString()))
    assert sent < 8192 - 512  # for the request id and what gRPC adds
    assert len(status.message.encode()) <= 900
    assert error_from_status(status).reason == error.reason


def test_a_text_is_shown_cut_and_on_one_line() -> None:
    assert shown("shoes") == "'shoes'"
    assert shown("x" * 100) == f"'{'x' * 100}'"
    assert shown("x" * 101) == f"'{'x' * 100}'..."
    assert shown("a\nb\ud800") == r"'a\nb\ud800'"


def test_foreign_status_keeps_its_class() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="refused")
    assert isinstance(error_from_status(status), errors.UnavailableError)


def test_unknown_code_is_the_base_class() -> None:
    error = error_from_status(status_pb2.Status(code=2, message="odd"))
    assert type(error) is LookalikeError
    assert error.reason == Reason.INTERNAL


class Failure(grpc.RpcError):
    """A failed call with what the server sent after it."""

    def __init__(self, *details: object) -> None:
        status = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="words")
        for detail in details:
            status.details.add().Pack(detail)
        self._metadata = (("grpc-status-details-bin", status.SerializeToString()),) if details else ()

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "failed to connect to 10.0.0.7"

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self._metadata


def test_what_a_service_itself_describes_differs_from_what_lies_between() -> None:
    ours = error_details_pb2.ErrorInfo(reason="DISK_FULL", domain="lookalike")
    retry = error_details_pb2.RetryInfo()
    error = described_error(Failure(retry, ours))
    assert error is not None
    assert (error.message, error.reason) == ("words", Reason.DISK_FULL)
    foreign = error_details_pb2.ErrorInfo(reason="NO_ROUTE", domain="proxy.example")
    for failure in (Failure(), Failure(retry), Failure(foreign)):
        assert described_error(failure) is None

"""What callers see of answers that are too large, of defects, and of what is not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike.errors import InvalidInputError, LookalikeError, NotSupportedError, Reason
from lookalike.v1 import catalog_pb2, search_pb2, search_pb2_grpc
from lookalike.wire.status import code_of, error_from_rpc

if TYPE_CHECKING:
    from conftest import Serve


async def failure(call: Any) -> LookalikeError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = error_from_rpc(caught.value)
    assert caught.value.code() == code_of(error)
    return error


async def test_an_answer_above_the_limit_is_the_callers_to_make_smaller(serve: Serve) -> None:
    running = await serve(max_message_bytes=4096)
    running.probe.answer_bytes = 4096 - 3  # with the field's own three bytes the largest that fits
    assert len((await running.call()).version) == 4093
    stream = running.stream()
    running.probe.answer_bytes += 1
    await stream.write(catalog_pb2.IngestItemsRequest())
    for call in (running.call(), stream.read()):
        error = await failure(call)
        assert (type(error), error.reason) == (InvalidInputError, Reason.BATCH_TOO_LARGE)
        assert error.metadata == {"max_bytes": "4096"}
    assert await running.handled() == {"OK": 1.0, "INVALID_ARGUMENT": 2.0}


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_panic_in_the_engine_is_an_internal_error(serve: Serve, streamed: bool) -> None:
    running = await serve()
    running.probe.behaviour = "panic"
    if streamed:
        stream = running.stream()
        await stream.write(catalog_pb2.IngestItemsRequest())
        error = await failure(stream.read())
    else:
        error = await failure(running.call(timeout=30))
    assert error.reason == Reason.INTERNAL
    assert "secret" not in error.message
    assert await running.handled() == {"INTERNAL": 1.0}


async def test_what_is_not_there_yet_is_named(serve: Serve) -> None:
    running = await serve()
    stub = search_pb2_grpc.SearchServiceStub(running.channel)
    error = await failure(stub.Explain(search_pb2.ExplainRequest()))
    assert (type(error), error.reason) == (NotSupportedError, Reason.NOT_SUPPORTED_YET)
    assert error.message == "Explain is not supported in this version"
    running.probe.behaviour = "not implemented"  # by a defect
    assert (await failure(running.call())).reason == Reason.INTERNAL
    assert await running.handled() == {"UNIMPLEMENTED": 1.0, "INTERNAL": 1.0}


async def test_a_status_that_a_handler_sets_itself_is_counted_as_it_is(serve: Serve) -> None:
    running = await serve()
    health = health_pb2_grpc.HealthStub(running.channel)
    with pytest.raises(grpc.aio.AioRpcError):
        await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert await running.handled() == {"NOT_FOUND": 1.0}

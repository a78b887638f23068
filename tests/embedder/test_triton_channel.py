"""The channel to Triton: no proxies, and retries by gRPC itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
from tritonclient.grpc import InferInput, service_pb2
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from embedder.triton.client import CHANNEL_OPTIONS, MAX_RETRIES, retry_options


async def test_triton_is_reached_whatever_the_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with InferenceServerClient(f"127.0.0.1:{port}", channel_args=CHANNEL_OPTIONS) as client:
        with pytest.raises(InferenceServerException) as caught:
            await client.get_model_config("m", client_timeout=10.0)
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"  # the server answered
    await server.stop(None)


class BusyTriton:
    """Fails as many inferences as it is given, then answers with the version it was asked for."""

    def __init__(self, failures: int, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self._failures, self._code = failures, code
        self.calls = 0

    async def infer(
        self, request: service_pb2.ModelInferRequest, context: grpc.aio.ServicerContext
    ) -> service_pb2.ModelInferResponse:
        self.calls += 1
        if self.calls <= self._failures:
            await context.abort(self._code, "not now")
        return service_pb2.ModelInferResponse(model_version=request.model_version)

    @asynccontextmanager
    async def client(self, retries: int) -> AsyncIterator[InferenceServerClient]:
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
        handler = grpc.unary_unary_rpc_method_handler(
            self.infer,
            service_pb2.ModelInferRequest.FromString,
            service_pb2.ModelInferResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        options = [*CHANNEL_OPTIONS, *retry_options(retries)]
        async with InferenceServerClient(f"127.0.0.1:{port}", channel_args=options) as client:
            yield client
        await server.stop(None)


async def infer(client: InferenceServerClient, seconds: float = 30.0) -> str:
    """Ask for a batch larger than what gRPC keeps for retries by default."""
    images = np.zeros((4, 3, 224, 224), np.float32)
    tensor = InferInput("images", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    answer = await client.infer("m", [tensor], model_version="7", client_timeout=seconds)
    return str(answer.get_response().model_version)


@pytest.mark.parametrize("retries", [1, 2, MAX_RETRIES])
async def test_an_inference_is_sent_again_while_triton_is_unavailable(retries: int) -> None:
    triton = BusyTriton(retries)
    async with triton.client(retries) as client:
        assert await infer(client) == "7"
    assert triton.calls == retries + 1


@pytest.mark.parametrize(
    ("retries", "code", "calls"),
    [
        (0, grpc.StatusCode.UNAVAILABLE, 1),
        (2, grpc.StatusCode.UNAVAILABLE, 3),
        (2, grpc.StatusCode.INVALID_ARGUMENT, 1),
        (2, grpc.StatusCode.RESOURCE_EXHAUSTED, 1),
    ],
)
async def test_no_more_often_than_set_and_for_nothing_else(
    retries: int, code: grpc.StatusCode, calls: int
) -> None:
    triton = BusyTriton(99, code)
    async with triton.client(retries) as client:
        with pytest.raises(InferenceServerException) as caught:
            await infer(client)
    assert caught.value.status() == str(code)
    assert triton.calls == calls


async def test_attempts_end_with_the_deadline() -> None:
    triton = BusyTriton(99)
    async with triton.client(MAX_RETRIES) as client:
        with pytest.raises(InferenceServerException):
            await infer(client, 0.05)
    assert triton.calls <= MAX_RETRIES

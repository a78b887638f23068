"""The channel to Triton."""

from __future__ import annotations

import grpc
import pytest
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from embedder.triton.client import CHANNEL_OPTIONS


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

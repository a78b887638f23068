"""Shared memory and deadlines against a Triton that is slow, hangs or refuses; no server needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException, shared_memory
from tritonclient.utils.shared_memory import SharedMemoryException

from embedder.bundle import Bundle, load_bundle
from embedder.metrics import TritonMetrics
from embedder.triton.client import TritonEncoder, TritonTarget
from lookalike.errors import DeadlineError, LookalikeError, Reason, UnavailableError
from lookalike.runtime.metrics import Metrics

HANGS = 60.0


class FakeTriton:
    """Stands in for the connection; every call takes as long as a test says, and at most its timeout."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.register_seconds = self.infer_seconds = self.unregister_seconds = 0.0
        self.unregistering = 0
        self.unregistered: list[str] = []
        self.closed = False
        self.timeouts: dict[str, list[float]] = {"register": [], "infer": []}

    async def get_model_config(self, model: str, client_timeout: float) -> Any:
        named = {"lookalike.version.1": SimpleNamespace(string_value=self.bundle.model_version)}
        return SimpleNamespace(config=SimpleNamespace(max_batch_size=8, parameters=named))

    async def is_model_ready(self, model: str, version: str, client_timeout: float) -> bool:
        return True

    async def register_system_shared_memory(self, *given: Any, client_timeout: float) -> None:
        self.timeouts["register"].append(client_timeout)
        await _take(self.register_seconds, client_timeout)

    async def unregister_system_shared_memory(self, name: str, client_timeout: float) -> None:
        self.unregistering += 1
        await _take(self.unregister_seconds, client_timeout)
        self.unregistering -= 1
        self.unregistered.append(name)

    async def infer(self, model: str, inputs: Any, client_timeout: float, **given: Any) -> Any:
        self.timeouts["infer"].append(client_timeout)
        await _take(self.infer_seconds, client_timeout)
        rows = inputs[0].shape()[0]
        arrays = {name: np.ones((rows, width), np.float32) for name, width in self.bundle.outputs.items()}
        return SimpleNamespace(as_numpy=arrays.get)

    async def close(self) -> None:
        self.closed = True


async def _take(seconds: float, timeout: float) -> None:
    await asyncio.sleep(min(seconds, timeout))
    if seconds > timeout:
        raise InferenceServerException("Deadline Exceeded", "StatusCode.DEADLINE_EXCEEDED")


@asynccontextmanager
async def encoding(bundle: Bundle, fake: FakeTriton, **target: Any) -> AsyncIterator[TritonEncoder]:
    given = {"shared_memory": True, "max_batch": 2, "regions": 1, "retries": 0, **target}
    encoder = TritonEncoder(bundle, TritonTarget("127.0.0.1:1", "m", **given), TritonMetrics(Metrics()))
    await encoder._client.close()
    encoder._client = fake  # type: ignore[assignment]
    await encoder.open()
    try:
        yield encoder
    finally:
        await encoder.close()


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


PICTURES = np.zeros((2, 3, 32, 32), np.float32)


async def failure(encoder: TritonEncoder, seconds: float) -> LookalikeError | None:
    try:
        await encoder.encode(PICTURES, seconds)
    except LookalikeError as error:
        return error
    return None


async def test_waiting_for_a_region_counts_against_the_deadline(bundle: Bundle) -> None:
    fake = FakeTriton(bundle)
    fake.infer_seconds = HANGS
    async with encoding(bundle, fake) as encoder:
        first = asyncio.create_task(failure(encoder, HANGS))
        await asyncio.sleep(0.05)
        assert isinstance(await failure(encoder, 0.1), DeadlineError)
        assert not first.done()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_registering_a_region_counts_against_the_deadline(bundle: Bundle) -> None:
    fake = FakeTriton(bundle)
    fake.register_seconds = 0.3
    async with encoding(bundle, fake) as encoder:
        assert await failure(encoder, 1.0) is None
    assert fake.timeouts["register"][0] <= 1.0
    assert fake.timeouts["infer"][0] <= 0.7
    fake.register_seconds = HANGS
    async with encoding(bundle, fake) as encoder:
        assert isinstance(await failure(encoder, 0.1), DeadlineError)
    assert fake.timeouts["register"][1] <= 0.1
    assert len(set(fake.unregistered)) == 2, "Triton may have mapped what it was asked to, only too late"


async def test_a_server_that_hangs_does_not_hold_a_call_beyond_its_deadline(bundle: Bundle) -> None:
    fake = FakeTriton(bundle)
    async with encoding(bundle, fake) as encoder:
        assert await failure(encoder, 1.0) is None
        fake.infer_seconds = fake.unregister_seconds = HANGS
        assert isinstance(await failure(encoder, 0.1), DeadlineError)
        await asyncio.sleep(0)
        assert fake.unregistering == 1, "the region is given back during the call"
        fake.infer_seconds = 0.0
        assert await failure(encoder, 1.0) is None
        fake.unregister_seconds = 0.0


@pytest.mark.parametrize("how", ["its file was deleted", "it was destroyed before"])
async def test_a_region_that_is_gone_does_not_keep_the_connection_open(bundle: Bundle, how: str) -> None:
    fake = FakeTriton(bundle)
    before = set(Path("/dev/shm").glob("lookalike-*"))
    async with encoding(bundle, fake) as encoder:
        assert await failure(encoder, 1.0) is None
        assert encoder._memory is not None
        (region,) = encoder._memory._made
        if how == "its file was deleted":
            (made,) = set(Path("/dev/shm").glob("lookalike-*")) - before
            made.unlink()
        else:
            shared_memory.destroy_shared_memory_region(region.handle)
    assert fake.closed


async def test_the_connection_is_closed_whatever_becomes_of_the_memory(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> Any:
        raise RuntimeError("out of order")

    fake = FakeTriton(bundle)
    async with encoding(bundle, fake) as encoder:
        assert await failure(encoder, 1.0) is None
        assert encoder._memory is not None
        (region,) = encoder._memory._made
        with monkeypatch.context() as patched:
            patched.setattr("tritonclient.utils.shared_memory.destroy_shared_memory_region", broken)
            with pytest.raises(RuntimeError, match="out of order"):
                await encoder.close()
        assert fake.closed
    shared_memory.destroy_shared_memory_region(region.handle)


async def test_memory_that_cannot_be_had_loses_no_region(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **more: Any) -> Any:
        raise SharedMemoryException("unable to create the shared memory region")

    fake = FakeTriton(bundle)
    before = set(Path("/dev/shm").glob("lookalike-*"))
    async with encoding(bundle, fake) as encoder:
        assert await failure(encoder, 1.0) is None
        fake.infer_seconds = HANGS
        with monkeypatch.context() as patched:
            patched.setattr("tritonclient.utils.shared_memory.create_shared_memory_region", full)
            assert isinstance(await failure(encoder, 0.1), DeadlineError)
            fake.infer_seconds = 0.0
            for _ in range(2):
                error = await failure(encoder, 5.0)
                assert isinstance(error, UnavailableError)
                assert error.reason is Reason.MODEL_SERVER_UNAVAILABLE
        assert await failure(encoder, 5.0) is None
    assert set(Path("/dev/shm").glob("lookalike-*")) == before


async def test_a_call_that_is_cancelled_gives_its_region_back(bundle: Bundle) -> None:
    fake = FakeTriton(bundle)
    fake.infer_seconds = HANGS
    async with encoding(bundle, fake) as encoder:
        call = asyncio.create_task(encoder.encode(PICTURES))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        fake.infer_seconds = 0.0
        assert await failure(encoder, 1.0) is None

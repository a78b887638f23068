"""System shared memory for pictures on their way to a Triton on the same machine."""

from __future__ import annotations

import asyncio
import math
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, shared_memory


@dataclass(slots=True)
class _Region:
    name: str
    handle: Any
    registered: bool = False


class ImageMemory:
    """Regions of shared memory, each for one batch under way.

    Args:
        client: The connection to Triton.
        shape: ``(3, H, W)`` of one picture.
        batch: Pictures that a region holds.
        regions: How many regions there are.
    """

    def __init__(
        self, client: InferenceServerClient, shape: tuple[int, int, int], *, batch: int, regions: int
    ) -> None:
        self.batch = batch
        self._client = client
        self._bytes = 4 * batch * math.prod(shape)
        self._free: asyncio.LifoQueue[_Region] = asyncio.LifoQueue()
        self._all = [self._make() for _ in range(regions)]
        for region in self._all:
            self._free.put_nowait(region)

    @asynccontextmanager
    async def filled(self, images: npt.NDArray[np.float32]) -> AsyncIterator[InferInput]:
        """Hold a region with these pictures, ``(B, 3, H, W)`` float32 of at most ``batch``.

        Raises:
            InferenceServerException: Triton cannot map the region.
        """
        region = await self._free.get()
        try:
            if not region.registered:
                await self._register(region)
            shared_memory.set_shared_memory_region(region.handle, [images])
            tensor = InferInput("images", list(images.shape), "FP32")
            tensor.set_shared_memory(region.name, images.nbytes)
            yield tensor
        except BaseException:
            # Triton may have been restarted, or may still read: this memory is not used again under its name.
            await self._replace(region)
            raise
        else:
            self._free.put_nowait(region)

    async def close(self) -> None:
        """Unmap and delete all regions."""
        for region in self._all:
            await self._forget(region)

    def _make(self) -> _Region:
        name = f"lookalike-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        handle = shared_memory.create_shared_memory_region(name, f"/{name}", self._bytes, create_only=True)
        return _Region(name, handle)

    async def _register(self, region: _Region) -> None:
        await self._client.register_system_shared_memory(
            region.name, f"/{region.name}", self._bytes, client_timeout=2.0
        )
        region.registered = True

    async def _replace(self, region: _Region) -> None:
        fresh = self._make()
        self._all[self._all.index(region)] = fresh
        self._free.put_nowait(fresh)
        await self._forget(region)

    async def _forget(self, region: _Region) -> None:
        if region.registered:
            with suppress(InferenceServerException):
                await self._client.unregister_system_shared_memory(region.name, client_timeout=2.0)
        with suppress(shared_memory.SharedMemoryException):
            shared_memory.destroy_shared_memory_region(region.handle)

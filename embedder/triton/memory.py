"""System shared memory for pictures on their way to a Triton on the same machine."""

from __future__ import annotations

import asyncio
import math
import os
import time
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

from lookalike.errors import DeadlineError

REGISTER_SECONDS = 2.0
"""Longest time for Triton to map or unmap a region."""


@dataclass(slots=True, eq=False)
class _Region:
    name: str
    handle: Any
    registered: bool = False
    """Triton was asked to map it."""


class ImageMemory:
    """Regions of shared memory, each for one batch under way. They are made when they are first needed.

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
        # None stands for a region that is yet to be made; those that were made are taken first.
        self._free: asyncio.LifoQueue[_Region | None] = asyncio.LifoQueue()
        for _ in range(regions):
            self._free.put_nowait(None)
        self._made: set[_Region] = set()
        self._leaving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def filled(self, images: npt.NDArray[np.float32], deadline: float) -> AsyncIterator[InferInput]:
        """Holds a region with these pictures, ``(B, 3, H, W)`` float32 of at most ``batch``.

        Args:
            images: The pictures.
            deadline: When to give up waiting for a region, in monotonic seconds.

        Raises:
            DeadlineError: None was free in time.
            InferenceServerException: Triton cannot map the region.
            SharedMemoryException: This machine has no shared memory left.
        """
        region = await self._take(deadline)
        try:
            region = region or self._make()
            if not region.registered:
                await self._register(region, deadline)
            shared_memory.set_shared_memory_region(region.handle, [images])
            tensor = InferInput("images", list(images.shape), "FP32")
            tensor.set_shared_memory(region.name, images.nbytes)
            yield tensor
        except BaseException:
            # Triton may have been restarted, or may still read: this memory is not used again under its name.
            self._free.put_nowait(None)
            if region is not None:
                self._leave(region)
            raise
        else:
            self._free.put_nowait(region)

    async def close(self) -> None:
        """Unmaps and deletes all regions."""
        for region in list(self._made):
            self._leave(region)
        await asyncio.gather(*self._leaving)

    async def _take(self, deadline: float) -> _Region | None:
        try:
            if (remaining := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            async with asyncio.timeout(remaining):
                return await self._free.get()
        except TimeoutError as error:
            raise DeadlineError("the deadline passed before shared memory was free") from error

    def _make(self) -> _Region:
        name = f"lookalike-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        handle = shared_memory.create_shared_memory_region(name, f"/{name}", self._bytes, create_only=True)
        region = _Region(name, handle)
        self._made.add(region)
        return region

    async def _register(self, region: _Region, deadline: float) -> None:
        # Before the answer: a timeout cuts that off, and Triton may map the region all the same.
        region.registered = True
        await self._client.register_system_shared_memory(
            region.name, f"/{region.name}", self._bytes, client_timeout=max(0.0, deadline - time.monotonic())
        )

    def _leave(self, region: _Region) -> None:
        """Forgets a region after the call that had it, which may have no time left."""
        self._made.discard(region)
        task = asyncio.get_running_loop().create_task(self._forget(region), name="forget-shared-memory")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _forget(self, region: _Region) -> None:
        if region.registered:
            with suppress(InferenceServerException):
                await self._client.unregister_system_shared_memory(
                    region.name, client_timeout=REGISTER_SECONDS
                )
        # The file may be gone already: a person or systemd clears /dev/shm.
        with suppress(shared_memory.SharedMemoryException, OSError, KeyError):
            shared_memory.destroy_shared_memory_region(region.handle)

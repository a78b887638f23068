"""What every inference backend offers the service."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lookalike.errors import InvalidInputError, Reason


@dataclass(frozen=True, slots=True)
class Encoded:
    """One batch's results.

    Attributes:
        embedding: ``(B, D)`` float32, C-contiguous, rows of unit norm.
        probabilities: For each level from the root down ``(B, C_l)`` float32, rows sum to 1. Empty for
            a model without categories.
    """

    embedding: npt.NDArray[np.float32]
    probabilities: tuple[npt.NDArray[np.float32], ...] = ()


class Encoder(Protocol):
    """An inference backend in this process that has one model loaded. Safe to call from several threads."""

    def encode(self, images: npt.NDArray[np.float32]) -> Encoded:
        """Encodes prepared pictures.

        Args:
            images: ``(B, 3, H, W)`` float32 as :func:`embedder.preprocess.preprocess` makes them, B >= 1.

        Raises:
            InvalidInputError: The shape or dtype is not the model's.
        """
        ...


class AsyncEncoder(Protocol):
    """An inference backend as the service uses it: in this process or a model server.

    Attributes:
        tolerance: Cosine distance that its results may have from a float32 network's.
    """

    tolerance: float

    async def encode(self, images: npt.NDArray[np.float32], timeout_seconds: float | None = None) -> Encoded:
        """Encodes prepared pictures; see :meth:`Encoder.encode`.

        Args:
            images: ``(B, 3, H, W)`` float32.
            timeout_seconds: When the last of those who wait for the batch gives up; None: never.

        Raises:
            InvalidInputError: The shape or dtype is not the model's.
            DeadlineError: The time was up first.
            UnavailableError: The model server cannot be reached or does not have the model loaded.
            OverloadedError: It has too much to do.
            FailedPreconditionError: It answers in other shapes than the bundle's.
        """
        ...

    async def check_ready(self) -> str:
        """Returns "" if the backend can answer now, else why not."""
        ...

    async def close(self) -> None:
        """Gives threads and connections back."""
        ...


class ThreadEncoder:
    """Runs a backend of this process in one thread, off the event loop.

    Args:
        encoder: The backend.
        tolerance: Cosine distance that its results may have from a float32 network's.
    """

    def __init__(self, encoder: Encoder, tolerance: float) -> None:
        self.tolerance = tolerance
        self._encoder = encoder
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")

    async def encode(self, images: npt.NDArray[np.float32], timeout_seconds: float | None = None) -> Encoded:
        """See :meth:`AsyncEncoder.encode`; a computation that runs is not cut short by its time."""
        del timeout_seconds
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encoder.encode, images)

    async def check_ready(self) -> str:
        """Returns "": what is in this process is ready once it is loaded."""
        return ""

    async def close(self) -> None:
        """Stops the thread, once it is done with its batch; the event loop goes on meanwhile."""
        await asyncio.to_thread(self._thread.shutdown)


def check_batch(images: npt.NDArray[np.float32], shape: tuple[int, int, int]) -> None:
    """Refuses what no network of this input shape takes.

    Raises:
        InvalidInputError: ``images`` is not ``(B, *shape)`` float32 with B >= 1 (``DIMENSION_MISMATCH``).
    """
    if images.ndim != 4 or images.shape[0] < 1 or images.shape[1:] != shape or images.dtype != np.float32:
        raise InvalidInputError(
            f"the batch must be (B, {', '.join(map(str, shape))}) float32 with B >= 1",
            reason=Reason.DIMENSION_MISMATCH,
        )


def check_signature(path: object, inputs: set[str], widths: dict[str, int], expected: dict[str, int]) -> None:
    """Refuses a network whose inputs and outputs are not what its bundle says.

    Args:
        path: The bundle's folder, for the message.
        inputs: Names of the network's inputs.
        widths: Last dimension of each of its outputs.
        expected: The same as the bundle has it.

    Raises:
        InvalidInputError: They differ (``BUNDLE_INVALID``).
    """
    if inputs != {"images"} or widths != expected:
        raise InvalidInputError(
            f"{path} describes another network than it holds; export or train it again",
            reason=Reason.BUNDLE_INVALID,
        )

"""Triton Inference Server over gRPC.

A model in Triton has numbered versions; which bundle each one is stands in the model's configuration, written
by :mod:`embedder.triton.repository`. The encoder asks for exactly its own bundle's version, so that loading
another one next to it changes no answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException
from tritonclient.utils.shared_memory import SharedMemoryException

from embedder.bundle import Bundle
from embedder.encoder import Encoded, check_batch
from embedder.golden import FLOAT32_TOLERANCE
from embedder.metrics import TritonMetrics
from embedder.triton.memory import ImageMemory
from embedder.triton.naming import version_of
from lookalike.errors import (
    DeadlineError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from lookalike.runtime.tracing import outgoing
from lookalike.wire.proxies import DIRECT

MAX_RETRIES = 4
"""gRPC makes no more than five attempts."""
CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    *DIRECT,
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    # A restarted Triton is found again within a second, not after gRPC's default of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # In spite of its name, how long one attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", 2_000),
]
_CHECK_SECONDS = 2.0
_UNAVAILABLE = "StatusCode.UNAVAILABLE"

log = structlog.get_logger()


@dataclass(frozen=True)
class TritonTarget:
    """Where the model is and how it is asked.

    Attributes:
        url: ``host:port`` of Triton's gRPC.
        model: The model's name in Triton.
        timeout_seconds: For a batch whose callers set no deadline, and the longest for any.
        retries: Further attempts after UNAVAILABLE, within the deadline.
        max_batch: Pictures of the largest batch.
        shared_memory: Hand pictures over in shared memory; only for a Triton on this machine that shares
            ``/dev/shm``.
        regions: Shared memory regions, one for each batch under way.
    """

    url: str
    model: str
    timeout_seconds: float = 30.0
    retries: int = 2
    max_batch: int = 1
    shared_memory: bool = False
    regions: int = 8


class TritonEncoder:
    """A bundle's version of a model in Triton. To be created and used within one event loop.

    Args:
        bundle: The verified bundle.
        target: Where it is served.
        metrics: Counts and times the requests.
    """

    tolerance = FLOAT32_TOLERANCE

    def __init__(self, bundle: Bundle, target: TritonTarget, metrics: TritonMetrics) -> None:
        self._bundle = bundle
        self._target = target
        self._metrics = metrics
        self._shape = (3, bundle.preprocess.size, bundle.preprocess.size)
        options = [*CHANNEL_OPTIONS, *retry_options(target.retries)]
        self._client = InferenceServerClient(target.url, channel_args=options)
        self._outputs = [InferRequestedOutput(name) for name in bundle.outputs]
        self._memory: ImageMemory | None = None
        self._version = ""

    async def open(self) -> None:
        """Finds the bundle's version in Triton.

        Raises:
            UnavailableError: Triton cannot be reached, or has not loaded it.
            InvalidInputError: It takes smaller batches than the embedder makes.
        """
        try:
            answer = await self._client.get_model_config(self._target.model, client_timeout=_CHECK_SECONDS)
        except InferenceServerException as error:
            raise _not_available(_words(error)) from error
        version = version_of(answer.config, self._bundle.model_version)
        if version is None:
            raise _not_available(f"{self._target.model} has no version for {self._bundle.model_version}")
        self._version = version
        if answer.config.max_batch_size < self._target.max_batch:
            raise InvalidInputError(
                f"{self._target.model} in Triton takes batches of {answer.config.max_batch_size}; the "
                f"embedder's max_batch is {self._target.max_batch}: lower it, or export with --max-batch",
                reason=Reason.CONFIG_INVALID,
            )
        if problem := await self.check_ready():
            raise _not_available(problem)
        if self._target.shared_memory and self._memory is None:
            self._memory = ImageMemory(
                self._client, self._shape, batch=self._target.max_batch, regions=self._target.regions
            )

    async def encode(self, images: npt.NDArray[np.float32], timeout_seconds: float | None = None) -> Encoded:
        """See :meth:`embedder.encoder.AsyncEncoder.encode`."""
        check_batch(images, self._shape)
        limit = self._target.timeout_seconds
        started = time.monotonic()
        deadline = started + min(limit if timeout_seconds is None else timeout_seconds, limit)
        try:
            encoded = Encoded(*self._read(await self._result(images, deadline), len(images)))
        except LookalikeError as failure:
            self._metrics.failed(failure.reason.value.lower())
            raise
        self._metrics.answered(time.monotonic() - started)
        return encoded

    async def check_ready(self) -> str:
        """Returns "" if Triton has the bundle's version loaded, else why not."""
        try:
            ready = await self._client.is_model_ready(
                self._target.model, self._version, client_timeout=_CHECK_SECONDS
            )
        except InferenceServerException as error:
            return f"Triton does not answer: {_words(error)}"
        return "" if ready else f"Triton has not loaded version {self._version} of {self._target.model}"

    async def close(self) -> None:
        """Gives shared memory and the connection back."""
        try:
            if self._memory is not None:
                await self._memory.close()
        finally:
            await self._client.close()

    async def _result(self, images: npt.NDArray[np.float32], deadline: float) -> InferResult:
        try:
            if self._memory is None or len(images) > self._memory.batch:
                return await self._infer(_inline(images), deadline)
            async with self._memory.filled(images, deadline) as tensor:
                return await self._infer(tensor, deadline)
        except InferenceServerException as error:
            raise self._failure(error) from error
        except SharedMemoryException as error:
            raise _not_available("this machine has no shared memory left") from error

    async def _infer(self, tensor: InferInput, deadline: float) -> InferResult:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise DeadlineError("the deadline passed before Triton was asked")
        with outgoing("inference.GRPCInferenceService/ModelInfer", model=self._target.model) as headers:
            return await self._client.infer(
                self._target.model,
                [tensor],
                model_version=self._version,
                outputs=self._outputs,
                client_timeout=remaining,
                headers=headers,
            )

    def _read(
        self, result: InferResult, rows: int
    ) -> tuple[npt.NDArray[np.float32], tuple[npt.NDArray[np.float32], ...]]:
        arrays = []
        for name, width in self._bundle.outputs.items():
            array = result.as_numpy(name)
            if array is None or array.shape != (rows, width) or array.dtype != np.float32:
                raise FailedPreconditionError(
                    f"Triton's {self._target.model} answers {name} in another shape than the bundle has",
                    reason=Reason.MODEL_PARITY_FAILED,
                )
            arrays.append(array)
        return arrays[0], tuple(arrays[1:])

    def _failure(self, error: InferenceServerException) -> LookalikeError:
        make = _FAILURES.get(error.status() or "")
        if make is None:
            log.error("triton_failed", status=error.status(), reason=error.message())
            return LookalikeError("the model server failed; the embedder's log says how")
        return make(_words(error))


def retry_options(retries: int) -> list[tuple[str, Any]]:
    """Returns the options of a channel that sends an inference again where Triton is UNAVAILABLE.

    Args:
        retries: Further attempts, up to :data:`MAX_RETRIES`.
    """
    if not retries:
        return [("grpc.enable_retries", 0)]
    policy = {
        "maxAttempts": 1 + retries,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    name = {"service": "inference.GRPCInferenceService", "method": "ModelInfer"}
    return [
        ("grpc.service_config", json.dumps({"methodConfig": [{"name": [name], "retryPolicy": policy}]})),
        # What has left the buffer is not sent again; it holds no copy, and one picture exceeds the default.
        ("grpc.per_rpc_retry_buffer_size", (1 << 31) - 1),
    ]


def _inline(images: npt.NDArray[np.float32]) -> InferInput:
    tensor = InferInput("images", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    return tensor


def _words(error: InferenceServerException) -> str:
    """Returns what went wrong without addresses: callers of the gateway may read it."""
    if error.status() == _UNAVAILABLE:
        return "it cannot be reached or is stopping"
    return (error.message() or "no reason given").splitlines()[0][:200]


def _not_available(problem: str) -> UnavailableError:
    return UnavailableError(
        f"the model server cannot answer: {problem}",
        reason=Reason.MODEL_SERVER_UNAVAILABLE,
        retry_after_seconds=1.0,
    )


_FAILURES: dict[str, Callable[[str], LookalikeError]] = {
    _UNAVAILABLE: _not_available,
    # A version that was unloaded, or a server that has not loaded it yet.
    "StatusCode.NOT_FOUND": _not_available,
    "StatusCode.DEADLINE_EXCEEDED": lambda _: DeadlineError("the deadline passed before Triton answered"),
    "StatusCode.RESOURCE_EXHAUSTED": lambda words: OverloadedError(
        f"the model server has too much to do: {words}", retry_after_seconds=0.1
    ),
}

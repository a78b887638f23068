"""From the bytes of photos to vectors and predicted categories: preprocess, queue, encode.

Photos of all calls share the thread pool that decodes and the batches that are encoded. A call has at
most one batch and one photo per decoder under way at the same time: enough to keep both busy, and a
single photo waits for a few batches per other call and never for the whole of a large one.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedder.admission import Admission
from embedder.batching import MicroBatcher
from embedder.bundle import Bundle
from embedder.decoding.budget import PROCESS_BUDGET, PixelBudget, PixelClaim
from embedder.decoding.limits import DEFAULT_LIMITS
from embedder.decoding.region import Region
from embedder.encoder import AsyncEncoder
from embedder.golden import mismatch
from embedder.metrics import EmbedderMetrics
from embedder.preprocess import preprocess
from lookalike.categories.belief import Belief
from lookalike.categories.tree import PathTree
from lookalike.errors import (
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    Reason,
)
from lookalike.runtime.cpus import available_cpus
from lookalike.runtime.tracing import TracedCall, current_call, on_behalf_of

NORM_TOLERANCE = 1e-3
REPEAT_TOLERANCE = 1e-5
CHECK_SECONDS = 30.0
"""How long a self-check waits for one answer."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo of a call: the file's bytes, and the part of it that counts (the whole by default)."""

    content: bytes
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedPhoto:
    """One photo's result.

    Attributes:
        vector: ``(D,)`` float32, unit norm.
        belief: How probable its categories are; None for a model without categories, or if not asked for.
    """

    vector: npt.NDArray[np.float32]
    belief: Belief | None


@dataclass(slots=True)
class StageTimes:
    """Where a call's time went, in seconds: preprocessing summed over its photos, the others' maximum."""

    preprocess_seconds: float = 0.0
    queue_seconds: float = 0.0
    encode_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EmbedResults:
    """A call's results: for each photo, in order, what came of it, or what is wrong with it."""

    outcomes: list[EmbeddedPhoto | InvalidInputError]
    times: StageTimes = field(default_factory=StageTimes)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A photo ready to be encoded: ``(3, H, W)`` float32, when it was queued and when its caller gives up.

    Both in monotonic seconds.
    """

    tensor: npt.NDArray[np.float32]
    queued_at: float
    deadline: float = math.inf
    call: TracedCall | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """One photo's share of a batch."""

    vector: npt.NDArray[np.float32]
    probabilities: tuple[npt.NDArray[np.float32], ...]
    queue_seconds: float
    encode_seconds: float


class EmbedPipeline:
    """One loaded model behind a thread pool that decodes and a queue that forms batches.

    Call :meth:`start` within the event loop that will use it.

    Args:
        bundle: The model's description.
        encoder: The backend that has it loaded.
        metrics: Takes the stages' times, batch sizes, queue depth and photo counts.
        preprocess_workers: Photos decoded at the same time; 0 takes one per core.
        max_batch: Photos encoded together at most.
        max_running: Batches encoded at the same time; more than one is for model servers.
        max_wait_seconds: How long an incomplete batch waits for company.
        max_queue: Photos under way over all calls; :meth:`embed` refuses beyond it.
        max_queue_bytes: Bytes of the photos of all calls under way, likewise.
        pixels: Bounds what is decoded at the same time; that of the process by default.
    """

    def __init__(
        self,
        bundle: Bundle,
        encoder: AsyncEncoder,
        metrics: EmbedderMetrics,
        *,
        preprocess_workers: int = 0,
        max_batch: int = 2,
        max_running: int = 1,
        max_wait_seconds: float = 0.0,
        max_queue: int = 256,
        max_queue_bytes: int = 256 << 20,
        pixels: PixelBudget = PROCESS_BUDGET,
    ) -> None:
        self.bundle = bundle
        self.tree = PathTree(bundle.taxonomy.paths)
        self._encoder = encoder
        decoders = preprocess_workers or available_cpus()
        self._max_batch = max_batch
        self._max_under_way = min(max_batch * max_running + decoders, max_queue)
        self._admission = Admission(max_queue, max_queue_bytes, metrics)
        self._metrics = metrics
        self._pixels = pixels
        self._free_decoders = asyncio.Semaphore(decoders)
        self._decoders = ThreadPoolExecutor(max_workers=decoders, thread_name_prefix="preprocess")
        self._batcher: MicroBatcher[_Prepared, _Row] = MicroBatcher(
            self._encode_batch,
            max_batch=max_batch,
            max_running=max_running,
            max_wait_seconds=max_wait_seconds,
            on_batch=metrics.batched,
        )

    def start(self) -> None:
        """Begins to work on the queue."""
        self._batcher.start()

    async def drain(self) -> None:
        """Waits until no call is under way; for a model that no new call reaches."""
        await self._admission.drained()

    async def close(self) -> None:
        """Finishes what is queued and stops the threads."""
        await self._batcher.close()
        # A cancelled call leaves its photo to the thread, and another model may be serving in this loop.
        await asyncio.to_thread(self._decoders.shutdown, cancel_futures=True)
        await self._encoder.close()

    async def check_ready(self) -> str:
        """Returns "" if the backend can answer now, else why not."""
        return await self._encoder.check_ready()

    async def self_check(self, tolerance: float = 0.0) -> None:
        """Encodes a test pattern twice, which also warms the backend up, and then the golden images.

        Args:
            tolerance: Cosine distance allowed from the golden embeddings; 0 takes what the backend and the
                bundle say of themselves.

        Raises:
            InvalidInputError: The model's answer is not what its bundle promises (``BUNDLE_INVALID``).
            FailedPreconditionError: It gives the golden images other embeddings than when it was exported
                (``MODEL_PARITY_FAILED``).
            LookalikeError: The backend's own failure.
        """
        size = self.bundle.preprocess.size
        ramp = np.linspace(-1.0, 1.0, 3 * size * size, dtype=np.float32).reshape(3, size, size)
        try:
            first, second = [(await self._encode([ramp]))[0] for _ in range(2)]
        except LookalikeError:
            raise
        except Exception as error:  # backends raise untyped errors of their own
            raise self._failed("it cannot encode a picture of its own input size") from error
        if first.shape != (self.bundle.dim,):
            raise self._failed(f"its vectors have {first.size} dimensions instead of {self.bundle.dim}")
        if not np.isfinite(first).all() or abs(float(np.linalg.norm(first)) - 1.0) > NORM_TOLERANCE:
            raise self._failed("its vectors are not of unit length")
        if not np.allclose(first, second, atol=max(REPEAT_TOLERANCE, self._encoder.tolerance)):
            raise self._failed("it gives the same picture different vectors")
        await self._check_golden(tolerance)

    async def _check_golden(self, tolerance: float) -> None:
        golden = await asyncio.to_thread(self.bundle.golden)
        if golden is None:
            return
        pictures = await asyncio.to_thread(golden.prepare, self.bundle.preprocess)
        embeddings = np.concatenate(
            [
                await self._encode(list(pictures[start : start + self._max_batch]))
                for start in range(0, len(pictures), self._max_batch)
            ]
        )
        allowed = tolerance or max(golden.tolerance, self._encoder.tolerance)
        if problem := mismatch(golden.distance(embeddings), allowed):
            raise FailedPreconditionError(
                f"model {self.bundle.model_version} must not serve: {problem}",
                reason=Reason.MODEL_PARITY_FAILED,
            )

    async def _encode(self, pictures: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        return (await self._encoder.encode(np.stack(pictures), CHECK_SECONDS)).embedding

    async def embed(
        self, photos: Sequence[Photo], *, classify: bool = False, timeout_seconds: float | None = None
    ) -> EmbedResults:
        """Embeds the photos of one call. Cancelling it removes its photos from the queue.

        Args:
            photos: One or more photos.
            classify: Whether their categories are wanted, too.
            timeout_seconds: When the caller gives up; None: never.

        Raises:
            OverloadedError: No room for the whole call; none of its photos was embedded.
            UnavailableError: The model server cannot be reached.
            DeadlineError: The time was up first.
        """
        wanted = min(len(photos), self._max_under_way)
        deadline = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        times = StageTimes()
        outcomes: dict[int, EmbeddedPhoto | InvalidInputError] = {}
        todo = iter(enumerate(photos))
        with self._admission.admitted(wanted, sum(len(photo.content) for photo in photos)):
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(wanted):
                        group.create_task(self._work_off(todo, classify, deadline, outcomes, times))
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None
        return EmbedResults([outcomes[i] for i in range(len(photos))], times)

    def _failed(self, problem: str) -> InvalidInputError:
        return InvalidInputError(
            f"{self.bundle.path} failed the self-check: {problem}; export or train it again",
            reason=Reason.BUNDLE_INVALID,
        )

    async def _work_off(
        self,
        todo: Iterator[tuple[int, Photo]],
        classify: bool,
        deadline: float,
        outcomes: dict[int, EmbeddedPhoto | InvalidInputError],
        times: StageTimes,
    ) -> None:
        """Embeds photos until none of the call is left; several of these share ``todo``."""
        for i, photo in todo:
            outcomes[i] = outcome = await self._embed_one(photo, classify, deadline, times)
            self._metrics.embedded(ok=not isinstance(outcome, InvalidInputError))

    async def _embed_one(
        self, photo: Photo, classify: bool, deadline: float, times: StageTimes
    ) -> EmbeddedPhoto | InvalidInputError:
        arrived = time.monotonic()
        try:
            started, prepared = await self._decode(photo)
            queued_at = time.monotonic()
            times.preprocess_seconds += queued_at - started
            if isinstance(prepared, InvalidInputError):
                return prepared
            row = await self._batcher.submit(_Prepared(prepared, queued_at, deadline, current_call()))
        except asyncio.CancelledError:
            # Its caller waited in vain, which is when waits matter most.
            self._metrics.waited(time.monotonic() - arrived)
            raise
        queue_seconds = (started - arrived) + row.queue_seconds
        self._metrics.waited(queue_seconds)
        times.queue_seconds = max(times.queue_seconds, queue_seconds)
        times.encode_seconds = max(times.encode_seconds, row.encode_seconds)
        if call := current_call():
            preprocessing = ("queue", started - arrived), ("preprocess", queued_at - started)
            encoding = ("queue", row.queue_seconds), ("encode", row.encode_seconds)
            call.stages(arrived, (*preprocessing, *encoding))
        return EmbeddedPhoto(row.vector, self._belief(row.probabilities) if classify else None)

    async def _decode(self, photo: Photo) -> tuple[float, npt.NDArray[np.float32] | InvalidInputError]:
        """Preprocesses a photo in a thread; returns when that began, and what came of it."""
        # Photos wait here and not in the pool, which keeps those of cancelled calls until a thread is free.
        await self._free_decoders.acquire()
        loop, claim = asyncio.get_running_loop(), self._pixels.claim()
        done = self._decoders.submit(self._preprocess, photo, claim)

        def free_decoder(_: object) -> None:
            with suppress(RuntimeError):  # the loop ended before the thread
                loop.call_soon_threadsafe(self._free_decoders.release)

        done.add_done_callback(free_decoder)
        try:
            return await asyncio.wrap_future(done)
        except asyncio.CancelledError:
            claim.withdraw()
            raise

    def _preprocess(
        self, photo: Photo, claim: PixelClaim
    ) -> tuple[float, npt.NDArray[np.float32] | InvalidInputError]:
        started = time.monotonic()
        try:
            with self._metrics.preprocessing():
                params = self.bundle.preprocess
                return started, preprocess(photo.content, params, photo.region, DEFAULT_LIMITS, claim)
        except InvalidInputError as error:
            return started, error

    async def _encode_batch(self, batch: Sequence[_Prepared]) -> list[_Row]:
        started = time.monotonic()
        remaining = max(prepared.deadline for prepared in batch) - started
        try:
            with on_behalf_of([prepared.call for prepared in batch]):
                encoded = await self._encoder.encode(
                    np.stack([prepared.tensor for prepared in batch]),
                    remaining if remaining < math.inf else None,
                )
        finally:
            seconds = time.monotonic() - started
            self._metrics.encoded(seconds)
        self._admission.encoded(len(batch), seconds)
        return [
            _Row(
                vector,
                tuple(level[i] for level in encoded.probabilities),
                started - prepared.queued_at,
                seconds,
            )
            for i, (prepared, vector) in enumerate(zip(batch, encoded.embedding, strict=True))
        ]

    def _belief(self, probabilities: tuple[npt.NDArray[np.float32], ...]) -> Belief | None:
        if not probabilities:
            return None
        return Belief(self.tree, self.tree.posterior([level[None] for level in probabilities])[0])

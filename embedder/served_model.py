"""The model that one embedder serves, from its first load to its successors."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import structlog

from embedder.backends.choose import Backends
from embedder.bundle import MANIFEST_NAME, Bundle, load_bundle
from embedder.config import EmbedderSettings
from embedder.decoding.budget import PixelBudget
from embedder.metrics import EmbedderMetrics
from embedder.pipeline import EmbedPipeline
from lookalike.errors import (
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    Reason,
    RetryableError,
    UnavailableError,
)
from lookalike.runtime.metrics import Metrics

LOADING = "the model is still being loaded"
RETRY_SECONDS = 1.0
"""Until the second try to load a model that could not be loaded or failed its checks."""
MAX_RETRY_SECONDS = 10.0
"""Between two tries at most: each takes twice as long to come as the one before it."""

_Stamp = tuple[int, int] | None

log = structlog.get_logger()


class ServedModel:
    """The model of this process: absent until it was loaded and checked, replaced without a failed call.

    Args:
        settings: The bundle's folder, which is verified at once; backend, threads, queue.
        metrics: Handed to backends and pipelines.

    Raises:
        InvalidInputError: There is no valid bundle in the folder.
    """

    def __init__(self, settings: EmbedderSettings, metrics: Metrics) -> None:
        # Before the bundle: one that is put there meanwhile then counts as another one.
        self._stamp = _stamp(settings.bundle)
        self._bundle = load_bundle(settings.bundle)
        self._settings = settings
        self._backends = Backends(settings, metrics)
        self._metrics = EmbedderMetrics(metrics)
        self._pixels = PixelBudget(settings.decode_megapixels)
        self._pipeline: EmbedPipeline | None = None
        self._before: EmbedPipeline | None = None
        self._problem = LOADING
        self._tries = _Tries()

    @property
    def backend(self) -> str:
        """Name of the inference backend."""
        return self._backends.backend

    def pipeline(self) -> EmbedPipeline:
        """Returns the loaded model.

        Raises:
            UnavailableError: It is still being loaded, or failed its checks.
        """
        if self._pipeline is None:
            raise UnavailableError(
                f"the embedder cannot answer yet: {self._problem}",
                reason=Reason.EMBEDDER_UNAVAILABLE,
                retry_after_seconds=RETRY_SECONDS,
            )
        return self._pipeline

    def draining(self) -> str:
        """Returns the version of the model before this one while calls are under way there, else ""."""
        return "" if self._before is None else self._before.bundle.model_version

    async def check_ready(self) -> str:
        """Returns "" once the model is loaded and its backend can answer, else why it is not ready."""
        return self._problem if self._pipeline is None else await self._pipeline.check_ready()

    async def run(self) -> None:
        """Loads the model, again and again where that may help, then follows the bundle's folder for ever.

        Raises:
            InvalidInputError: The bundle cannot be served, or the backend is not installed.
        """
        while self._pipeline is None:
            stamp = _stamp(self._settings.bundle)
            try:
                await self._read_again()
                await self.load()
            except (RetryableError, FailedPreconditionError, OSError) as error:
                # Callers read the problem: what names this machine's folders is for the log alone.
                problem = error.message if isinstance(error, LookalikeError) else "the bundle cannot be read"
                # A network in this process gives the same pictures the same answers; a server's may change.
                final = isinstance(error, FailedPreconditionError) and self.backend != "triton"
                if self._tries.failed(stamp, problem, final=final):
                    log.warning("model_not_ready", reason=problem, cause=str(error.__cause__ or error))
                self._problem = problem
                await self._until_next_try()
        while self._settings.follow_seconds:
            await asyncio.sleep(self._settings.follow_seconds)
            await self.follow()

    async def load(self) -> None:
        """Loads the network, checks what it answers, and begins to serve it.

        Raises:
            InvalidInputError: The network is not what the bundle says, or the backend is not installed.
            FailedPreconditionError: It does not reproduce its golden images.
            UnavailableError: Triton cannot be reached, or does not have the model loaded; or another bundle
                was put into the folder meanwhile.
        """
        self._pipeline = await self._open(self._bundle, self._stamp)
        self._metrics.serves(self._bundle.model_version, self.backend)
        log.info(
            "model_loaded",
            model_version=self._bundle.model_version,
            dimension=self._bundle.dim,
            backend=self.backend,
        )

    async def follow(self) -> None:
        """Serves what is in the bundle's folder by now; keeps the current model where that cannot be served.

        What may pass is tried again, after ever longer times; what cannot, once there is another bundle.
        """
        stamp = _stamp(self._settings.bundle)
        if stamp in (self._stamp, None) or not self._tries.due(stamp):
            return
        try:
            bundle = await asyncio.to_thread(load_bundle, self._settings.bundle)
            if bundle.model_version != self._bundle.model_version:
                await self._switch(bundle, stamp)
        except Exception as error:  # whatever is wrong with another bundle must not end what serves this one
            final = not isinstance(error, RetryableError | OSError)
            if self._tries.failed(stamp, str(error), final=final):
                self._metrics.switched(ok=False)
                log.warning(
                    "model_switch_failed",
                    reason=str(error),
                    still_serving=self._bundle.model_version,
                    exc_info=not isinstance(error, LookalikeError | OSError),
                )
            return
        self._stamp = stamp

    async def close(self) -> None:
        """Stops the threads of the model, and of the one before it."""
        for pipeline in (self._before, self._pipeline):
            if pipeline is not None:
                await pipeline.close()

    async def _switch(self, bundle: Bundle, stamp: _Stamp) -> None:
        fresh = await self._open(bundle, stamp)
        self._before, self._pipeline = self._pipeline, fresh
        log.info("model_switched", model_version=bundle.model_version, before=self._bundle.model_version)
        self._bundle = bundle
        self._metrics.switched(ok=True)
        self._metrics.serves(bundle.model_version, self.backend)
        if (old := self._before) is not None:
            await old.drain()
            self._before = None
            await old.close()

    async def _open(self, bundle: Bundle, stamp: _Stamp) -> EmbedPipeline:
        try:
            pipeline = await self._checked(bundle)
        except (InvalidInputError, FailedPreconditionError):
            # Whatever is wrong with it may be that it was no longer there, or was another one.
            await self._check_unchanged(bundle, stamp)
            raise
        try:
            await self._check_unchanged(bundle, stamp)
        except BaseException:
            await pipeline.close()
            raise
        pipeline.start()
        return pipeline

    async def _checked(self, bundle: Bundle) -> EmbedPipeline:
        settings = self._settings
        encoder = await self._backends.open(bundle)
        pipeline = EmbedPipeline(
            bundle,
            encoder,
            self._metrics,
            preprocess_workers=settings.preprocess_workers,
            max_batch=settings.max_batch,
            max_running=self._backends.max_running,
            max_wait_seconds=settings.max_wait_seconds,
            max_queue=settings.max_queue,
            max_queue_bytes=settings.max_queue_bytes,
            pixels=self._pixels,
        )
        try:
            await pipeline.self_check(settings.golden_tolerance)
        except BaseException:
            await pipeline.close()
            raise
        return pipeline

    async def _check_unchanged(self, bundle: Bundle, stamp: _Stamp) -> None:
        """Refuses a model whose folder came to hold another one, or none for a moment, while it was loaded.

        The backend may then have loaded one bundle's network under the other's version.
        """
        try:
            now = (await asyncio.to_thread(load_bundle, bundle.path)).model_version
        except InvalidInputError:
            now = ""
        if now != bundle.model_version or _stamp(bundle.path) != stamp:
            raise UnavailableError(
                "the bundle was replaced while it was loaded", reason=Reason.EMBEDDER_UNAVAILABLE
            )

    async def _until_next_try(self) -> None:
        """Waits until another try is due, or something else is in the bundle's folder."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if self._tries.due(_stamp(self._settings.bundle)):
                return

    async def _read_again(self) -> None:
        """Takes what is in the bundle's folder by now, in case it was replaced by one that can be served.

        Raises:
            UnavailableError: It holds no valid bundle at present.
        """
        stamp = _stamp(self._settings.bundle)
        if stamp == self._stamp:
            return
        try:
            self._bundle = await asyncio.to_thread(load_bundle, self._settings.bundle)
        except InvalidInputError as error:
            raise UnavailableError(
                "its folder holds no valid bundle at present", reason=Reason.EMBEDDER_UNAVAILABLE
            ) from error
        self._stamp = stamp


class _Tries:
    """When the bundle that failed last is tried again."""

    def __init__(self) -> None:
        self._stamp: _Stamp = None
        self._problem = ""
        self._wait = 0.0
        self._due = -math.inf

    def failed(self, stamp: _Stamp, problem: str, *, final: bool) -> bool:
        """Notes that a bundle failed, for good or for now; returns whether that is news."""
        same_bundle = self._wait > 0 and stamp == self._stamp
        news = not same_bundle or problem != self._problem
        self._wait = min(2 * self._wait, MAX_RETRY_SECONDS) if same_bundle else RETRY_SECONDS
        self._due = math.inf if final else time.monotonic() + self._wait
        self._stamp, self._problem = stamp, problem
        return news

    def due(self, stamp: _Stamp) -> bool:
        """Returns whether what is in the folder now may be tried: always if it is another bundle."""
        return stamp != self._stamp or time.monotonic() >= self._due


def _stamp(folder: Path) -> _Stamp:
    """Returns what changes when another bundle is put into the folder; None while there is none."""
    try:
        status = (folder / MANIFEST_NAME).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino

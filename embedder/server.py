"""Puts one embedder process together: the only place that knows all its parts."""

from __future__ import annotations

import asyncio

import structlog

from embedder.bundle import Bundle, load_bundle
from embedder.config import EmbedderSettings
from embedder.pipeline import EmbedPipeline
from embedder.service import EmbedderServicer
from lookalike.errors import InvalidInputError, Reason, UnavailableError
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc

FULL_NAME: str = embedder_pb2.DESCRIPTOR.services_by_name["EmbedderService"].full_name
LOADING = "the model is still being loaded"

log = structlog.get_logger()


class ServedModel:
    """The model of this process: absent until :meth:`load` has loaded and checked it.

    Args:
        bundle: The verified bundle.
        settings: Engine, threads and queue.
        metrics: Handed to the pipeline.
    """

    def __init__(self, bundle: Bundle, settings: EmbedderSettings, metrics: Metrics) -> None:
        self._bundle = bundle
        self._settings = settings
        self._metrics = metrics
        self._pipeline: EmbedPipeline | None = None

    def pipeline(self) -> EmbedPipeline:
        """Return the loaded model.

        Raises:
            UnavailableError: It is still being loaded.
        """
        if self._pipeline is None:
            raise UnavailableError(
                f"the embedder cannot answer yet: {LOADING}",
                reason=Reason.EMBEDDER_UNAVAILABLE,
                retry_after_seconds=1.0,
            )
        return self._pipeline

    async def check_ready(self) -> str:
        """Return "" once the model is loaded, else why it is not ready."""
        return LOADING if self._pipeline is None else ""

    async def load(self) -> None:
        """Load the network, check what it answers, and begin to serve it.

        Raises:
            InvalidInputError: The network is not what the bundle says, or the engine is not installed.
        """
        pipeline = await asyncio.to_thread(self._build)
        pipeline.start()
        self._pipeline = pipeline
        log.info("model_loaded", model_version=pipeline.bundle.model_version, dimension=pipeline.bundle.dim)

    async def close(self) -> None:
        """Stop the model's threads."""
        if self._pipeline is not None:
            await self._pipeline.close()

    def _build(self) -> EmbedPipeline:
        try:
            from embedder.backends.onnx import OnnxEncoder
        except ModuleNotFoundError as error:
            raise InvalidInputError(
                f"the onnx backend needs the package {error.name}; install lookalike[serve-embedder]",
                reason=Reason.CONFIG_INVALID,
            ) from error
        settings = self._settings
        pipeline = EmbedPipeline(
            self._bundle,
            OnnxEncoder(self._bundle, settings.threads),
            self._metrics,
            preprocess_workers=settings.preprocess_workers,
            max_batch=settings.max_batch,
            max_wait_seconds=settings.max_wait_seconds,
            max_queue=settings.max_queue,
        )
        pipeline.self_check()
        return pipeline


async def run(settings: EmbedderSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    The bundle is verified first, which is quick and catches what operators get wrong. Then the port is
    bound, and health turns SERVING once the network is loaded and has answered the self-check.

    Raises:
        InvalidInputError: The bundle or a setting cannot be used.
    """
    bundle = load_bundle(settings.bundle)
    metrics = Metrics()
    model = ServedModel(bundle, settings, metrics)
    servicer = EmbedderServicer(model.pipeline, settings.backend)
    service = Service(
        FULL_NAME,
        lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server),
        model.check_ready,
    )
    runner = ServerRunner("embedder", [service], settings, metrics)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(runner.run(), name="serve")
            group.create_task(model.load(), name="load-model")
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        await model.close()

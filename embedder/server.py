"""Puts one embedder process together: the only place that knows all its parts."""

from __future__ import annotations

import asyncio

from embedder.config import EmbedderSettings
from embedder.served_model import ServedModel
from embedder.service import EmbedderServicer
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc

FULL_NAME: str = embedder_pb2.DESCRIPTOR.services_by_name["EmbedderService"].full_name


async def run(settings: EmbedderSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    The bundle is verified first, which is quick and catches what operators get wrong. Then the port is
    bound, and health turns SERVING once the network is loaded and has reproduced its golden images.

    Raises:
        InvalidInputError: The bundle or a setting cannot be used.
    """
    metrics = Metrics()
    model = ServedModel(settings, metrics)
    servicer = EmbedderServicer(model.pipeline, model.backend, model.draining)
    service = Service(
        FULL_NAME,
        lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server),
        model.check_ready,
    )
    runner = ServerRunner("embedder", [service], settings, metrics)
    try:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(model.run(), name="keep-model")
            serving = group.create_task(runner.run(), name="serve")
            serving.add_done_callback(lambda _: keeping.cancel())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        await model.close()

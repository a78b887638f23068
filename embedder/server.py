"""Puts one embedder process together: the only place that knows all its parts."""

from __future__ import annotations

from embedder.config import EmbedderSettings
from embedder.served_model import ServedModel
from embedder.service import EmbedderServicer
from lookalike.runtime.heap import return_large_blocks
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc

FULL_NAME: str = embedder_pb2.DESCRIPTOR.services_by_name["EmbedderService"].full_name


async def run(settings: EmbedderSettings) -> None:
    """Serves until SIGTERM or SIGINT.

    The bundle is verified first, which is quick and catches what operators get wrong. Then the port is
    bound, and health turns SERVING once the network is loaded and has reproduced its golden images.

    Raises:
        InvalidInputError: The bundle or a setting cannot be used.
    """
    return_large_blocks()
    metrics = Metrics()
    model = ServedModel(settings, metrics)
    servicer = EmbedderServicer(model.pipeline, model.backend, model.draining)
    service = Service(
        FULL_NAME,
        lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server),
        model.check_ready,
    )
    try:
        await ServerRunner("embedder", [service], settings, metrics, background=[model.run]).run()
    finally:
        await model.close()

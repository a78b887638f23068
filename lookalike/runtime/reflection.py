"""Server reflection under both of its names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from lookalike.runtime.answers import Handlers

_V1 = "grpc.reflection.v1.ServerReflection"


class _Pool:
    """The default pool of descriptors, which does not find the file of a method by itself."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file


def add_reflection(handlers: Handlers, services: Sequence[str]) -> None:
    """Lets clients ask for services and their messages.

    grpcio-reflection has the protocol as v1alpha only. Its v1 has the same messages, so the same servicer
    answers both.

    Args:
        handlers: Of the server.
        services: Full names of what it serves.
    """
    servicer = reflection.aio.ReflectionServicer((*services, reflection.SERVICE_NAME, _V1), _Pool())
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, handlers)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers.add_registered_method_handlers(_V1, {"ServerReflectionInfo": handler})

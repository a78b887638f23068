"""A bare ``grpc.aio`` server that answers every call with the same bytes: what Python's gRPC costs by itself.

python -m benchmarks.service.aio_echo --port PORT --answer-bytes BYTES
"""

from __future__ import annotations

import argparse
import asyncio

import grpc

SERVICE, METHOD = "lookalike.load.Echo", "Call"


async def serve(port: int, answer_bytes: int) -> None:
    """Answers until the process ends."""
    answer = bytes(answer_bytes)

    async def call(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return answer

    server = grpc.aio.server()
    # Without serialisers messages are bytes.
    handlers = {METHOD: grpc.unary_unary_rpc_method_handler(call)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answer-bytes", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.answer_bytes))

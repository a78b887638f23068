"""``python -m lookalike.runtime.probe ADDRESS [SERVICE]``: asks a server for its health.

For the health checks of containers, whose images hold no other client. The exit code is 0 for SERVING, 1 for
any other answer, 3 for none, and 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike.addresses import check_address
from lookalike.wire.channel import channel_options

SERVING = 0
NOT_SERVING = 1
NO_ANSWER = 3
_TIMEOUT_SECONDS = 3.0
_Response = health_pb2.HealthCheckResponse


def probe(address: str, service: str = "", timeout_seconds: float = _TIMEOUT_SECONDS) -> tuple[int, str]:
    """Asks once, through no proxy.

    Args:
        address: ``host:port``.
        service: Its full name; empty asks for the server as a whole.
        timeout_seconds: How long the answer may take.

    Returns:
        The exit code, and one line that says what was found.
    """
    named = f"{service} at {address}" if service else address
    with grpc.insecure_channel(address, options=channel_options()) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_seconds)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return NOT_SERVING, f"{address} has no service {service}"
            return NO_ANSWER, f"{named} does not answer: {error.code().name}"
    status = _Response.ServingStatus.Name(answer.status)
    return SERVING if answer.status == _Response.SERVING else NOT_SERVING, f"{named} is {status}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what it finds; ``None`` takes the process's own arguments."""
    parser = argparse.ArgumentParser(prog="python -m lookalike.runtime.probe", description=__doc__)
    parser.add_argument("address", metavar="ADDRESS", type=_address, help="host:port of a server")
    parser.add_argument("service", metavar="SERVICE", nargs="?", default="", help="full name of a service")
    parser.add_argument("--timeout-seconds", type=float, default=_TIMEOUT_SECONDS, metavar="SECONDS")
    given = parser.parse_args(arguments)
    code, message = probe(given.address, given.service, given.timeout_seconds)
    print(message, file=sys.stderr if code else sys.stdout)
    return code


def _address(text: str) -> str:
    try:
        return check_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())

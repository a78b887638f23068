"""The methods of a server as its metrics and limits see them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self, get_args

import grpc
from google.protobuf import descriptor_pool

Kind = Literal["call", "stream", "probe"]
"""One request and one answer; a stream in either direction; health and reflection."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_PROBES = "/grpc."
_TYPES = {
    (False, False): "unary",
    (True, False): "client_stream",
    (False, True): "server_stream",
    (True, True): "bidi_stream",
}


@dataclass(frozen=True)
class Method:
    """A method as metrics and limits see it."""

    path: str
    kind: Kind
    streams_requests: bool = False
    streams_responses: bool = False

    @cached_property
    def labels(self) -> tuple[str, str, str]:
        """The values of the metrics' first labels: type, service and method."""
        service, name = self.path.lstrip("/").split("/", 1)
        return _TYPES[self.streams_requests, self.streams_responses], service, name

    @property
    def name(self) -> str:
        """The method's own name."""
        return self.labels[-1]

    @classmethod
    def served(cls, path: str, handler: grpc.RpcMethodHandler) -> Self:
        """Returns the method of a handler."""
        return cls._of(path, bool(handler.request_streaming), bool(handler.response_streaming))

    @classmethod
    def _of(cls, path: str, streams_requests: bool, streams_responses: bool) -> Self:
        is_stream = streams_requests or streams_responses
        kind: Kind = "probe" if path.startswith(_PROBES) else "stream" if is_stream else "call"
        return cls(path, kind, streams_requests, streams_responses)

    @classmethod
    def all_of(cls, service: str) -> list[Self]:
        """Returns the methods of a service, by its full name; none of one that no proto describes."""
        try:
            methods = descriptor_pool.Default().FindServiceByName(service).methods
        except KeyError:
            return []
        return [
            cls._of(f"/{service}/{method.name}", method.client_streaming, method.server_streaming)
            for method in methods
        ]

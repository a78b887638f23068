"""Calls of a hasher by its own contract, for tests and benchmarks."""

from __future__ import annotations

from typing import Any

from lookalike.v1 import hasher_pb2_grpc


class HasherStub:
    """A stub that makes searches on the search port, and all other calls on the port of calls.

    Args:
        calls: A channel to the port of calls.
        searches: A channel to the search port, of the same kind.
    """

    def __init__(self, calls: Any, searches: Any) -> None:
        self._calls = hasher_pb2_grpc.HasherServiceStub(calls)
        self._searches = hasher_pb2_grpc.HasherServiceStub(searches)

    def __getattr__(self, method: str) -> Any:
        return getattr(self._searches if method == "Search" else self._calls, method)

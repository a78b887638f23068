"""What the gateway needs of the other services: the seam between its logic and gRPC.

Implementations raise :class:`lookalike.errors.LookalikeError` only; :mod:`gateway.clients` has the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from lookalike.errors import LookalikeError, UnavailableError
from lookalike.v1 import embedder_pb2, hasher_pb2

ShardRequest: TypeAlias = (
    hasher_pb2.ApplyRequest | hasher_pb2.GetRequest | hasher_pb2.ListRequest | hasher_pb2.DescribeRequest
)
"""Each names the shard that it is meant for in ``target``."""


class UnreachableError(UnavailableError):
    """The call did not reach the peer, or its answer did not come back: the peer itself said nothing."""


class SilentError(UnreachableError):
    """The peer has not answered for a while, so that it is not called."""


class Embedder(Protocol):
    """Turns photos into vectors and categories."""

    async def embed(
        self, request: embedder_pb2.EmbedRequest, *, timeout_seconds: float
    ) -> embedder_pb2.EmbedResponse:
        """Embeds 1 to 256 photos of together at most 16 MiB."""
        ...

    async def classify(
        self, request: embedder_pb2.EmbedderServiceClassifyRequest, *, timeout_seconds: float
    ) -> embedder_pb2.EmbedderServiceClassifyResponse:
        """Predicts the categories of one photo."""
        ...

    async def get_model(self, *, timeout_seconds: float) -> embedder_pb2.GetModelResponse:
        """Describes the model that is served."""
        ...


class Shard(Protocol):
    """One hasher; searches of it go through :mod:`gateway.native_fanout`."""

    async def apply(
        self, request: hasher_pb2.ApplyRequest, *, timeout_seconds: float
    ) -> hasher_pb2.ApplyResponse:
        """Applies one change, durably."""
        ...

    async def get_rows(
        self, request: hasher_pb2.GetRequest, *, timeout_seconds: float
    ) -> hasher_pb2.GetResponse:
        """Returns rows by item id."""
        ...

    async def list_rows(
        self, request: hasher_pb2.ListRequest, *, timeout_seconds: float
    ) -> hasher_pb2.ListResponse:
        """Lists rows in the order of their item ids."""
        ...

    async def describe(
        self, request: hasher_pb2.DescribeRequest, *, timeout_seconds: float
    ) -> hasher_pb2.DescribeResponse:
        """Describes the shard and its generations."""
        ...


class SearchPorts(Protocol):
    """What answers the searches of all shards, asked whether it answers at all."""

    async def failures(self, *, timeout_seconds: float) -> Mapping[int, LookalikeError]:
        """Returns shard → why nothing answers its searches, of those where this is so."""
        ...

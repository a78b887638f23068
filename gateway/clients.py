"""The real embedder and shards: gRPC stubs behind the protocols of :mod:`gateway.peers`.

Every failure leaves here as a :class:`lookalike.errors.LookalikeError`, without addresses or other internals.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.peers import UnreachableError
from lookalike.errors import (
    DeadlineError,
    InvalidInputError,
    LookalikeError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from lookalike.runtime.tracing import outgoing
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc, hasher_pb2, hasher_pb2_grpc
from lookalike.wire.awaiting import answer_of
from lookalike.wire.channel import open_channel, passed_on
from lookalike.wire.status import described_error, error_from_rpc

_Response = TypeVar("_Response")
# gRPC uses RESOURCE_EXHAUSTED for this, too; either end may find it, of either message.
_TOO_LARGE = re.compile(
    r"(?P<request>CLIENT: Sent|SERVER: Received)? ?message larger than max", flags=re.IGNORECASE
)


class GrpcEmbedder:
    """The embedder at the other end of a channel.

    Args:
        channel: To the embedder; the caller closes it.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = embedder_pb2_grpc.EmbedderServiceStub(channel)

    async def embed(
        self, request: embedder_pb2.EmbedRequest, *, timeout_seconds: float
    ) -> embedder_pb2.EmbedResponse:
        """See :class:`gateway.peers.Embedder`."""
        return await self._call(self._stub.Embed, "Embed", request, timeout_seconds)

    async def classify(
        self, request: embedder_pb2.EmbedderServiceClassifyRequest, *, timeout_seconds: float
    ) -> embedder_pb2.EmbedderServiceClassifyResponse:
        """See :class:`gateway.peers.Embedder`."""
        return await self._call(self._stub.Classify, "Classify", request, timeout_seconds)

    async def get_model(self, *, timeout_seconds: float) -> embedder_pb2.GetModelResponse:
        """See :class:`gateway.peers.Embedder`."""
        request = embedder_pb2.GetModelRequest()
        return await self._call(self._stub.GetModel, "GetModel", request, timeout_seconds)

    async def _call(
        self, method: Callable[..., Awaitable[_Response]], name: str, request: Any, timeout_seconds: float
    ) -> _Response:
        with outgoing(f"lookalike.v1.EmbedderService/{name}") as headers:
            return await _answer(
                method(request, timeout=timeout_seconds, metadata=(*headers.items(), *passed_on())),
                "the embedder",
                Reason.EMBEDDER_UNAVAILABLE,
            )


class GrpcShard:
    """The hasher at the other end of a channel.

    Args:
        channel: To the hasher; the caller closes it.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = hasher_pb2_grpc.HasherServiceStub(channel)

    async def apply(
        self, request: hasher_pb2.ApplyRequest, *, timeout_seconds: float
    ) -> hasher_pb2.ApplyResponse:
        """See :class:`gateway.peers.Shard`."""
        return await self._call(self._stub.Apply, "Apply", request, timeout_seconds)

    async def get_rows(
        self, request: hasher_pb2.GetRequest, *, timeout_seconds: float
    ) -> hasher_pb2.GetResponse:
        """See :class:`gateway.peers.Shard`."""
        return await self._call(self._stub.Get, "Get", request, timeout_seconds)

    async def list_rows(
        self, request: hasher_pb2.ListRequest, *, timeout_seconds: float
    ) -> hasher_pb2.ListResponse:
        """See :class:`gateway.peers.Shard`."""
        return await self._call(self._stub.List, "List", request, timeout_seconds)

    async def describe(
        self, request: hasher_pb2.DescribeRequest, *, timeout_seconds: float
    ) -> hasher_pb2.DescribeResponse:
        """See :class:`gateway.peers.Shard`."""
        return await self._call(self._stub.Describe, "Describe", request, timeout_seconds)

    async def _call(
        self, method: Callable[..., Awaitable[_Response]], name: str, request: Any, timeout_seconds: float
    ) -> _Response:
        with outgoing(f"lookalike.v1.HasherService/{name}", shard=request.target.shard) as headers:
            return await _answer(
                method(request, timeout=timeout_seconds, metadata=(*headers.items(), *passed_on())),
                "the shard",
                Reason.SHARD_UNAVAILABLE,
            )


class GrpcSearchPorts:
    """The search ports of all shards, at the other ends of channels of their own.

    Args:
        addresses: Shard → ``host:port`` of each of its replicas, in the order of the shards' numbers.
    """

    def __init__(self, addresses: Sequence[Sequence[str]]) -> None:
        self._channels = [[open_channel(address) for address in replicas] for replicas in addresses]

    async def failures(self, *, timeout_seconds: float) -> dict[int, LookalikeError]:
        """See :class:`gateway.peers.SearchPorts`; one replica that answers is enough."""
        found = await asyncio.gather(*(_failure_of_all(one, timeout_seconds) for one in self._channels))
        return {shard: failure for shard, failure in enumerate(found) if failure}

    async def close(self) -> None:
        """Closes the channels."""
        for channel in (channel for replicas in self._channels for channel in replicas):
            await channel.close()


async def _failure_of_all(
    replicas: Sequence[grpc.aio.Channel], timeout_seconds: float
) -> LookalikeError | None:
    failures = await asyncio.gather(*(_failure_of(channel, timeout_seconds) for channel in replicas))
    return next(iter(failures)) if all(failures) else None


async def _failure_of(channel: grpc.aio.Channel, timeout_seconds: float) -> LookalikeError | None:
    """Returns why a search port does not answer; whether it serves is for its shard to say."""
    check = health_pb2_grpc.HealthStub(channel).Check
    try:
        await _answer(
            check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds),
            "the search port",
            Reason.SHARD_UNAVAILABLE,
        )
    except (UnreachableError, DeadlineError) as failure:
        return failure
    except LookalikeError:
        return None
    return None


async def _answer(call: Awaitable[_Response], peer: str, unavailable: Reason) -> _Response:
    try:
        return await answer_of(call)
    except grpc.RpcError as failure:
        described = described_error(failure)
        if described is None:
            raise _of_transport(error_from_rpc(failure), peer, unavailable) from None
        raise of_peer(described, peer, unavailable) from None


def of_peer(error: LookalikeError, peer: str, unavailable: Reason) -> LookalikeError:
    """Keeps what the peer says, which is meant for callers, but for its defects."""
    if type(error) is LookalikeError:
        return LookalikeError(f"{peer} failed")
    if isinstance(error, UnavailableError) and error.reason is UnavailableError.default_reason:
        error.reason = unavailable
    return error


def too_large(which: str) -> InvalidInputError:
    """Returns the error of a call whose "request" or "answer" is longer than a message may be."""
    return InvalidInputError(
        f"the {which} does not fit into one message: ask for less at once",
        reason=Reason.BATCH_TOO_LARGE,
    )


def _of_transport(error: LookalikeError, peer: str, unavailable: Reason) -> LookalikeError:
    """Says what happened to a call whose peer said nothing, without what gRPC says about the connection."""
    match error:
        case OverloadedError() if found := _TOO_LARGE.search(error.message):
            return too_large("request" if found["request"] else "answer")
        case OverloadedError():
            is_full = error.reason is Reason.MEMORY_FULL
            return OverloadedError(
                f"the memory of {peer} is full" if is_full else f"{peer} is overloaded",
                reason=error.reason,
                retry_after_seconds=error.retry_after_seconds,
            )
        case DeadlineError():
            return DeadlineError(f"{peer} did not answer in time")
        case UnavailableError():
            return UnreachableError(f"{peer} cannot be reached", reason=unavailable)
    return LookalikeError(f"{peer} failed")

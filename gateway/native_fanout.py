"""Searching all shards, by the extension's own thread.

Python says what is searched for, and takes what came of it: one wake-up of the event loop for all searches
that have ended by then. Calls, retries, hedges, breakers, waiting and merging are native: see
``native/serve/src/fanout``. The other calls of shards go through :class:`gateway.fanout.Shards`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.clients import of_peer, too_large
from gateway.failures import report_failures, report_silence
from gateway.matching import Matching, depth_of
from gateway.metrics import GatewayMetrics
from gateway.outcome import Outcome
from gateway.peers import SilentError, UnreachableError
from lookalike._native import NativeFanout, NativeSearch
from lookalike.errors import DeadlineError, LookalikeError, OverloadedError, Reason
from lookalike.runtime.tracing import begin_outgoing, untraced_headers
from lookalike.v1 import hasher_pb2
from lookalike.wire.channel import passed_on
from lookalike.wire.status import error_from_bytes

if TYPE_CHECKING:
    from lookalike._native import _Failure, _Found

_SEARCH = "lookalike.v1.HasherService/Search"
_CALL = "search"


@dataclass(frozen=True, slots=True)
class Hits:
    """The best hits of all shards for one vector."""

    encoded: bytes
    """As ``hits`` of an encoded ``SearchResponse``, which other fields may be appended to."""
    count: int
    best_score: float | None
    """None: there are no hits."""
    best_match: float | None
    """How likely the best hit is right, also where it was left out; None: no hit, or no calibration."""
    codes_scanned: int


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one search."""

    outcome: Outcome[float]
    """Who answered, after how many seconds, and why the others did not."""
    hits: Sequence[Hits]
    """One for each vector."""
    codes_total: int
    """Codes of the shards that answered."""
    stage_seconds: tuple[float, float, float, float]
    """hash, probe, scan and rerank: each by the shard that took longest."""
    shard_seconds: Mapping[int, float]
    """Shard → how long it took, or was waited for in vain."""
    merge_seconds: float


class Searcher:
    """Searches all shards of the installation; belongs to one event loop.

    Args:
        addresses: Shard → ``host:port`` of each of its replicas, in the order of the shards' numbers.
        installation_id: Of the installation, which every call names.
        layout_epoch: Of the layout, which every call names.
        metrics: Where calls and failures are counted.
        max_message_bytes: Limit of one message in either direction.

    Raises:
        ValueError: An address is none.
    """

    def __init__(
        self,
        addresses: Sequence[Sequence[str]],
        installation_id: str,
        layout_epoch: int,
        metrics: GatewayMetrics,
        max_message_bytes: int,
    ) -> None:
        self._native = NativeFanout(
            [list(replicas) for replicas in addresses],
            installation_id=installation_id,
            layout_epoch=layout_epoch,
            max_message_bytes=max_message_bytes,
        )
        self._metrics = metrics
        self._shards = range(len(addresses))
        self._waiting: dict[int, asyncio.Future[_Found]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def search(
        self,
        request: hasher_pb2.HasherServiceSearchRequest,
        timeout_seconds: float,
        *,
        vectors: int = 1,
        min_score: float,
        matching: Matching | None = None,
        enough: float = 1.0,
        min_positions: Mapping[int, Mapping[int, int]] | None = None,
        aside: str = "",
    ) -> Found:
        """Searches all shards in parallel, and waits for them as long as it is worth while.

        Args:
            request: To each shard, without ``target`` and ``min_positions``, which are filled in here. Where
                there is a calibration, the shards are asked for as many hits as it needs.
            timeout_seconds: For all calls; later answers count as failures.
            vectors: How many the request has.
            min_score: Hits below this cosine similarity are left out.
            matching: What the hits say of how likely they are right; None: nothing.
            enough: Once this share of the shards has answered, the others get a short grace only.
            min_positions: Shard → lane → what it must have reached; these are waited for even then.
            aside: Names a search that nobody waits for: it is timed under this name, counts no failures, and
                says nothing about how long others should take.

        Raises:
            LookalikeError: A shard says that the request itself is wrong; the others are not waited for.
        """
        k, request.k = request.k, depth_of(request.k, matching)
        spans = begin_outgoing(_SEARCH, ({"shard": number} for number in self._shards))
        try:
            arrived = await self._ended(
                self._native.search(
                    request.SerializeToString(),
                    vectors=vectors,
                    k=k,
                    group_by_product=request.group_by_product,
                    min_score=min_score,
                    matching=matching.native if matching else None,
                    needed=_encoded(min_positions) if min_positions else {},
                    timeout_seconds=timeout_seconds,
                    enough=enough,
                    headers=[*passed_on(), *untraced_headers().items()],
                    shard_headers={n: [*passed_on(), *span.headers.items()] for n, span in enumerate(spans)},
                    aside=bool(aside),
                )
            )
            found = self._found(arrived, aside)
        except BaseException as error:
            for span in spans:
                span.end(error)
            raise
        for shard, span in enumerate(spans):
            failure = found.outcome.failures.get(shard)
            if not isinstance(failure, SilentError):  # it was not called
                span.end(failure, found.shard_seconds.get(shard))
        return found

    async def close(self) -> None:
        """Forgets the event loop; called when nobody searches any more."""
        if self._loop:
            self._loop.remove_reader(self._native.fileno())
            self._loop = None

    async def _ended(self, search: NativeSearch) -> _Found:
        """Waits for a search, and ends it if nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            loop.add_reader(self._native.fileno(), self._take_arrived)
            self._loop = loop
        future: asyncio.Future[_Found] = loop.create_future()
        self._waiting[search.number] = future
        try:
            return await future
        except asyncio.CancelledError:
            search.cancel()
            raise
        finally:
            self._waiting.pop(search.number, None)

    def _take_arrived(self) -> None:
        arrived, silences = self._native.arrived()
        for shard, is_silent in silences:
            report_silence(shard, _CALL, is_silent, self._metrics)
        for found in arrived:
            future = self._waiting.get(found[0])
            if future and not future.done():
                future.set_result(found)

    def _found(self, arrived: _Found, aside: str) -> Found:
        _, results, answered, failures, mistake, codes_total, stages, took, merge_seconds = arrived
        if mistake:
            raise _error_of(mistake)
        for shard, seconds in took:
            self._metrics.shard_took(aside or _CALL, shard, seconds)
        shard_seconds = dict(took)
        outcome = Outcome(
            {shard: shard_seconds[shard] for shard in sorted(answered)},
            {shard: _error_of(failure) for shard, failure in sorted(failures)},
        )
        if outcome.failures and not aside:
            report_failures(outcome.failures, self._metrics)
        hits = [Hits(*one) for one in results]
        return Found(outcome, hits, codes_total, stages, shard_seconds, merge_seconds)


def _encoded(min_positions: Mapping[int, Mapping[int, int]]) -> dict[int, bytes]:
    return {
        shard: hasher_pb2.HasherServiceSearchRequest(min_positions=lanes).SerializeToString()
        for shard, lanes in min_positions.items()
    }


def _error_of(failure: _Failure) -> LookalikeError:
    """Rebuilds the error of a shard, without addresses or other internals."""
    kind, details = failure
    match kind:
        case "described":
            return of_peer(error_from_bytes(details), "the shard", Reason.SHARD_UNAVAILABLE)
        case "late":
            return DeadlineError("the shard did not answer in time")
        case "silent":
            return SilentError("the shard has stopped answering")
        case "unreachable":
            return UnreachableError("the shard cannot be reached", reason=Reason.SHARD_UNAVAILABLE)
        case "overloaded":
            return OverloadedError("the shard is overloaded")
        case "request_too_large" | "answer_too_large":
            return too_large("request" if kind == "request_too_large" else "answer")
    return LookalikeError("the shard failed")

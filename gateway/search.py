"""One search, end to end: admit → embed → fan out → merge, under one deadline."""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from gateway.admission import Admission
from gateway.checks import SearchOptions, check_embedding, check_images, check_item_id, check_options
from gateway.deadline import Deadline
from gateway.directory.base import Collection, resolve
from gateway.directory.sqlite import Registry
from gateway.embedding import EmbeddedQuery, embed_query
from gateway.fanout import Outcome, Shards
from gateway.merge import merge_hits
from gateway.metrics import Telemetry
from gateway.peers import Embedder, Shard
from gateway.tokens import decode_log_position
from lookalike.errors import (
    InvalidInputError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from lookalike.v1 import hasher_pb2, search_pb2, types_pb2

_SHARD_STAGES = ("hash_seconds", "probe_seconds", "scan_seconds", "rerank_seconds")
log = structlog.get_logger()


@dataclass(frozen=True)
class _QueryVector:
    """What all shards are asked for."""

    vector_f32_le: bytes
    exclude_item_id: str = ""
    embedded: EmbeddedQuery | None = None


class SearchPipeline:
    """Answers searches.

    Args:
        registry: Which collections there are.
        embedder: For queries by photo.
        shards: All of them.
        admission: How many searches run at once.
        telemetry: Where stages are timed.
        slow_seconds: A search that takes longer is logged.
    """

    def __init__(
        self,
        registry: Registry,
        embedder: Embedder,
        shards: Shards,
        admission: Admission,
        telemetry: Telemetry,
        slow_seconds: float,
    ) -> None:
        self._registry = registry
        self._embedder = embedder
        self._shards = shards
        self._admission = admission
        self._telemetry = telemetry
        self._slow_seconds = slow_seconds

    async def search(
        self, request: search_pb2.SearchRequest, deadline: Deadline
    ) -> search_pb2.SearchResponse:
        """Finds the nearest products or items; the errors are those that search.proto lists."""
        start = time.perf_counter()
        async with self._admission.slot(deadline):
            response = await self._answer(request, deadline, start)
        seconds = response.timing.total_seconds = time.perf_counter() - start
        self._telemetry.observe_search(response.timing, response.coverage)
        if seconds > self._slow_seconds or response.coverage.degraded_reason:
            log.warning(
                "slow_or_partial_search",
                total_seconds=round(seconds, 4),
                embed_seconds=round(response.timing.embed_seconds, 4),
                fanout_seconds=round(response.timing.fanout_seconds, 4),
                degraded_reason=response.coverage.degraded_reason,
            )
        return response

    async def _answer(
        self, request: search_pb2.SearchRequest, deadline: Deadline, start: float
    ) -> search_pb2.SearchResponse:
        options = check_options(request)
        collection = resolve(self._registry, request.collection)
        positions = decode_log_position(request.min_log_position, collection.generation, self._shards.count)
        timing = types_pb2.Timing()
        query = await self._query_vector(request.query, collection, deadline, timing, start)

        before_fanout = time.perf_counter()
        outcome = await self._fan_out(_shard_request(query, options, collection), positions, deadline)
        self._check_coverage(outcome, options)
        before_merge = time.perf_counter()
        timing.fanout_seconds = before_merge - before_fanout
        answers = outcome.answers.values()
        for stage in _SHARD_STAGES:
            setattr(timing, stage, max((getattr(a.timing, stage) for a in answers), default=0.0))

        hits = merge_hits(
            (answer.results[0].hits for answer in answers),
            options.k,
            group_by_product=options.group_by_product,
            min_score=options.min_score,
        )
        response = search_pb2.SearchResponse(
            hits=[_public_hit(hit) for hit in hits],
            predicted_categories=query.embedded.predictions if query.embedded else (),
            coverage=_coverage(outcome, self._shards.count),
            model_version=collection.spec.model_version,
        )
        timing.merge_seconds = time.perf_counter() - before_merge
        response.timing.CopyFrom(timing)
        return response

    async def _query_vector(
        self,
        query: search_pb2.Query,
        collection: Collection,
        deadline: Deadline,
        timing: types_pb2.Timing,
        start: float,
    ) -> _QueryVector:
        """Turns the query into a vector, and takes down how long admitting and embedding took."""
        match query.WhichOneof("target"):
            case "image" | "images":
                images = check_images(query)
                before = time.perf_counter()
                timing.admit_seconds = before - start
                embedded = await embed_query(self._embedder, images, collection.spec, deadline)
                timing.embed_seconds = time.perf_counter() - before
                timing.preprocess_seconds = embedded.timing.preprocess_seconds
                timing.queue_seconds = embedded.timing.queue_seconds
                timing.encode_seconds = embedded.timing.encode_seconds
                return _QueryVector(embedded.vector_f32_le, embedded=embedded)
            case "embedding":
                vector = check_embedding(query.embedding, collection.spec, "query.embedding")
                timing.admit_seconds = time.perf_counter() - start
                return _QueryVector(vector)
            case "item_id":
                item_id = check_item_id(query.item_id, "query.item_id")
                vector = await self._stored_vector(item_id, collection, deadline)
                timing.admit_seconds = time.perf_counter() - start
                return _QueryVector(vector, exclude_item_id=item_id)
            case _:
                raise InvalidInputError(
                    "query is empty: set one of image, images, embedding and item_id",
                    reason=Reason.FIELD_MISSING,
                    field="query",
                )

    async def _stored_vector(self, item_id: str, collection: Collection, deadline: Deadline) -> bytes:
        request = hasher_pb2.GetRequest(
            generation=collection.generation, item_ids=[item_id], include_vectors=True
        )

        async def get(_: int, shard: Shard, timeout_seconds: float) -> hasher_pb2.GetResponse:
            return await shard.get_rows(request, timeout_seconds=timeout_seconds)

        timeout_seconds = deadline.call_timeout_seconds("looking up the item")
        owners = self._shards.by_owner([item_id], collection.spec.partition_count)
        outcome = await self._shards.call(owners, get, timeout_seconds)
        answers = outcome.complete("the item cannot be looked up now: retry")
        for answer in answers.values():
            for row in answer.rows:
                return row.vector_f32_le
        raise NotFoundError(
            f'there is no item "{item_id}" in the collection',
            reason=Reason.ITEM_NOT_FOUND,
            field="query.item_id",
        )

    async def _fan_out(
        self, request: hasher_pb2.HasherServiceSearchRequest, positions: dict[int, int], deadline: Deadline
    ) -> Outcome[hasher_pb2.HasherServiceSearchResponse]:
        async def search(
            number: int, shard: Shard, timeout_seconds: float
        ) -> hasher_pb2.HasherServiceSearchResponse:
            own = request
            if number in positions:
                own = hasher_pb2.HasherServiceSearchRequest()
                own.CopyFrom(request)
                own.min_positions[0] = positions[number]
            return await shard.search(own, timeout_seconds=timeout_seconds)

        return await self._shards.call_all(search, deadline.call_timeout_seconds("searching the shards"))

    def _check_coverage(
        self, outcome: Outcome[hasher_pb2.HasherServiceSearchResponse], options: SearchOptions
    ) -> None:
        if outcome.covers(options.min_coverage):
            return
        answered, total = len(outcome.answers), self._shards.count
        self._telemetry.observe_coverage(answered, total)
        behind = any(e.reason is Reason.LOG_POSITION_NOT_REACHED for e in outcome.failures.values())
        raise UnavailableError(
            f"{answered} of {total} shards answered, min_coverage asks for {options.min_coverage:.3g}:"
            f" {outcome.degraded_reason}",
            reason=Reason.LOG_POSITION_NOT_REACHED if behind else Reason.COVERAGE_TOO_LOW,
            metadata={"shards_total": str(total), "shards_answered": str(answered)},
            retry_after_seconds=outcome.retry_after_seconds(),
        )


def _shard_request(
    query: _QueryVector, options: SearchOptions, collection: Collection
) -> hasher_pb2.HasherServiceSearchRequest:
    return hasher_pb2.HasherServiceSearchRequest(
        generation=collection.generation,
        model_version=collection.spec.model_version,
        vectors_f32_le=query.vector_f32_le,
        k=options.k,
        group_by_product=options.group_by_product,
        exact=options.exact,
        probes=options.probes,
        effort=options.effort,
        filter=options.filter,
        exclude_item_id=query.exclude_item_id,
    )


def _coverage(
    outcome: Outcome[hasher_pb2.HasherServiceSearchResponse], shards_total: int
) -> types_pb2.Coverage:
    return types_pb2.Coverage(
        shards_total=shards_total,
        shards_answered=len(outcome.answers),
        codes_scanned=sum(answer.results[0].codes_scanned for answer in outcome.answers.values()),
        codes_total=sum(answer.codes_total for answer in outcome.answers.values()),
        degraded_reason=outcome.degraded_reason,
    )


def _public_hit(hit: hasher_pb2.ShardHit) -> search_pb2.Hit:
    item = hit.item
    return search_pb2.Hit(
        product_id=item.product_id,
        item_id=item.item_id,
        score=hit.score,
        category=item.category,
        attributes=item.attributes,
        title=item.title,
        image_uri=item.image_uri,
    )

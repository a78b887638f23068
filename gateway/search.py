"""One search, end to end: admit → embed → fan out → merge, under one deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from gateway.asked import Asked
from gateway.categories.guide import guided
from gateway.categories.trees import Trees
from gateway.checks import SearchOptions, check_images, check_item_id, check_options, check_query_vector
from gateway.deadline import Deadline
from gateway.directory.base import Collection, Directory
from gateway.embedding import embed_query
from gateway.fanout import Shards
from gateway.log.base import WriteLog
from gateway.matching import Calibrations, Matching
from gateway.metrics import GatewayMetrics
from gateway.native_fanout import Found, Hits, Searcher
from gateway.offload import off_loop
from gateway.outcome import Outcome
from gateway.peers import Embedder, Shard
from gateway.quality.watch import Quality
from gateway.searches import SearchAdmission
from gateway.tokens import bad_log_position, decode_log_position
from lookalike.categories.belief import Belief
from lookalike.errors import DataLossError, InvalidInputError, NotFoundError, Reason, UnavailableError, shown
from lookalike.runtime.logs import Throttle
from lookalike.runtime.tracing import current_call
from lookalike.v1 import hasher_pb2, search_pb2, types_pb2
from lookalike.wire.categories import prediction_messages

_LOOKUP_SHARE = 0.5
_PREDICTIONS = 3
"""Of each level."""
_LOG_SECONDS = 1.0
log = structlog.get_logger()


@dataclass(slots=True)
class _Waits:
    """When a search arrived, and what of its admission it spent on waiting for others."""

    start: float
    slot_seconds: float | None = None
    """None: it got no slot."""
    lookup_seconds: float = 0.0


class SearchPipeline:
    """Answers searches.

    Args:
        directory: Which collections there are.
        embedder: For queries by photo.
        searcher: Searches the shards.
        shards: Say what they hold of an item.
        write_log: Whose positions a search may demand.
        calibrations: Say how likely hits are right.
        admission: How many searches run at once.
        metrics: Where stages are timed.
        quality: Is shown each answer.
        slow_seconds: A search that takes longer is logged, as is one that misses a shard; one a second.
    """

    def __init__(
        self,
        directory: Directory,
        embedder: Embedder,
        searcher: Searcher,
        shards: Shards,
        write_log: WriteLog,
        calibrations: Calibrations,
        admission: SearchAdmission,
        metrics: GatewayMetrics,
        quality: Quality,
        slow_seconds: float,
    ) -> None:
        self._directory = directory
        self._embedder = embedder
        self._searcher = searcher
        self._shards = shards
        self._log = write_log
        self._calibrations = calibrations
        self._admission = admission
        self._metrics = metrics
        self._quality = quality
        self._slow_seconds = slow_seconds
        self._slow_log = Throttle(_LOG_SECONDS)
        self._trees = Trees()

    async def search(
        self, request: search_pb2.SearchRequest, deadline: Deadline, *, predictions: int = _PREDICTIONS
    ) -> bytes:
        """Finds the nearest products or items; the errors are those that search.proto lists.

        Args:
            request: The search.
            deadline: Of the call.
            predictions: Categories of each level that are predicted.

        Returns:
            An encoded ``SearchResponse``: the hits are as their shards encoded them.
        """
        (answer,) = await self.search_alike([request], deadline, predictions=predictions)
        return answer

    async def search_alike(
        self,
        requests: Sequence[search_pb2.SearchRequest],
        deadline: Deadline,
        *,
        patient: bool = False,
        predictions: int = _PREDICTIONS,
    ) -> list[bytes]:
        """Answers searches in one slot and by one call of each shard; an error is that of all of them.

        Args:
            requests: One search, or several by embedding that differ in their queries alone.
            deadline: Of all of them.
            patient: Whether they may wait for their turn until the deadline.
            predictions: Categories of each level that are predicted.

        Returns:
            An encoded ``SearchResponse`` for each; see :meth:`search`.
        """
        waits = _Waits(time.perf_counter() - deadline.waited_seconds)
        response = search_pb2.SearchResponse()
        try:
            async with self._admission.slot(requests[0], deadline, patient=patient):
                waits.slot_seconds = time.perf_counter() - waits.start
                found, belief = await self._answer(requests, response, deadline, waits)
                _predict(response, belief, predictions)
        finally:
            # A search that failed or came late took its time, too.
            timing = response.timing
            timing.total_seconds = time.perf_counter() - waits.start
            timing.admit_seconds = timing.admit_seconds or timing.total_seconds
            self._observe(response, waits, len(requests))
        answers = []
        for hits in found:
            response.coverage.codes_scanned = hits.codes_scanned
            answers.append(hits.encoded + response.SerializeToString())
        return answers

    def _observe(self, response: search_pb2.SearchResponse, waits: _Waits, searches: int) -> None:
        timing, coverage = response.timing, response.coverage
        if call := current_call():
            stages = ("admit", "embed", "fanout", "merge")
            call.stages(waits.start, [(stage, getattr(timing, f"{stage}_seconds")) for stage in stages])
            call.describe(shards_answered=coverage.shards_answered, codes_scanned=coverage.codes_scanned)
            if coverage.degraded_reason:  # a shard that is known to be silent is not called, and has no span
                call.describe(degraded_reason=coverage.degraded_reason)
        slot_seconds = timing.total_seconds if waits.slot_seconds is None else waits.slot_seconds
        for _ in range(searches):
            self._metrics.searched(timing, slot_seconds=slot_seconds, lookup_seconds=waits.lookup_seconds)
        if coverage.shards_total:
            self._metrics.covered(coverage, searches)
        is_notable = timing.total_seconds > self._slow_seconds or coverage.degraded_reason
        # While a shard is down or all are slow, every search would be a line.
        if is_notable and (left_out := self._slow_log.take()) is not None:
            log.warning(
                "slow_or_partial_search",
                left_out=left_out,
                total_seconds=round(timing.total_seconds, 4),
                embed_seconds=round(timing.embed_seconds, 4),
                fanout_seconds=round(timing.fanout_seconds, 4),
                degraded_reason=coverage.degraded_reason,
            )

    async def _answer(
        self,
        requests: Sequence[search_pb2.SearchRequest],
        response: search_pb2.SearchResponse,
        deadline: Deadline,
        waits: _Waits,
    ) -> tuple[Sequence[Hits], Belief | None]:
        """Fills in what the answers have in common.

        Returns:
            The hits of each search, and what is believed of its category where it is a single one.
        """
        timing, request = response.timing, requests[0]
        options = await off_loop(request.filter.ByteSize(), lambda: check_options(request))
        collection = self._directory.resolve(request.collection)
        positions = self._positions(request.min_log_position, collection)
        matching = self._calibrations.matching(collection, options.min_match_probability)
        asked = [
            await self._asked(one.query, collection, options, deadline, timing, waits) for one in requests
        ]

        async def find(*searches: Asked) -> Found:
            wanted = self._calibrations.matching(collection, searches[0].options.min_match_probability)
            found = await self._find(searches, wanted, positions, deadline, timing)
            _cover(response.coverage, found, self._shards.count)
            self._check_coverage(found.outcome, options, collection)
            return found

        belief = asked[0].embedded.belief if asked[0].embedded else None
        if options.categories:
            done = await guided(asked[0], find)
            asked, found, belief = [done.asked], done.found, done.belief
            response.gated_categories.extend(prediction_messages(done.gated))
            if done.ending:
                self._metrics.gated(done.ending)
        else:
            found = await find(*asked)
        timing.hash_seconds, timing.probe_seconds, timing.scan_seconds, timing.rerank_seconds = (
            found.stage_seconds
        )
        response.model_version = collection.spec.model_version
        if matching:
            response.match_calibration_version = matching.calibration.version
        for one, hits in zip(asked, found.hits, strict=True):
            self._quality.answered(one, hits.best_score, hits.best_match)
        return found.hits, belief

    def _positions(self, token: str, collection: Collection) -> dict[int, dict[int, int]]:
        """Returns what each shard must have reached: shard → lane → position."""
        positions = decode_log_position(token, collection.generation, self._log.log_id)
        try:
            return self._log.min_positions(positions)
        except ValueError:
            raise bad_log_position() from None

    async def _asked(
        self,
        query: search_pb2.Query,
        collection: Collection,
        options: SearchOptions,
        deadline: Deadline,
        timing: types_pb2.Timing,
        waits: _Waits,
    ) -> Asked:
        """Turns the query into a vector, and takes down how long admitting and embedding took."""
        match query.WhichOneof("target"):
            case "image" | "images":
                images = check_images(query)
                before = time.perf_counter()
                timing.admit_seconds = before - waits.start
                try:
                    embedded = await embed_query(
                        self._embedder, self._trees, images, collection.spec, deadline
                    )
                finally:
                    timing.embed_seconds = time.perf_counter() - before
                timing.preprocess_seconds = embedded.timing.preprocess_seconds
                timing.queue_seconds = embedded.timing.queue_seconds
                timing.encode_seconds = embedded.timing.encode_seconds
                return Asked(collection, options, embedded.vector_f32_le, embedded=embedded)
            case "embedding":
                vector = check_query_vector(query.embedding, collection.spec, "query.embedding")
                timing.admit_seconds = time.perf_counter() - waits.start
                return Asked(collection, options, vector)
            case "item_id":
                item_id = check_item_id(query.item_id, "query.item_id")
                before = time.perf_counter()
                try:
                    vector = await self._stored_vector(item_id, collection, deadline)
                finally:
                    now = time.perf_counter()
                    waits.lookup_seconds, timing.admit_seconds = now - before, now - waits.start
                return Asked(collection, options, vector, exclude_item_id=item_id)
            case _:
                raise InvalidInputError(
                    "query is empty: set one of image, images, embedding and item_id",
                    reason=Reason.FIELD_MISSING,
                    field="query",
                )

    async def _stored_vector(self, item_id: str, collection: Collection, deadline: Deadline) -> bytes:
        (owner,) = self._shards.by_owner([item_id], collection.spec.partition_count)
        request = hasher_pb2.GetRequest(
            generation=collection.generation, item_ids=[item_id], include_vectors=True
        )
        timeout_seconds = deadline.call_timeout_seconds("looking up the item", _LOOKUP_SHARE)
        outcome = await self._shards.ask(Shard.get_rows, {owner: request}, timeout_seconds)
        with self._lost_only_if_current(collection):
            answers = outcome.complete("the item cannot be looked up now: retry")
        for row in answers[owner].rows:
            return row.vector_f32_le
        raise NotFoundError(
            f"there is no item {shown(item_id)} in the collection",
            reason=Reason.ITEM_NOT_FOUND,
            field="query.item_id",
        )

    @contextmanager
    def _lost_only_if_current(self, collection: Collection) -> Iterator[None]:
        try:
            yield
        except DataLossError:
            self._directory.check_current(collection)  # nothing is lost where it was deleted meanwhile
            raise

    async def _find(
        self,
        asked: Sequence[Asked],
        matching: Matching | None,
        positions: dict[int, dict[int, int]],
        deadline: Deadline,
        timing: types_pb2.Timing,
    ) -> Found:
        before, merge_seconds = time.perf_counter(), 0.0
        options, request = asked[0].options, asked[0].request()
        if len(asked) > 1:
            request.vectors_f32_le = b"".join(one.vector_f32_le for one in asked)
        try:
            found = await self._searcher.search(
                request,
                deadline.call_timeout_seconds("searching the shards"),
                vectors=len(asked),
                min_score=options.min_score,
                matching=matching,
                enough=options.min_coverage,
                min_positions=positions,
            )
            merge_seconds = found.merge_seconds
            return found
        finally:  # a search may need a second one
            timing.merge_seconds += merge_seconds
            timing.fanout_seconds += time.perf_counter() - before - merge_seconds

    def _check_coverage(
        self,
        outcome: Outcome[float],
        options: SearchOptions,
        collection: Collection,
    ) -> None:
        if outcome.covers(options.min_coverage):
            return
        with self._lost_only_if_current(collection):
            outcome.check_data(options.min_coverage)
        answered, total = len(outcome.answers), self._shards.count
        behind = any(e.reason is Reason.LOG_POSITION_NOT_REACHED for e in outcome.failures.values())
        raise UnavailableError(
            f"{answered} of {total} shards answered, min_coverage asks for {options.min_coverage:.3g}:"
            f" {outcome.degraded_reason}",
            reason=Reason.LOG_POSITION_NOT_REACHED if behind else Reason.COVERAGE_TOO_LOW,
            metadata={"shards_total": str(total), "shards_answered": str(answered)},
            retry_after_seconds=outcome.retry_after_seconds(),
        )


def _predict(response: search_pb2.SearchResponse, belief: Belief | None, predictions: int) -> None:
    if belief and belief.category:
        response.predicted_categories.extend(prediction_messages(belief.predictions(predictions)))
        response.predicted_category.names.extend(belief.category)


def _cover(coverage: types_pb2.Coverage, found: Found, shards_total: int) -> None:
    coverage.shards_total = shards_total
    coverage.shards_answered = len(found.outcome.answers)
    coverage.codes_scanned = sum(hits.codes_scanned for hits in found.hits)
    coverage.codes_total = found.codes_total
    coverage.degraded_reason = found.outcome.degraded_reason

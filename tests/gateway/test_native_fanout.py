"""The Python face of the native fan-out; ``native/serve/src/fanout/tests`` has what it does with shards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import structlog

from gateway.metrics import GatewayMetrics
from gateway.native_fanout import Found, Searcher
from gateway.peers import SilentError, UnreachableError
from lookalike.errors import (
    DataLossError,
    DeadlineError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from lookalike.runtime.metrics import Metrics
from lookalike.v1 import collection_pb2, hasher_pb2, search_pb2, types_pb2
from lookalike.wire import vectors
from tests.gateway.search_ports import SearchPort

if TYPE_CHECKING:
    from conftest import FakeShard

MakeShards = Callable[[int], "list[FakeShard]"]
SearchOver = Callable[..., Awaitable[Searcher]]
LONG = 60.0
"""Seconds that no test waits for."""
GENERATION = "shop.1"


@pytest.fixture
async def fakes(make_shards: MakeShards) -> list[FakeShard]:
    """Two shards with three items each."""
    shards = make_shards(2)
    for shard in shards:
        target = hasher_pb2.ShardIdentity(
            installation_id="installation", shard=shard.number, shard_count=2, layout_epoch=1
        )
        create = hasher_pb2.ApplyRequest(
            generation=GENERATION, request_id="c", create=collection_pb2.CollectionSpec(), target=target
        )
        await shard.apply(create, timeout_seconds=LONG)
        mutations = [
            hasher_pb2.Mutation(
                upsert=hasher_pb2.UpsertRow(
                    item=types_pb2.Item(item_id=f"i{shard.number}{n}", title="a title"),
                    vector_f32_le=vectors.to_bytes(_vector(n + shard.number / 2)),
                )
            )
            for n in range(3)
        ]
        write = hasher_pb2.ApplyRequest(
            generation=GENERATION,
            request_id="w",
            write=hasher_pb2.Mutations(mutations=mutations),
            target=target,
        )
        await shard.apply(write, timeout_seconds=LONG)
    return shards


def _vector(tilt: float) -> np.ndarray:
    return vectors.unit(np.array([1.0, tilt, 0, 0, 0, 0, 0, 0], np.float32), "vector")


async def _search(searcher: Searcher, timeout_seconds: float = LONG, **options: object) -> Found:
    request = hasher_pb2.HasherServiceSearchRequest(
        generation=GENERATION, vectors_f32_le=vectors.to_bytes(_vector(0)), k=4, group_by_product=True
    )
    return await searcher.search(request, timeout_seconds, **({"min_score": -1.0} | options))


def _ids(found: Found) -> list[str]:
    return [hit.item_id for hit in search_pb2.SearchResponse.FromString(found.hits[0].encoded).hits]


async def test_the_best_hits_of_all_shards(fakes: list[FakeShard], search_over: SearchOver) -> None:
    found = await _search(await search_over(fakes))
    assert _ids(found) == ["i00", "i10", "i01", "i11"]
    (hits,) = found.hits
    assert (hits.count, hits.best_score, hits.codes_scanned) == (4, 1.0, 6)
    assert list(found.outcome.answers) == [0, 1]
    assert found.codes_total == 6
    assert found.stage_seconds[2] == 0.002
    assert found.merge_seconds > 0


async def test_many_searches_at_once(fakes: list[FakeShard], search_over: SearchOver) -> None:
    searcher = await search_over(fakes)
    for found in await asyncio.gather(*(_search(searcher, min_score=0.9) for _ in range(100))):
        assert _ids(found) == ["i00"]
    assert not searcher._waiting


def _note_metadata(monkeypatch: pytest.MonkeyPatch, key: str) -> list[str]:
    """Takes down the metadata of each search that comes to a shard."""
    values: list[str] = []
    answer = SearchPort.Search

    async def noting(self: SearchPort, request: object, context: object) -> object:
        values.append(dict(context.invocation_metadata())[key])  # type: ignore[attr-defined]
        return await answer(self, request, context)  # type: ignore[arg-type]

    monkeypatch.setattr(SearchPort, "Search", noting)
    return values


async def test_the_request_id_goes_along(
    fakes: list[FakeShard], search_over: SearchOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = _note_metadata(monkeypatch, "x-request-id")
    searcher = await search_over(fakes)
    with structlog.contextvars.bound_contextvars(request_id="r-17"):
        await _search(searcher)
    assert ids == ["r-17", "r-17"]


class FakeSpan:
    """Takes how a call ended."""

    def __init__(self, number: int) -> None:
        self.headers = {"traceparent": f"span-{number}"}
        self.ended: list[tuple[BaseException | None, float | None]] = []

    def end(self, error: BaseException | None = None, seconds: float | None = None) -> None:
        self.ended.append((error, seconds))


async def test_each_call_of_a_traced_search_has_a_span(
    fakes: list[FakeShard], search_over: SearchOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = [FakeSpan(number) for number in range(2)]
    monkeypatch.setattr("gateway.native_fanout.begin_outgoing", lambda name, attributes: spans)
    sent = _note_metadata(monkeypatch, "traceparent")
    searcher = await search_over(fakes)
    found = await _search(searcher)
    assert sorted(sent) == ["span-0", "span-1"]
    assert [span.ended for span in spans] == [[(None, found.shard_seconds[n])] for n in range(2)]
    fakes[0].failure, fakes[1].failure = None, UnavailableError("down")
    found = await _search(searcher)
    assert spans[1].ended[-1] == (found.outcome.failures[1], None)
    fakes[1].failure = InvalidInputError("mistake")
    with pytest.raises(InvalidInputError) as caught:
        await _search(searcher)
    assert [span.ended[-1] for span in spans] == [(caught.value, None)] * 2


async def test_a_search_that_nobody_waits_for_ends_on_the_shards(
    fakes: list[FakeShard], search_over: SearchOver
) -> None:
    ended = asyncio.Event()

    async def hang(*_: object, **__: object) -> hasher_pb2.HasherServiceSearchResponse:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    begun = asyncio.Event()
    fakes[1].search = hang  # type: ignore[method-assign]
    searcher = await search_over(fakes)
    waiting = asyncio.ensure_future(_search(searcher))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(ended.wait(), LONG)
    assert not searcher._waiting


@pytest.mark.parametrize(
    ("failure", "kind", "reason", "words"),
    [
        (UnavailableError("full", reason=Reason.DISK_FULL), UnavailableError, Reason.DISK_FULL, "full"),
        (OverloadedError("busy", retry_after_seconds=7), OverloadedError, Reason.OVERLOADED, "busy"),
        (NotFoundError("gone"), NotFoundError, NotFoundError.default_reason, "gone"),
        (DataLossError("page 7"), DataLossError, DataLossError.default_reason, "page 7"),
        (
            UnreachableError("10.0.0.7"),
            UnreachableError,
            Reason.SHARD_UNAVAILABLE,
            "the shard cannot be reached",
        ),
        (LookalikeError("line 7"), LookalikeError, Reason.INTERNAL, "the shard failed"),
        (ValueError("line 7"), LookalikeError, Reason.INTERNAL, "the shard failed"),
        (DeadlineError("x"), DeadlineError, DeadlineError.default_reason, "x"),
    ],
)
async def test_failures_of_a_shard_are_typed(
    fakes: list[FakeShard],
    search_over: SearchOver,
    failure: Exception,
    kind: type[LookalikeError],
    reason: Reason,
    words: str,
) -> None:
    fakes[1].failure = failure  # type: ignore[assignment]
    outcome = (await _search(await search_over(fakes))).outcome
    error = outcome.failures[1]
    assert (type(error), error.reason, error.message) == (kind, reason, words)
    assert list(outcome.answers) == [0]
    assert outcome.retry_after_seconds() == (7 if kind is OverloadedError else 0)


async def test_the_callers_mistake_is_raised(fakes: list[FakeShard], search_over: SearchOver) -> None:
    searcher = await search_over(fakes)
    fakes[0].hangs = True
    for mistake in (InvalidInputError("bad vector", field="vectors"), FailedPreconditionError("model")):
        fakes[1].failure = mistake
        with pytest.raises(type(mistake), match=mistake.message) as caught:
            await _search(searcher)
        assert (caught.value.reason, caught.value.field) == (mistake.reason, mistake.field)


async def test_an_answer_that_is_too_large_is_the_callers_to_shrink(
    fakes: list[FakeShard], search_over: SearchOver
) -> None:
    for row in fakes[0].generations[GENERATION].rows.values():
        row.stored.item.title = "x" * (8 << 20)
    with pytest.raises(InvalidInputError, match="answer does not fit into one message") as caught:
        await _search(await search_over(fakes))
    assert caught.value.reason is Reason.BATCH_TOO_LARGE


async def test_a_lost_shard_shows_in_metrics(fakes: list[FakeShard], search_over: SearchOver) -> None:
    registry = Metrics()
    metrics = GatewayMetrics(registry)
    metrics.watch_shards(2)
    searcher = await search_over(fakes, metrics)

    def sample(name: str, **labels: str) -> float | None:
        return registry.registry.get_sample_value(f"lookalike_gateway_{name}", labels)

    fakes[1].hangs = True
    for _ in range(400):
        outcome = (await _search(searcher, enough=0.5)).outcome
        if isinstance(outcome.failures[1], SilentError):
            break
        await asyncio.sleep(0.02)
    assert outcome.degraded_reason == "shard 1: not answering"
    assert sample("shard_silent", shard="1") == 1
    assert sample("shard_failures_total", shard="1", cause="silent") == 1
    assert sample("shard_failures_total", shard="1", cause="late") >= 3
    fakes[1].hangs = False
    for _ in range(400):
        if sample("shard_silent", shard="1") == 0:
            break
        await asyncio.sleep(0.02)
    assert (await _search(searcher, aside="probe")).outcome.degraded_reason == ""
    assert sample("shard_seconds_count", call="probe", shard="1") == 1


async def test_an_address_is_checked() -> None:
    with pytest.raises(ValueError, match="no address of a replica"):
        Searcher([["no address"]], "installation", 1, GatewayMetrics(Metrics()), 1 << 24)

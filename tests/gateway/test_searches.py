"""Which slots searches need, and what is refused before it is read, as callers see it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from gateway.config import GatewaySettings
from gateway.deadline import Deadline
from gateway.metrics import GatewayMetrics
from gateway.searches import SearchAdmission
from lookalike.errors import OverloadedError
from lookalike.runtime.metrics import Metrics
from lookalike.v1 import search_pb2, types_pb2
from lookalike.wire.status import error_from_rpc
from tests.gateway.searches import search_request

if TYPE_CHECKING:
    from conftest import StartGateway

BY_PHOTO = search_pb2.Query(image=types_pb2.Image(content=b"x"))
BY_PHOTOS = search_pb2.Query(images=types_pb2.ImageSet(images=[types_pb2.Image(content=b"x")]))
BY_ITEM = search_pb2.Query(item_id="a")


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (search_pb2.SearchRequest(query=BY_PHOTO), "photo_searches"),
        (search_pb2.SearchRequest(query=BY_PHOTOS, exact=True), "photo_searches"),
        (search_pb2.SearchRequest(query=BY_ITEM), "vector_searches"),
        (search_pb2.SearchRequest(), "vector_searches"),
        (search_pb2.SearchRequest(query=BY_ITEM, exact=True), "exact_searches"),
    ],
)
async def test_a_search_takes_a_slot_of_its_kind(request_: search_pb2.SearchRequest, what: str) -> None:
    metrics = Metrics()
    searches = SearchAdmission(GatewaySettings(data_folder=Path(), max_searches=1), GatewayMetrics(metrics))
    assert not searches.is_busy
    async with searches.slot(request_, Deadline(5)):
        assert searches.is_busy
        running = {
            one: metrics.registry.get_sample_value("lookalike_gateway_running_requests", {"what": one})
            for one in ("photo_searches", "vector_searches", "exact_searches")
        }
    assert [one for one, count in running.items() if count] == [what]


class Limits:
    """Keeps what a limiter of the server is given."""

    most: int | None = None

    def limit(self, most: int, message: str, retry_after_seconds: float) -> None:
        self.most = most
        assert message.startswith("too many")
        assert retry_after_seconds > 0

    def lift(self) -> None:
        self.most = None

    def refused(self) -> int:
        return 0


@pytest.mark.parametrize("others", [False, True])
async def test_photos_are_refused_unread_while_nothing_else_comes(others: bool) -> None:
    settings = GatewaySettings(data_folder=Path(), max_searches=1, search_burst_seconds=0.01)
    searches, limits = SearchAdmission(settings, GatewayMetrics(Metrics())), Limits()
    searches.refuse_by(limits)  # type: ignore[arg-type]
    photo = search_pb2.SearchRequest(query=BY_PHOTO)

    async def search() -> None:
        async with searches.slot(photo, Deadline(60)):
            await asyncio.sleep(0.01)

    asked = []
    while not searches._by_photo.is_over:  # more are asked than are answered
        asked.append(asyncio.create_task(search()))
        await asyncio.sleep(0.004)
    if others:
        async with searches.slot(search_pb2.SearchRequest(query=BY_ITEM), Deadline(5)):
            pass
        assert limits.most is None
    else:
        assert limits.most == 2, "one that runs and one that waits"
    await asyncio.gather(*asked, return_exceptions=True)


async def test_under_overload_searches_are_refused_before_they_are_read(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(1, max_searches=1, search_burst_seconds=0.05)
    await gateway.fill(5, products=5)
    gateway.shards[0].delay_seconds = 0.1

    def search() -> asyncio.Future[search_pb2.SearchResponse]:
        return asyncio.ensure_future(gateway.search.Search(search_request(), timeout=30))

    waiting: list[asyncio.Future[search_pb2.SearchResponse]] = []
    # More are asked than are answered; after a while that is no burst any more.
    while gateway.sample("overloaded", what="vector_searches") != 1:
        waiting.append(search())
        await asyncio.sleep(0.02)
    gateway.shards[0].hangs = True  # who runs and who waits now stay
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_pb2.SearchRequest(), timeout=30)
    error = error_from_rpc(caught.value)
    assert isinstance(error, OverloadedError), "that it lacks a query would be found later"
    assert error.retry_after_seconds > 0
    for call in waiting:
        call.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

"""Probabilities in the hits of searches, and whose calibration makes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from gateway.matching import Calibrations
from lookalike.errors import Reason, UnavailableError
from lookalike.matching import DEPTH, MatchCalibration
from lookalike.v1 import collection_pb2, embedder_pb2, search_pb2, types_pb2
from tests.gateway.fake_embedder import MODEL
from tests.gateway.searches import (
    CODE,
    IMAGE,
    details_of,
    in_category,
    search_request,
    vector_query,
)

if TYPE_CHECKING:
    from conftest import Gateway, StartGateway

OF_MODEL = MatchCalibration(8.0, 0.4, 0.3, 0.2, fitted_searches=300)
OWN = MatchCalibration(30.0, 0.9, 0.0, 0.0, fitted_searches=50)
StartCalibrated = Callable[..., Awaitable["Gateway"]]


@pytest.fixture
def start_calibrated(start_gateway: StartGateway) -> StartCalibrated:
    """Starts a gateway whose embedder's model has a calibration, with a filled collection."""

    async def start(**settings: object) -> Gateway:
        gateway = await start_gateway(**settings)
        gateway.embedder.match_calibration = OF_MODEL
        await gateway.fill(60, products=20)
        await known(gateway)
        return gateway

    return start


@pytest.fixture
async def calibrated(start_calibrated: StartCalibrated) -> Gateway:
    return await start_calibrated()


async def known(gateway: Gateway) -> None:
    """Lets the gateway learn what the embedder serves now."""
    await gateway.search.GetServerInfo(search_pb2.GetServerInfoRequest())


async def search(gateway: Gateway, **fields: object) -> search_pb2.SearchResponse:
    response: search_pb2.SearchResponse = await gateway.search.Search(search_request(**fields))
    return response


async def set_own(gateway: Gateway, calibration: MatchCalibration | None, model: str = MODEL) -> None:
    request = collection_pb2.SetMatchCalibrationRequest(collection="shop")
    if calibration:
        request.match_calibration.CopyFrom(calibration.to_message(model))
    await gateway.collections.SetMatchCalibration(request)


def probabilities(response: search_pb2.SearchResponse) -> list[float]:
    assert all(hit.HasField("match_probability") for hit in response.hits)
    return [hit.match_probability for hit in response.hits]


def expected(calibration: MatchCalibration, response: search_pb2.SearchResponse) -> list[float]:
    scores = np.array([[hit.score for hit in response.hits]], np.float32)
    found: list[float] = calibration.probabilities(scores)[0].tolist()
    return found


@pytest.mark.parametrize("k", [DEPTH, 20])
async def test_hits_say_how_likely_they_are_right(calibrated: Gateway, k: int) -> None:
    for query in (vector_query([1.0] * 8), IMAGE, search_pb2.Query(item_id="item-0003")):
        response = await search(calibrated, query=query, k=k)
        assert probabilities(response) == pytest.approx(expected(OF_MODEL, response), abs=1e-6)
        assert response.match_calibration_version == OF_MODEL.version


async def test_few_hits_have_the_probabilities_that_they_have_among_many(calibrated: Gateway) -> None:
    many = await search(calibrated)
    for shard in calibrated.shards:
        shard.searched.clear()
    few = await search(calibrated, k=2)
    assert few.hits == many.hits[:2]
    assert {request.k for shard in calibrated.shards for request in shard.searched} == {DEPTH}
    above = (many.hits[0].score + many.hits[1].score) / 2
    assert (await search(calibrated, min_score=above)).hits == many.hits[:1]


async def test_items_have_the_probability_of_their_product(calibrated: Gateway) -> None:
    grouped = await search(calibrated, k=20)
    items = await search(calibrated, k=60, group_by_product=False)
    of_product = {hit.product_id: hit.match_probability for hit in grouped.hits}
    assert len(items.hits) == 60
    assert probabilities(items) == pytest.approx([of_product[hit.product_id] for hit in items.hits])


async def test_searches_of_one_call_say_what_single_ones_do(calibrated: Gateway) -> None:
    searches = [search_request(query=vector_query([1.0, i] + [0.0] * 6), k=3) for i in range(64)]
    answer = await calibrated.search.MultiSearch(search_pb2.MultiSearchRequest(searches=searches))
    for request, result in zip(searches, answer.results, strict=True):
        alone = await calibrated.search.Search(request)
        assert result.response.hits == alone.hits
        assert result.response.match_calibration_version == OF_MODEL.version
        probabilities(alone)


async def test_less_likely_hits_are_left_out_on_demand(calibrated: Gateway) -> None:
    everything = await search(calibrated)
    middle = (everything.hits[1].match_probability + everything.hits[2].match_probability) / 2
    assert (await search(calibrated, min_match_probability=middle)).hits == everything.hits[:2]
    assert not (await search(calibrated, min_match_probability=1.0)).hits


async def test_without_a_calibration_there_are_none(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    await known(gateway)
    response = await search(gateway, k=3)
    assert not any(hit.HasField("match_probability") for hit in response.hits)
    assert response.match_calibration_version == ""
    assert {request.k for shard in gateway.shards for request in shard.searched} == {3}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await search(gateway, min_match_probability=0.5)
    assert details_of(caught.value) == (
        CODE.FAILED_PRECONDITION,
        Reason.MATCH_NOT_CALIBRATED,
        "min_match_probability",
    )


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
async def test_no_probability_is_demanded_that_there_is_not(calibrated: Gateway, value: float) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await search(calibrated, min_match_probability=value)
    assert details_of(caught.value) == (
        CODE.INVALID_ARGUMENT,
        Reason.FIELD_OUT_OF_RANGE,
        "min_match_probability",
    )


async def test_probabilities_outlast_the_embedder_and_its_model(calibrated: Gateway) -> None:
    before = probabilities(await search(calibrated))
    calibrated.embedder.failure = UnavailableError("gone", reason=Reason.EMBEDDER_UNAVAILABLE)
    await known(calibrated)
    assert probabilities(await search(calibrated)) == before
    calibrated.embedder.failure = None
    calibrated.embedder.model_version, calibrated.embedder.match_calibration = "model-b", OWN
    await known(calibrated)
    assert probabilities(await search(calibrated)) == before
    await calibrated.create("other")
    info = await calibrated.search.GetServerInfo(search_pb2.GetServerInfoRequest())
    assert info.match_calibration_version == OWN.version
    in_use = await calibrated.collections.GetCollection(collection_pb2.GetCollectionRequest(name="other"))
    assert in_use.match_calibration == OWN.to_message("model-b")
    assert not in_use.collection.HasField("match_calibration")


async def test_a_model_that_was_never_heard_of_is_asked_for_again(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    gateway.embedder.failure = UnavailableError("gone", reason=Reason.EMBEDDER_UNAVAILABLE)
    calibrations = Calibrations()
    collection = gateway.directory.resolve("shop")
    assert calibrations.matching(collection, None) is None
    with pytest.raises(UnavailableError) as caught:
        calibrations.matching(collection, 0.5)
    assert caught.value.reason is Reason.EMBEDDER_UNAVAILABLE


async def test_a_collection_s_own_calibration_comes_first_and_can_be_taken_away(calibrated: Gateway) -> None:
    await set_own(calibrated, OWN)
    response = await search(calibrated)
    assert probabilities(response) == pytest.approx(expected(OWN, response), abs=1e-6)
    assert response.match_calibration_version == OWN.version
    shown = await calibrated.collections.GetCollection(collection_pb2.GetCollectionRequest(name="shop"))
    assert shown.match_calibration == shown.collection.match_calibration == OWN.to_message(MODEL)
    await set_own(calibrated, None)
    assert (await search(calibrated)).match_calibration_version == OF_MODEL.version


async def test_it_holds_without_one_of_the_model_and_by_alias(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    await gateway.collections.SetAlias(
        collection_pb2.SetAliasRequest(alias=collection_pb2.Alias(name="live", collection="shop"))
    )
    request = collection_pb2.SetMatchCalibrationRequest(
        collection="live", match_calibration=OWN.to_message(MODEL)
    )
    answer = await gateway.collections.SetMatchCalibration(request)
    assert (answer.collection.name, answer.collection.match_calibration.version) == ("shop", OWN.version)
    probabilities(await search(gateway, collection="live"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"slope": 0.0}, (CODE.INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "match_calibration.slope")),
        ({"density": 2.0}, (CODE.INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE", "match_calibration.density")),
        (
            {"model_version": "model-b"},
            (CODE.FAILED_PRECONDITION, "MODEL_VERSION_MISMATCH", "match_calibration.model_version"),
        ),
    ],
)
async def test_a_calibration_that_cannot_be_is_refused(
    calibrated: Gateway, change: dict[str, object], error: tuple[grpc.StatusCode, str, str]
) -> None:
    message = OWN.to_message(MODEL)
    message.MergeFrom(types_pb2.MatchCalibration(**change))
    if "slope" in change:
        message.ClearField("slope")
    request = collection_pb2.SetMatchCalibrationRequest(collection="shop", match_calibration=message)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calibrated.collections.SetMatchCalibration(request)
    assert details_of(caught.value) == error
    assert (await search(calibrated)).match_calibration_version == OF_MODEL.version


async def test_one_that_this_version_cannot_read_is_as_none(calibrated: Gateway) -> None:
    calibrations = Calibrations()
    message = OF_MODEL.to_message(MODEL)
    message.slope = -1
    calibrations.take(embedder_pb2.GetModelResponse(model_version=MODEL, match_calibration=message))
    assert calibrations.of(calibrated.directory.resolve("shop")) is None


async def test_the_best_hits_of_unfiltered_searches_show_by_collection(calibrated: Gateway) -> None:
    first = await search(calibrated)
    await search(calibrated, filter=in_category("Kitchen"))
    await search(calibrated, min_match_probability=1.0)
    assert calibrated.sample("top_match_ratio_count", collection="shop") == 2
    best = first.hits[0].match_probability
    assert calibrated.sample("top_match_ratio_sum", collection="shop") == pytest.approx(2 * best)

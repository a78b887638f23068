"""The category trees of models, and what is predicted from their paths' probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from gateway.categories.trees import Trees, mean_of
from lookalike.errors import LookalikeError
from lookalike.v1 import embedder_pb2, types_pb2
from lookalike.wire.vectors import to_bytes
from tests.gateway.searches import CODE, IMAGE, photos_query, search_request

if TYPE_CHECKING:
    from conftest import Gateway

import numpy as np

PATHS = {("a", "1"): 0.3, ("a", "2"): 0.3, ("b", "1"): 0.4}


def answer(*posteriors: list[float], paths: bool = True, version: str = "m") -> embedder_pb2.EmbedResponse:
    response = embedder_pb2.EmbedResponse(model_version=version)
    for posterior in posteriors:
        response.results.add().embedded.path_probabilities_f32_le = to_bytes(np.array(posterior, np.float32))
    if paths:
        response.paths.extend(types_pb2.CategoryPath(names=path) for path in PATHS)
    return response


def wants_paths(trees: Trees, version: str = "m") -> bool:
    request = embedder_pb2.EmbedRequest(model_version=version)
    trees.ask(request)
    assert request.with_path_probabilities
    return request.with_paths


async def test_predictions_are_one_path(gateway: Gateway) -> None:
    gateway.embedder.categories = PATHS
    await gateway.create()
    response = await gateway.search.Search(search_request(query=IMAGE))
    assert tuple(response.predicted_category.names) == ("b", "1")
    predicted = [
        (tuple(one.category.names), one.level, round(one.probability, 5))
        for one in response.predicted_categories
    ]
    meta, level2 = types_pb2.CATEGORY_LEVEL_META, types_pb2.CATEGORY_LEVEL_LEVEL2
    assert predicted == [
        (("b",), meta, 0.4),
        (("a",), meta, 0.6),
        (("b", "1"), level2, 0.4),
        (("a", "1"), level2, 0.3),
        (("a", "2"), level2, 0.3),
    ]


async def test_a_tree_is_asked_for_once(gateway: Gateway) -> None:
    await gateway.create()
    for query in (IMAGE, IMAGE, photos_query(b"one", b"two")):
        await gateway.search.Search(search_request(query=query))
    assert gateway.embedder.asked_for_paths == 1


async def test_a_model_without_categories_predicts_nothing(gateway: Gateway) -> None:
    gateway.embedder.categories = {}
    await gateway.create()
    for query in (IMAGE, photos_query(b"one", b"two")):
        response = await gateway.search.Search(search_request(query=query))
        assert not response.predicted_categories
        assert not response.HasField("predicted_category")


async def test_probabilities_that_do_not_fit_the_tree_are_a_defect(gateway: Gateway) -> None:
    await gateway.create()
    await gateway.search.Search(search_request(query=IMAGE))
    gateway.embedder.categories = PATHS
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request(query=IMAGE))
    assert caught.value.code() == CODE.INTERNAL


def test_each_model_has_its_own_tree() -> None:
    trees = Trees()
    for number in range(20):
        version = f"m{number}"
        assert wants_paths(trees, version)
        assert len(trees.beliefs(answer([0.2, 0.3, 0.5], version=version))) == 1
        assert not wants_paths(trees, version)
    assert wants_paths(trees, "m0"), "the oldest are forgotten"
    assert not wants_paths(trees, "m19")


def test_an_embedder_that_knows_no_paths_is_asked_again() -> None:
    trees = Trees()
    assert trees.beliefs(answer([], paths=False)) == ()
    assert wants_paths(trees)
    assert trees.beliefs(answer([0.2, 0.3, 0.5]))[0].category == ("b", "1")
    assert trees.beliefs(answer([], paths=False)) == ()
    with pytest.raises(LookalikeError):
        trees.beliefs(answer([0.5, 0.5], paths=False))


def test_several_photos_say_their_mean() -> None:
    mean = mean_of(Trees().beliefs(answer([1, 0, 0], [0.2, 0.2, 0.6], [0, 0.7, 0.3])))
    assert mean
    assert mean.posterior == pytest.approx([0.4, 0.3, 0.3])
    assert mean_of(()) is None

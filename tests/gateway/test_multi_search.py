"""Searches of one call that are alike, and are made together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.multi_search import groups_of
from lookalike import limits
from lookalike.errors import Reason, UnavailableError
from lookalike.v1 import search_pb2
from lookalike.wire.status import error_from_status
from tests.gateway.searches import IMAGE, in_category, search_request, vector_query

if TYPE_CHECKING:
    from conftest import Gateway

OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {"k": 300},
    {"k": 0},
    {"k": limits.MAX_K},
    {"effort": 0.5},
    {"probes": 3},
    {"filter": in_category("Kitchen")},
    {"min_log_position": "a"},
    {"collection": "other"},
    {"query": IMAGE},
    {"query": search_pb2.Query(item_id="item-1")},
    {"query": None},
    {"category_vote": True},
    {"category_gate": 1},
)


@given(st.lists(st.integers(0, len(OPTIONS) - 1), max_size=64))
def test_groups_are_alike_and_ask_for_no_more_than_one_search_may(chosen: list[int]) -> None:
    searches = [search_request(**{"query": vector_query([i]), **OPTIONS[n]}) for i, n in enumerate(chosen)]
    groups = groups_of(searches)
    assert sorted(number for group in groups for number in group) == list(range(len(searches)))
    for group in groups:
        assert len({chosen[number] for number in group}) == 1
        if len(group) > 1:
            assert not {"query", "category_vote", "category_gate"} & OPTIONS[chosen[group[0]]].keys()
            assert sum(searches[number].k for number in group) <= limits.MAX_K


async def test_searches_that_are_alike_are_one_call_of_each_shard(gateway: Gateway) -> None:
    await gateway.fill(60, products=20)
    rng = np.random.default_rng(3)
    searches = [search_request(query=vector_query(rng.normal(size=8).tolist())) for _ in range(5)]
    searches.insert(2, search_request(k=3))
    response = await gateway.search.MultiSearch(search_pb2.MultiSearchRequest(searches=searches))
    for shard in gateway.shards:
        assert sorted(len(one.vectors_f32_le) for one in shard.searched) == [32, 5 * 32]
    for search, result in zip(searches, response.results, strict=True):
        alone = await gateway.search.Search(search)
        assert result.response.hits == alone.hits
        assert result.response.coverage == alone.coverage
        assert result.response.model_version == alone.model_version


async def test_one_that_is_wrong_fails_alone(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    queries = [vector_query([1.0] * 8), vector_query([0.0] * 8), vector_query([1.0] * 7)]
    searches = [search_request(query=query) for query in queries]
    response = await gateway.search.MultiSearch(search_pb2.MultiSearchRequest(searches=searches))
    assert len(response.results[0].response.hits) == 10
    reasons = [error_from_status(result.error).reason for result in response.results[1:]]
    assert reasons == [Reason.VECTOR_ZERO, Reason.DIMENSION_MISMATCH]


async def test_what_ails_the_shards_is_not_asked_again(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    gateway.shards[0].failure = UnavailableError("the disk is full", reason=Reason.DISK_FULL)
    searches = [search_request(query=vector_query([1.0, i] + [0.0] * 6)) for i in range(4)]
    response = await gateway.search.MultiSearch(search_pb2.MultiSearchRequest(searches=searches))
    reasons = {error_from_status(result.error).reason for result in response.results}
    assert reasons == {Reason.COVERAGE_TOO_LOW}
    assert len(gateway.shards[1].searched) == 1


async def test_each_counts_as_a_search(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    searches = [search_request(query=vector_query([1.0, i] + [0.0] * 6)) for i in range(4)]
    await gateway.search.MultiSearch(search_pb2.MultiSearchRequest(searches=searches))
    for name in ("coverage_ratio_count", "top_score_ratio_count"):
        assert gateway.sample(name) == 4
    assert gateway.sample("stage_seconds_count", stage="fanout") == 4

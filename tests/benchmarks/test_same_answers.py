"""The comparison of two checkouts: what differs, what does not, and searches that are the same for both."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from benchmarks.random_searches import Searches, items_of
from benchmarks.same_answers import (
    ATTEMPTS,
    Answer,
    Failure,
    Found,
    Installation,
    asked,
    compare,
    differences,
    report,
)
from deploy.local.process import ROOT
from lookalike.v1 import search_pb2, types_pb2

REFUSED = Failure("INVALID_ARGUMENT", "FIELD_INVALID", "k", "k must be 1 to 1000", "{}")


def answer(*hits: tuple[str, float], title: str = "", answered: int = 2) -> search_pb2.SearchResponse:
    return search_pb2.SearchResponse(
        hits=[search_pb2.Hit(item_id=name, score=score, title=title) for name, score in hits],
        coverage=types_pb2.Coverage(shards_answered=answered, shards_total=2),
    )


WHOLE = answer(("a", 0.9), ("b", 0.8), ("c", 0.7))


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        (answer(("a", 0.9), ("b", 0.8), ("c", 0.7)), []),
        (
            answer(("a", 0.9), ("b", 0.8)),
            ["number of hits", "set of hits", "order of hits", "content of hits"],
        ),
        (answer(("a", 0.9), ("b", 0.8), ("d", 0.7)), ["set of hits", "order of hits", "content of hits"]),
        (answer(("b", 0.9), ("a", 0.8), ("c", 0.7)), ["order of hits"]),
        (answer(("a", 0.9), ("b", 0.8), ("c", 0.7), title="t"), ["content of hits"]),
        (answer(("a", 0.9), ("b", 0.8), ("c", 0.7), answered=1), ["coverage"]),
        (answer(("a", 0.9), ("b", 0.8), ("c", 0.71)), ["scores"]),
        (REFUSED, ["code"]),
    ],
)
def test_what_differs_is_named(other: Answer, differing: list[str]) -> None:
    assert differences(WHOLE, other, 0.0) == differing
    assert sorted(differences(other, WHOLE, 0.0)) == sorted(differing)


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        # Within the tolerance places are exchanged, and the last hit is another one.
        (answer(("a", 0.9), ("c", 0.755), ("b", 0.75)), []),
        (answer(("a", 0.9), ("b", 0.8), ("d", 0.72)), []),
        (answer(("d", 0.9), ("b", 0.8), ("c", 0.7)), ["set of hits", "order of hits", "content of hits"]),
        (answer(("a", 0.9), ("b", 0.8), ("c", 0.6)), ["scores"]),
        (
            answer(("a", 0.9), ("b", 0.8)),
            ["number of hits", "set of hits", "order of hits", "content of hits"],
        ),
    ],
)
def test_near_scores_may_change_places(other: Answer, differing: list[str]) -> None:
    assert differences(WHOLE, other, 0.06) == differing


@pytest.mark.parametrize("part", ["reason", "field", "message", "metadata"])
def test_failures_are_compared_by_all_their_parts(part: str) -> None:
    other = replace(REFUSED, **{part: "another"})
    assert differences(REFUSED, other, 0.5) == [part]


def test_a_failure_has_its_reason_and_its_field() -> None:
    status = status_pb2.Status(code=3, message="k must be 1 to 1000")
    info = error_details_pb2.ErrorInfo(reason="FIELD_INVALID", metadata={"b": "2", "a": "1"})
    bad = error_details_pb2.BadRequest(field_violations=[{"field": "k"}])
    for detail in (info, bad):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    read = Failure.of_status(status)
    assert read == Failure("INVALID_ARGUMENT", "FIELD_INVALID", "k", status.message, '{"a": "1", "b": "2"}')


def asking(*answers: Iterable[Answer]) -> Any:
    """Answers with each in turn."""
    left = iter(answers)
    return lambda message: list(next(left))


def test_what_a_busy_machine_answers_is_asked_again() -> None:
    busy = Failure("RESOURCE_EXHAUSTED", "OVERLOADED", "", "later", "{}")
    part = answer(("a", 0.9), answered=1)
    ours, theirs = asking([busy], [part], [WHOLE]), asking([WHOLE], [WHOLE], [WHOLE])
    ((_, answers),) = asked([ours, theirs], b"")
    assert answers == [WHOLE, WHOLE]
    always = [[busy]] * ATTEMPTS, [[WHOLE]] * ATTEMPTS
    ((_, answers),) = asked([asking(*one) for one in always], b"")
    assert answers == [busy, WHOLE]


def test_several_searches_are_compared_one_by_one() -> None:
    searches = [search_pb2.SearchRequest(k=k) for k in (1, 2)]
    message = search_pb2.MultiSearchRequest(searches=searches)
    pairs = asked([asking([WHOLE, REFUSED]), asking([WHOLE, WHOLE])], message)
    assert pairs == [(searches[0], [WHOLE, WHOLE]), (searches[1], [REFUSED, WHOLE])]
    refused = asking(*[[REFUSED]] * ATTEMPTS)
    ((request, answers),) = asked([asking(*[[WHOLE, WHOLE]] * ATTEMPTS), refused], message)
    assert (request, answers) == (message, [WHOLE, REFUSED])


def test_all_differences_are_counted_and_some_are_shown() -> None:
    found = Found()
    for request in (search_pb2.SearchRequest(k=7), b"\x01\xff"):
        found.add(request, [WHOLE, REFUSED], 0.0, 2)
    found.add(b"", [REFUSED, WHOLE], 0.0, 2)
    found.add(b"", [WHOLE, WHOLE], 0.0, 2)
    assert found.outcomes == {"OK": 3, "INVALID_ARGUMENT FIELD_INVALID": 1}
    assert (found.hits, found.differing) == (9, {"code": 3})
    assert [one["search"] for one in found.examples] == ["k: 7", "01ff"]
    assert report(found).endswith("differing: code 3")


def test_a_checkout_without_its_extension_is_named(tmp_path: Path) -> None:
    (tmp_path / "lookalike").mkdir()
    with pytest.raises(FileNotFoundError, match="has no extension: run make setup there"):
        Installation(tmp_path, tmp_path / "data")


def test_equal_seeds_make_equal_searches() -> None:
    made = items_of(200, 8, 3)
    first, again, other = (
        [
            one if isinstance(one, bytes) else one.SerializeToString(deterministic=True)
            for one in islice(Searches(made, "c", seed), 300)
        ]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(set(first)) > 250


def test_items_have_twins_whose_scores_are_equal() -> None:
    made = items_of(300, 8, 3)
    assert len({vector.tobytes() for vector in made.vectors}) < 300
    assert [one.item_id for one in made.items] == [f"item-{number}" for number in range(300)]
    assert [one.item.item_id for one in made.upserts(290, 20)] == [f"item-{n}" for n in range(290, 300)]


def test_a_checkout_answers_like_itself(tmp_path: Path) -> None:
    given = argparse.Namespace(items=300, dim=16, seed=1, searches=120, tolerance=0.0, shown=3)
    found = compare((ROOT, ROOT), tmp_path, given)
    assert not found.differing, report(found)
    assert found.outcomes["OK"] > 60
    assert len(found.outcomes) > 3
    assert found.hits > 500

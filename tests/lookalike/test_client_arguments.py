"""What the client refuses before anything is sent: values of another type, single texts, odd durations."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.client import (
    AsyncClient,
    CategoryGate,
    Client,
    Equals,
    In,
    InCategory,
    Item,
    Search,
    calls,
    checks,
)
from lookalike.client.health import wait_until_serving
from lookalike.client.ingest import IngestPlan
from lookalike.errors import InvalidInputError, Reason
from lookalike.limits import MAX_DEADLINE_SECONDS

VECTOR = [1.0, 0.0, 0.0, 0.0]
NOT_UNICODE = "caf\udce9"
NOT_TEXT = [5, 1.5, b"bytes", ["a"], True, NOT_UNICODE]
NOT_TEXTS = ["one", b"one", 5, {"a": "b"}, Path("one"), [5], [None], [NOT_UNICODE], np.array("one")]
NOT_WHOLE = ["3", 3.0, True, None, [3]]
NOT_A_NUMBER = ["0.5", True, [0.5], 1j]
NOT_VERSIONS = [5, "a", ["a"], {"a": "1"}, {"a": 1.0}, {"a": -1}, {1: 1}]
NOT_A_PHOTO = [5, ["a.jpg"], np.zeros((2, 2, 3), np.uint8), True]
NOT_A_REGION = ["abcd", 5, (0, 0, 1), ("0", 0, 1, 1), {0: 1, 1: 2, 2: 3, 3: 4}]
NOT_A_VECTOR = [
    "1,2",
    ["1", "2"],
    [[1.0], [1.0, 2.0]],
    [None],
    [1j],
    [True],
    5,
    {"a": 1},
    [Decimal(1)],
    b"12",
]


def refused(make: Callable[[], object]) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        make()
    assert "\n" not in caught.value.message
    caught.value.message.encode()
    assert caught.value.field
    return caught.value


SEARCHES: dict[str, list[Any]] = {
    "image": NOT_A_PHOTO,
    "images": [*NOT_TEXTS[:5], [5]],
    "embedding": NOT_A_VECTOR,
    "item_id": NOT_TEXT,
    "k": NOT_WHOLE,
    "collection": [*NOT_TEXT, None],
    "exact": [1, "yes", None],
    "group_by_product": [1, "yes", None],
    "probes": NOT_WHOLE[:3],
    "effort": NOT_A_NUMBER,
    "filter": ["colour=blue", {"colour": "blue"}, [Equals("colour", "blue")]],
    "min_score": NOT_A_NUMBER,
    "min_match_probability": NOT_A_NUMBER,
    "min_coverage": NOT_A_NUMBER,
    "min_log_position": NOT_TEXT,
    "region": NOT_A_REGION,
    "category_vote": [1, "yes", None],
    "category_gate": [
        *(5, "shelf", ("leaf",), NOT_UNICODE, CategoryGate("shelf"), CategoryGate("leaf", mode="hide")),
        *(CategoryGate("leaf", mass=mass) for mass in ("0.9", True)),
    ],
}
ITEMS: dict[str, list[Any]] = {
    "item_id": [*NOT_TEXT, None],
    "product_id": [*NOT_TEXT, None],
    "title": [*NOT_TEXT, None],
    "category": [*NOT_TEXTS, None],
    "attributes": [
        *("price=1", [("price", "1")], None, {"price": 19.99}, {"price": None}, {5: "a"}),
        *({"price": NOT_UNICODE}, {NOT_UNICODE: "a"}, {"price": np.float32(1)}, {"price": Decimal(1)}),
    ],
    "image_uri": [*NOT_TEXT, Path("a")],
    "image": NOT_A_PHOTO,
    "region": NOT_A_REGION,
    "embedding": NOT_A_VECTOR,
    "embedding_model_version": NOT_TEXT,
    "if_version": NOT_WHOLE[:3],
}


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}-{value!r}")
        for name, values in table.items()
        for value in values
    ]


def test_every_field_has_its_cases() -> None:
    assert set(SEARCHES) == {field.name for field in fields(Search)}
    assert set(ITEMS) == {field.name for field in fields(Item)}


@pytest.mark.parametrize(("name", "value"), cases(SEARCHES))
def test_a_search_with_a_field_of_another_type_is_refused(name: str, value: Any) -> None:
    target = {} if name in ("image", "images", "embedding", "item_id") else {"image": b"jpeg"}
    error = refused(lambda: calls.search(Search(**{**target, name: value})))
    assert name in error.message or name in error.field


@pytest.mark.parametrize(("name", "value"), cases(ITEMS))
def test_an_item_with_a_field_of_another_type_is_refused_and_named(name: str, value: Any) -> None:
    source = {} if name in ("image", "embedding") else {"image": b"jpeg"}
    item = Item(**{"item_id": "lamp", **source, name: value})
    error = refused(lambda: calls.upsert([item], "default", None))
    assert name in error.message or name in error.field
    assert name == "item_id" or error.message.startswith("item 'lamp': ")


def test_a_number_as_an_attribute_is_refused_with_what_to_write() -> None:
    item = Item(item_id="b", embedding=VECTOR, attributes={"price": 19.99})
    error = refused(lambda: calls.upsert([item], "default", None))
    assert error.message == (
        "item 'b': attributes['price'] must be text, not float; write it as text, '19.99'"
    )
    assert error.field == "attributes['price']"


@pytest.mark.parametrize(
    "make",
    [
        *(lambda ids=ids: calls.delete(ids, "default", None) for ids in NOT_TEXTS),
        *(lambda ids=ids: calls.get(ids, "default", False) for ids in NOT_TEXTS),
        lambda: calls.upsert(Item(item_id="a", image=b"a"), "default", None),
        lambda: calls.upsert(["a"], "default", None),
        lambda: calls.upsert("a", "default", None),
        lambda: calls.multi_search(Search(image=b"a")),
        lambda: calls.multi_search(["a"]),
        lambda: calls.multi_search("a"),
        lambda: IngestPlan("a", "default", max_in_flight=1, retry_seconds=1),
        lambda: IngestPlan({"a": 1}, "default", max_in_flight=1, retry_seconds=1),
        lambda: calls.get_collection(5),
        lambda: calls.delete_collection(NOT_UNICODE),
        lambda: calls.set_alias("a", NOT_UNICODE),
        lambda: calls.set_alias(NOT_UNICODE, "a"),
        lambda: calls.delete_alias(NOT_UNICODE),
        lambda: calls.count(NOT_UNICODE),
        lambda: calls.get(["a"], NOT_UNICODE, False),
        lambda: calls.get(["a"], "default", "yes"),
        lambda: calls.delete(["a"], "default", NOT_UNICODE),
        *(
            lambda versions=versions: calls.delete(["a"], "default", None, versions)
            for versions in NOT_VERSIONS
        ),
        lambda: calls.create_collection("a", {"rerank": "int4"}),
        lambda: calls.create_collection("a", {"rerank": 8}),
        lambda: calls.create_collection("a", {"bits": "64"}),
        lambda: calls.create_collection("a", {}, repair=1),
        lambda: calls.list_page("default", 1.5, "", False),
        lambda: calls.classify(b"a", "5", None),
        lambda: calls.classify(b"a", 5, None, 7),
        lambda: Client(NOT_UNICODE),
        lambda: Client("localhost"),
        lambda: Client("http://localhost:7700"),
        lambda: Client(7700),
        lambda: Equals("colour", NOT_UNICODE),
        lambda: In("colour", "blue"),
        lambda: InCategory("Kitchen"),
    ],
)
def test_other_arguments_of_another_type_are_refused(make: Callable[[], object]) -> None:
    refused(make)


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1, "got -1"), (2**32, f"got {2**32}"), (10**5000, "must not be negative or huge")],
    ids=["negative", "large", "huge"],
)
def test_whole_numbers_that_no_message_carries_are_refused(value: int, text: str) -> None:
    error = refused(lambda: calls.search(Search(image=b"a", k=value)))
    assert text in error.message
    assert error.reason == Reason.FIELD_OUT_OF_RANGE
    assert refused(lambda: calls.search(Search(image=b"a", min_score=10**400))).field == "min_score"


def test_numbers_and_texts_of_numpy_are_taken() -> None:
    call = calls.search(
        Search(embedding=np.array([1, 2]), k=np.int64(5), effort=np.float32(0.5), exact=np.bool_(True))
    )
    assert (call.request.k, call.request.effort, call.request.exact) == (5, 0.5, True)
    ids = np.array(["a", "b"])
    assert list(calls.get(ids, "default", False).request.item_ids) == ["a", "b"]
    assert list(calls.get((id for id in "ab"), "default", False).request.item_ids) == ["a", "b"]


@pytest.mark.parametrize("path", ["nul\0.jpg", "\ud800.jpg", "x" * 5000, "."])
def test_paths_that_no_photo_has_are_refused(path: str) -> None:
    error = refused(lambda: calls.search(Search(image=path)))
    assert error.message.startswith("cannot read the photo '")
    assert len(error.message) < 250


def test_a_photo_whose_name_is_not_unicode_is_read(tmp_path: Path) -> None:
    photo = tmp_path / "caf\udce9.jpg"
    photo.write_bytes(b"jpeg")
    for path in (photo, str(photo)):
        assert calls.search(Search(image=path)).request.query.image.content == b"jpeg"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photo.jpg")
    assert "it is not a file" in refused(lambda: calls.search(Search(image=tmp_path / "photo.jpg"))).message


async def test_one_text_deletes_and_gets_nothing(target: str, store: Any) -> None:
    store.items = dict.fromkeys(["1", "2", "3", "SKU-123"])
    with Client(target) as client:
        for method in (client.delete, client.get):
            with pytest.raises(InvalidInputError, match="item_ids must be a sequence of ids, not one str"):
                await asyncio.to_thread(method, "SKU-123")
    async with AsyncClient(target) as other:
        with pytest.raises(InvalidInputError, match="not one str"):
            await other.delete("SKU-123")
    assert len(store.items) == 4


@pytest.mark.parametrize("seconds", [0, -1, math.nan, -math.inf, "5", True, None, Decimal(5)])
def test_what_is_not_a_duration_is_refused(seconds: Any) -> None:
    refused(lambda: Client(timeout_seconds=seconds))
    if seconds != 0:
        refused(lambda: IngestPlan([], "default", max_in_flight=1, retry_seconds=seconds))
        refused(lambda: wait_until_serving("127.0.0.1:1", timeout_seconds=seconds))


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 3600, 61])
async def test_long_timeouts_are_the_longest_deadline(target: str, seconds: float) -> None:
    assert checks.timeout(seconds, "timeout_seconds") == MAX_DEADLINE_SECONDS
    with Client(target, timeout_seconds=seconds) as client:
        assert await asyncio.to_thread(client.count) == 0
    async with AsyncClient(target) as other:
        assert await other.count(timeout_seconds=seconds) == 0
        with pytest.raises(InvalidInputError, match="timeout_seconds must be above 0 seconds, got nan"):
            await other.count(timeout_seconds=math.nan)


async def test_an_ingest_goes_on_after_an_item_that_cannot_be_sent(target: str, store: Any) -> None:
    good = [Item(item_id=name, embedding=VECTOR) for name in ("a", "c")]
    bad: list[Any] = [
        Item(item_id="b", embedding=VECTOR, attributes={"price": 19.99}),
        Item(item_id="t", embedding=VECTOR, category="Kitchen"),
        Item(item_id=5, embedding=VECTOR),
        Item(item_id="u", embedding=VECTOR, title=NOT_UNICODE),
        {"item_id": "dict"},
    ]
    with Client(target) as client:
        report = await asyncio.to_thread(client.ingest, [good[0], *bad, good[1]])
    assert report.acknowledged_count == 2
    assert sorted(store.items) == ["a", "c"]
    assert [failure.item_id for failure in report.failures] == ["b", "t", "5", "u", ""]
    assert {type(failure.error) for failure in report.failures} == {InvalidInputError}

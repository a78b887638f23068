"""One table of searches: what the search port refuses and answers.

What is expected was recorded when Python answered searches, too, and both did so alike
(``docs/adr/0017-search-port.md``).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from lookalike.v1 import hasher_pb2, types_pb2
from lookalike.wire.status import DETAILS_KEY
from lookalike.wire.vectors import to_bytes
from tests.hasher.conftest import Rows
from tests.hasher.served import Client, serve, upsert

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = Rows()
FIXTURES = Path(__file__).parent / "fixtures"


@cache
def _recorded(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return content


HOME = {"installation_id": "home", "shard": 0, "shard_count": 1, "layout_epoch": 1}
ONE = to_bytes(ROWS.vector("i1"))


def _condition(**test: Any) -> types_pb2.Condition:
    return types_pb2.Condition(**test)


def _equals(name: str, value: str = "x") -> types_pb2.Condition:
    return _condition(equals=types_pb2.AttributeEquals(name=name, value=value))


def _in(name: str, *values: str) -> types_pb2.Condition:
    return _condition(**{"in": types_pb2.AttributeIn(name=name, values=values)})


def _range(name: str, **bounds: float) -> types_pb2.Condition:
    return _condition(range=types_pb2.AttributeRange(name=name, **bounds))


def _category(*names: str) -> types_pb2.Condition:
    return _condition(in_category=types_pb2.CategoryPath(names=names))


def _categories(*paths: tuple[str, ...]) -> types_pb2.Condition:
    several = [types_pb2.CategoryPath(names=path) for path in paths]
    return _condition(in_categories=types_pb2.CategoryPaths(paths=several))


def _target(**fields: Any) -> hasher_pb2.ShardIdentity:
    return hasher_pb2.ShardIdentity(**{**HOME, **fields})


def _filters(**groups: list[types_pb2.Condition]) -> dict[str, Any]:
    return {"filter": types_pb2.Filter(**groups)}


REFUSED: dict[str, dict[str, Any]] = {
    "no target": {"target": None},
    "no installation": {"target": _target(installation_id="")},
    "a long installation": {"target": _target(installation_id="é" * 33)},
    "another installation": {"target": _target(installation_id="it's another\n")},
    "another shard": {"target": _target(shard=1, shard_count=2)},
    "another layout": {"target": _target(layout_epoch=2**63)},
    "a bad generation": {"generation": "../g"},
    "an odd generation": {"generation": "g\u2028\t\\'\"é茶\U0001f600\x7f"},
    "no generation": {"generation": ""},
    "a long generation": {"generation": "g" * 129},
    "a generation called as a file": {"generation": "identity.json"},
    "an unknown generation": {"generation": "g" * 128},
    "another model": {"model_version": "model-2"},
    "no model": {"model_version": ""},
    "k 0": {"k": 0},
    "k 1001": {"k": 1001},
    "probes 0": {"probes": 0},
    "effort below": {"effort": -0.00001},
    "effort above": {"effort": 1.1},
    "effort far above": {"effort": 1e20},
    "effort NaN": {"effort": float("nan")},
    "effort infinite": {"effort": float("-inf")},
    "effort and probes": {"effort": 0.5, "probes": 3},
    "no vectors": {"vectors_f32_le": b""},
    "part of a vector": {"vectors_f32_le": ONE + bytes(63)},
    "257 vectors": {"vectors_f32_le": ONE * 257},
    "NaN": {"vectors_f32_le": ONE + to_bytes(np.full(16, np.nan, np.float32))},
    "infinity": {"vectors_f32_le": to_bytes(np.full(16, -np.inf, np.float32))},
    "zero": {"vectors_f32_le": ONE + bytes(64)},
    "zero and NaN": {"vectors_f32_le": bytes(64) + to_bytes(np.full(16, np.nan, np.float32))},
    "k before vectors": {"k": 0, "vectors_f32_le": b""},
    "a position that never comes": {"min_positions": {0: 9, 3: 4}},
    "a position, then k": {"min_positions": {0: 9}, "k": 0},
    "no test": _filters(all=[_equals("a"), _condition()]),
    "no test in any": _filters(any=[_condition()], none=[_equals("")]),
    "equals without a name": _filters(none=[_equals("")]),
    "equals of a long name": _filters(all=[_equals("n" * 65)]),
    "equals of a long value": _filters(all=[_equals("n", "é" * 513)]),
    "in without a name": _filters(all=[_in("", "x")]),
    "in without values": _filters(all=[_in("n")]),
    "in of 1001": _filters(any=[_in("n", *["x"] * 1001)]),
    "in with a long value": _filters(any=[_in("n", "a", "b" * 1025)]),
    "range without a name": _filters(all=[_range("", min=1)]),
    "range from NaN": _filters(all=[_range("n", min=float("nan"), max=1)]),
    "range to NaN": _filters(all=[_range("n", min=5, max=float("nan"))]),
    "range upside down": _filters(all=[_range("n", min=123456.789, max=-1e-7)]),
    "range from infinity": _filters(all=[_range("n", min=float("inf"), max=1e100)]),
    "no category": _filters(all=[_category()]),
    "four categories": _filters(all=[_category("a", "b", "c", "d")]),
    "a gap in a category": _filters(all=[_category("a", "", "c")]),
    "a long category": _filters(all=[_category("a", "b" * 257)]),
    "none of several categories": _filters(all=[_categories()]),
    "an empty one of several categories": _filters(any=[_categories(("a",), ())]),
    "a gap in one of several categories": _filters(any=[_categories(("a", ""), ("b",))]),
    "1001 categories": _filters(none=[_categories(*[("a",)] * 1001)]),
    "65 conditions": _filters(all=[_equals("a")] * 40, none=[_equals("a")] * 25),
    "a large filter": _filters(all=[_in("n", *["v" * 1000] * 300)]),
}

ANSWERED: dict[str, dict[str, Any]] = {
    "one vector": {},
    "several vectors": {"vectors_f32_le": b"".join(to_bytes(ROWS.vector(f"i{n}")) for n in (1, 4, 9))},
    "any length": {"vectors_f32_le": to_bytes(100 * ROWS.vector("i2"))},
    "one hit": {"k": 1},
    "all hits": {"k": 1000},
    "products": {"group_by_product": True, "k": 7},
    "ties": {"vectors_f32_le": to_bytes(ROWS.vector("twin")), "k": 3},
    "ties of products": {
        "vectors_f32_le": to_bytes(ROWS.vector("twin")),
        "group_by_product": True,
        "k": 2,
    },
    "exact": {"exact": True},
    "exact products": {"exact": True, "group_by_product": True},
    "exact ties": {"vectors_f32_le": to_bytes(ROWS.vector("twin")), "exact": True, "k": 3},
    "exact ties of products": {
        "vectors_f32_le": to_bytes(ROWS.vector("twin")),
        "exact": True,
        "group_by_product": True,
        "k": 2,
    },
    "without one": {"exclude_item_id": "i1"},
    "without one that is not found": {"exclude_item_id": "i47", "k": 3},
    "without one that is not there": {"exclude_item_id": "nobody"},
    "products without one": {"exclude_item_id": "i1", "group_by_product": True},
    "exact without one": {"exclude_item_id": "i1", "exact": True},
    "exact products without one": {"exclude_item_id": "i1", "exact": True, "group_by_product": True},
    "all without one": {"exclude_item_id": "twin-2", "k": 1000},
    "most probes": {"probes": 2**32 - 1},
    "one probe": {"probes": 1},
    "no effort": {"effort": 0.0},
    "all effort": {"effort": 1.0},
    "a position": {"min_positions": {0: 2}},
    "an empty filter": _filters(),
    "a filter": _filters(all=[_equals("colour", "red"), _range("size", min=2, max=2)]),
    "another filter": _filters(any=[_in("colour", "red", "green"), _category("home", "mugs")]),
    "what nothing passes": _filters(all=[_equals("colour", "pink")]),
    "exact with a filter": {"exact": True, **_filters(none=[_equals("colour", "red")])},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["F32", "F16", "INT8"])
async def filled(tmp_path_factory: pytest.TempPathFactory, request: Any) -> AsyncIterator[Client]:
    """A shard with 60 items, three of which have one vector."""
    folder: Path = tmp_path_factory.mktemp("shard")
    async with serve(folder / "data", position_wait_seconds=0.05) as client:
        await client.create(rerank=f"RERANK_PRECISION_{request.param}")
        colours = ("red", "green", "blue")
        items = [
            upsert(ROWS, f"i{n}", f"p{n // 3}" if n % 4 else "", attributes={"colour": colours[n % 3]})
            for n in range(57)
        ]
        twin = to_bytes(ROWS.vector("twin"))
        # Their rows are in another order than their ids.
        items += [upsert(ROWS, f"twin-{n}", f"t{n % 2}", vector=twin) for n in (2, 1, 3)]
        await client.write(*items)
        client.rerank = request.param
        yield client


def _request(fields: dict[str, Any]) -> hasher_pb2.HasherServiceSearchRequest:
    given = {"generation": "g", "model_version": "model-1", "vectors_f32_le": ONE, "k": 5, "target": HOME}
    return hasher_pb2.HasherServiceSearchRequest(**{**given, **fields})


_DETAILS = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)


async def _refusal(client: Client, fields: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.plain_stub.Search(_request(fields), timeout=5)
    trailers = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers[DETAILS_KEY])
    assert (status.code, status.message) == (caught.value.code().value[0], caught.value.details())
    found: dict[str, Any] = {"code": caught.value.code().name, "message": status.message}
    for packed in status.details:
        detail = next(kind for kind in _DETAILS if packed.Is(kind.DESCRIPTOR))()
        packed.Unpack(detail)
        found |= _described(detail)
    assert found.pop("domain") == "lookalike"
    assert found.pop("description", status.message) == status.message
    return found


def _described(detail: Any) -> dict[str, Any]:
    match detail:
        case error_details_pb2.ErrorInfo():
            metadata = {"metadata": dict(detail.metadata)} if detail.metadata else {}
            return {"reason": detail.reason, "domain": detail.domain, **metadata}
        case error_details_pb2.BadRequest():
            (violation,) = detail.field_violations
            return {"field": violation.field, "description": violation.description}
        case _:
            return {"retry_after_seconds": detail.retry_delay.ToTimedelta().total_seconds()}


async def _answer(client: Client, fields: dict[str, Any]) -> dict[str, Any]:
    """Returns an answer as it is recorded."""
    answer = await client.plain_stub.Search(_request(fields), timeout=5)
    return {
        "codes_total": answer.codes_total,
        "position": answer.position,
        "codes_scanned": [result.codes_scanned for result in answer.results],
        "item_ids": [[hit.item_id for hit in result.hits] for result in answer.results],
        "scores": [[round(hit.score, 6) for hit in result.hits] for result in answer.results],
    }


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused(filled: Client, name: str) -> None:
    assert await _refusal(filled, REFUSED[name]) == _recorded("refusals")[name]


@pytest.mark.parametrize("name", ANSWERED)
async def test_what_is_answered(filled: Client, name: str) -> None:
    found = await _answer(filled, ANSWERED[name])
    expected = dict(_recorded("searches")[filled.rerank][name])
    scores = [score for row in expected.pop("scores") for score in row]
    # Processors round differently.
    assert [score for row in found.pop("scores") for score in row] == pytest.approx(scores, abs=1e-5)
    assert found == expected


async def test_nothing_is_answered_before_all_is_loaded(tmp_path: Path) -> None:
    async with serve(tmp_path / "data", load=False) as client:
        for target in (HOME, None):
            assert await _refusal(client, {"target": target}) == {
                "code": "UNAVAILABLE",
                "reason": "SHARD_UNAVAILABLE",
                "message": "the shard cannot answer yet: the generations are still being loaded",
                "retry_after_seconds": 1.0,
            }

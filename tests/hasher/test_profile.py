"""What a shard says of the rows of a generation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hasher.generation import Generation
from hasher.profile import FRESH_SECONDS, Profiler
from lookalike.v1 import hasher_pb2
from lookalike.wire.vectors import from_bytes
from tests.hasher.served import Client, upsert


def write(generation: Generation, rows: Any, request_id: str, *mutations: Any) -> None:
    generation.submit(rows.change(request_id, *mutations)).result(20)


async def test_a_profile_is_there_for_those_who_ask(client: Client, rows: Any) -> None:
    (info,) = (await client.stub.Describe(hasher_pb2.DescribeRequest(with_profile=True))).generations
    assert not info.HasField("profile"), "there are no rows"
    ids = [f"i{n}" for n in range(30)]
    await client.write(
        *(upsert(rows, i, category=["home" if n < 20 else "toys", "x"]) for n, i in enumerate(ids))
    )
    (info,) = (await client.stub.Describe(hasher_pb2.DescribeRequest())).generations
    assert not info.HasField("profile")
    (info,) = (await client.stub.Describe(hasher_pb2.DescribeRequest(with_profile=True))).generations
    assert info.profile.row_count == 30
    assert info.profile.meta_rows == {"home": 20, "toys": 10}
    (mean,) = from_bytes(info.profile.mean_f32_le, 16, "mean")
    np.testing.assert_allclose(mean, np.mean([rows.vector(i) for i in ids], axis=0), atol=1e-6)


def test_a_sample_stands_for_many_rows(generation: Generation, rows: Any) -> None:
    for start in range(0, 3000, 500):
        write(generation, rows, f"r{start}", *(rows.upsert(f"i{n}") for n in range(start, start + 500)))
    sample = generation.store.sample(400)
    assert len({item for item, _ in sample}) == 400
    again = generation.store.sample(400)
    assert {item for item, _ in sample} != {item for item, _ in again}
    gone = [rows.delete(f"i{n}") for n in range(2900)]
    for start in range(0, 2900, 500):
        write(generation, rows, f"d{start}", *gone[start : start + 500])
    assert 0 < len(generation.store.sample(400)) <= 100


def test_a_sample_is_kept_for_a_while(
    generation: Generation, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    profiler = Profiler(generation.store, lambda: now)
    assert profiler.profile() is None
    write(generation, rows, "a", rows.upsert("a"))
    assert profiler.profile().row_count == 1
    write(generation, rows, "b", rows.upsert("b"))
    assert profiler.profile().row_count == 1
    now += FRESH_SECONDS
    assert profiler.profile().row_count == 2

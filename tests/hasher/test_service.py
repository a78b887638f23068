"""The hasher over gRPC, in this process: the contract of ``hasher.proto``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from hasher.config import HasherSettings
from hasher.documents import document_of
from lookalike.errors import Reason
from lookalike.placement import partition_of, shard_of
from lookalike.v1 import collection_pb2, hasher_pb2
from lookalike.wire.status import error_from_status
from lookalike.wire.vectors import to_bytes
from tests.hasher.served import SPEC, Client, Code, delete, refusal, upsert


async def test_written_rows_are_found_read_and_listed(client: Client, rows: Any) -> None:
    mutations = [upsert(rows, f"i{n}", f"p{n % 3}") for n in range(9)]
    reply = await client.write(*mutations)
    assert reply.position == 2
    assert [(result.version, result.existed) for result in reply.results] == [(2, False)] * 9

    found = await client.search(np.stack([rows.vector("i4"), rows.vector("i5")]), k=2, group_by_product=True)
    assert (found.codes_total, found.position) == (9, 2)
    for result, mutation in zip(found.results, mutations[4:6], strict=True):
        best = result.hits[0]
        assert best.score == pytest.approx(1, abs=1e-5)
        best.ClearField("score")
        assert best.SerializeToString(deterministic=True) == document_of(mutation.upsert.item)
    assert [len({hit.product_id for hit in result.hits}) for result in found.results] == [2, 2]
    assert all(result.codes_scanned for result in found.results)

    got = await client.stub.Get(
        hasher_pb2.GetRequest(generation="g", item_ids=["i5", "none", "i0"], include_vectors=True)
    )
    assert [row.stored.item for row in got.rows] == [mutations[5].upsert.item, mutations[0].upsert.item]
    assert np.frombuffer(got.rows[0].vector_f32_le, "<f4") == pytest.approx(rows.vector("i5"), abs=1e-6)
    assert got.rows[0].stored.version == 2
    assert got.rows[0].stored.update_time.seconds > 1_700_000_000

    page = await client.stub.List(hasher_pb2.ListRequest(generation="g", after_item_id="i6", page_size=1))
    assert [row.stored.item.item_id for row in page.rows] == ["i7"]
    assert page.more
    assert not page.rows[0].vector_f32_le


async def test_conditional_writes_fail_one_by_one(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"), upsert(rows, "b"))
    reply = await client.write(
        upsert(rows, "a", if_version=2),
        upsert(rows, "b", if_version=9),
        upsert(rows, "c", if_version=1),
        upsert(rows, "d", if_version=0),
        delete("e"),
    )
    errors = [result.WhichOneof("outcome") == "error" for result in reply.results]
    assert errors == [False, True, True, False, False]
    error = error_from_status(reply.results[1].error)
    assert reply.results[1].error.code == Code.ABORTED.value[0]
    assert (error.reason, error.metadata) == (Reason.VERSION_CONFLICT, {"version": "2"})
    assert [result.existed for result in reply.results] == [True, True, False, False, False]
    assert reply.results[0].version > 2


async def test_retry_is_answered_alike_and_applied_once(client: Client, rows: Any) -> None:
    first, *others = await asyncio.gather(
        *(client.write(upsert(rows, "a"), request_id="same") for _ in range(5))
    )
    assert all(other == first for other in others)
    assert first.position == 2
    assert not first.results[0].existed
    code, error = await refusal(client.write(upsert(rows, "b"), request_id="same"))
    assert (code, error.reason) == (Code.INVALID_ARGUMENT, Reason.REQUEST_ID_REUSED)


async def test_digest_of_the_callers_request_decides_whether_a_retry_is_the_same(
    client: Client, rows: Any
) -> None:
    def write(item: str, digest: bytes) -> Any:
        mutations = hasher_pb2.Mutations(model_version="model-1", mutations=[upsert(rows, item)])
        return client.stub.Apply(
            hasher_pb2.ApplyRequest(
                generation="g", request_id="photo", content_digest=digest, write=mutations
            )
        )

    first = await write("a", b"1" * 32)
    assert await write("a", b"1" * 32) == first
    code, error = await refusal(write("a", b"2" * 32))
    assert (code, error.reason) == (Code.INVALID_ARGUMENT, Reason.REQUEST_ID_REUSED)
    code, error = await refusal(write("a", b"short"))
    assert (code, error.field) == (Code.INVALID_ARGUMENT, "content_digest")


BAD_VECTOR = to_bytes(np.full(16, np.nan, dtype=np.float32))
BAD_WRITES: dict[str, tuple[Callable[[Any], list[Any]], grpc.StatusCode, Reason, str]] = {
    "none": (lambda rows: [], Code.INVALID_ARGUMENT, Reason.FIELD_MISSING, "write.mutations"),
    "too many": (
        lambda rows: [delete(f"i{n}") for n in range(1001)],
        Code.INVALID_ARGUMENT,
        Reason.BATCH_TOO_LARGE,
        "write.mutations",
    ),
    "twice": (
        lambda rows: [upsert(rows, "a"), delete("a")],
        Code.INVALID_ARGUMENT,
        Reason.FIELD_INVALID,
        "write.mutations[1]",
    ),
    "no operation": (
        lambda rows: [hasher_pb2.Mutation()],
        Code.INVALID_ARGUMENT,
        Reason.FIELD_MISSING,
        "write.mutations[0]",
    ),
    "no id": (
        lambda rows: [upsert(rows, "")],
        Code.INVALID_ARGUMENT,
        Reason.FIELD_MISSING,
        "write.mutations[0].upsert.item.item_id",
    ),
    "long id": (
        lambda rows: [delete("é" * 65)],
        Code.INVALID_ARGUMENT,
        Reason.FIELD_OUT_OF_RANGE,
        "write.mutations[0].delete_item_id",
    ),
    "NaN": (
        lambda rows: [upsert(rows, "a"), upsert(rows, "b", vector=BAD_VECTOR)],
        Code.INVALID_ARGUMENT,
        Reason.VECTOR_NOT_FINITE,
        "write.mutations[1].upsert.vector_f32_le",
    ),
    "zero": (
        lambda rows: [upsert(rows, "a", vector=bytes(64))],
        Code.INVALID_ARGUMENT,
        Reason.VECTOR_ZERO,
        "write.mutations[0].upsert.vector_f32_le",
    ),
    "four levels": (
        lambda rows: [upsert(rows, "a", category=["a", "b", "c", "d"])],
        Code.INVALID_ARGUMENT,
        Reason.CATEGORY_INVALID,
        "write.mutations[0].upsert.item.category",
    ),
    "attribute without a name": (
        lambda rows: [upsert(rows, "a", attributes={"": "x"})],
        Code.INVALID_ARGUMENT,
        Reason.FIELD_INVALID,
        "write.mutations[0].upsert.item.attributes",
    ),
    "two vectors": (
        lambda rows: [upsert(rows, "a", vector=bytes(128))],
        Code.INVALID_ARGUMENT,
        Reason.DIMENSION_MISMATCH,
        "write.mutations[0].upsert.vector_f32_le",
    ),
}


@pytest.mark.parametrize("case", BAD_WRITES)
async def test_bad_write_changes_nothing(client: Client, rows: Any, case: str) -> None:
    make, *expected = BAD_WRITES[case]
    code, error = await refusal(client.write(*make(rows)))
    assert [code, error.reason, error.field] == expected
    listed = await client.stub.List(hasher_pb2.ListRequest(generation="g", page_size=10))
    assert not listed.rows


async def test_other_model_is_refused(client: Client, rows: Any) -> None:
    for call in (
        client.write(upsert(rows, "a"), model="model-2"),
        client.search(rows.vector(1), model_version="model-2"),
        client.search(rows.vector(1), model_version=""),
    ):
        code, error = await refusal(call)
        assert (code, error.reason) == (Code.FAILED_PRECONDITION, Reason.MODEL_VERSION_MISMATCH)
        assert error.metadata == {"expected": "model-1"}


async def test_item_of_another_shard_is_refused(shards: Any, rows: Any) -> None:
    client = await shards(number=1, count=2)
    await client.create()
    by_shard = {shard_of(partition_of(f"i{n}", 64), 2): f"i{n}" for n in range(20)}
    assert (await client.write(upsert(rows, by_shard[1]))).position == 2
    for mutation in (upsert(rows, by_shard[0]), delete(by_shard[0])):
        code, error = await refusal(client.write(mutation))
        assert (code, error.reason) == (Code.FAILED_PRECONDITION, Reason.SHARD_LAYOUT_MISMATCH)
    code, error = await refusal(
        client.stub.Get(hasher_pb2.GetRequest(generation="g", item_ids=[by_shard[1], by_shard[0]]))
    )
    assert (code, error.field) == (Code.FAILED_PRECONDITION, "item_ids[1]")


async def test_unknown_generation(client: Client, rows: Any) -> None:
    stub, unknown = client.stub, "unknown"
    for call in (
        client.search(rows.vector(1), generation=unknown),
        stub.Get(hasher_pb2.GetRequest(generation=unknown)),
        stub.List(hasher_pb2.ListRequest(generation=unknown, page_size=1)),
        stub.Describe(hasher_pb2.DescribeRequest(generation=unknown)),
        stub.Apply(hasher_pb2.ApplyRequest(generation=unknown, request_id="r", write=hasher_pb2.Mutations())),
    ):
        code, error = await refusal(call)
        assert (code, error.reason) == (Code.NOT_FOUND, Reason.COLLECTION_NOT_FOUND)
    dropped = await stub.Apply(
        hasher_pb2.ApplyRequest(generation=unknown, request_id="r", drop=hasher_pb2.DropGeneration())
    )
    assert dropped.position == 0


async def test_create_describe_drop(client: Client, rows: Any) -> None:
    assert (await client.create()).position == 1
    assert (await refusal(client.create(dimension=32)))[0] == Code.ALREADY_EXISTS
    await client.create("other")
    await client.write(upsert(rows, "a", "p"), upsert(rows, "b", "p"), upsert(rows, "c"))
    described = await client.stub.Describe(hasher_pb2.DescribeRequest())
    assert (described.shard, described.shard_count, described.isa) == (0, 1, "test")
    assert [info.generation for info in described.generations] == ["g", "other"]
    info = described.generations[0]
    assert (info.spec, info.item_count, info.product_count, info.position) == (SPEC, 3, 2, 2)
    assert info.index_bytes >= 3 * 16 * 4
    assert (info.failure, info.log_id) == ("", "direct")
    client.shard.generation("other").fail("of a test")
    described = await client.stub.Describe(hasher_pb2.DescribeRequest(generation="other"))
    assert [info.failure for info in described.generations] == ["of a test"]
    drop = hasher_pb2.ApplyRequest(generation="other", request_id="d", drop=hasher_pb2.DropGeneration())
    assert (await client.stub.Apply(drop)).position == 1
    described = await client.stub.Describe(hasher_pb2.DescribeRequest())
    assert [info.generation for info in described.generations] == ["g"]


@pytest.mark.parametrize(
    "spec",
    [
        {"model_version": "m", "dimension": 1, "bits": 64, "partition_count": 1},
        {"model_version": "m", "dimension": 4097, "bits": 64, "partition_count": 1},
        {"model_version": "m", "dimension": 16, "bits": 100, "partition_count": 1},
        {"model_version": "m", "dimension": 16, "bits": 64},
        {"dimension": 16, "bits": 64, "partition_count": 1},
    ],
)
async def test_bad_spec(client: Client, spec: dict[str, Any]) -> None:
    request = hasher_pb2.ApplyRequest(
        generation="new", request_id="r", create=collection_pb2.CollectionSpec(**spec)
    )
    code, error = await refusal(client.stub.Apply(request))
    assert code == Code.INVALID_ARGUMENT
    assert error.field.startswith("create.")


async def test_bad_requests_of_the_other_calls(client: Client) -> None:
    stub = client.stub
    for call, field in (
        (stub.Get(hasher_pb2.GetRequest(generation="g", item_ids=["i"] * 1001)), "item_ids"),
        (stub.List(hasher_pb2.ListRequest(generation="g")), "page_size"),
        (stub.List(hasher_pb2.ListRequest(generation="g", page_size=1001)), "page_size"),
        (stub.Apply(hasher_pb2.ApplyRequest(generation="g", request_id="r")), "change"),
        (stub.Apply(hasher_pb2.ApplyRequest(generation="g", create=SPEC)), "request_id"),
        (stub.Apply(hasher_pb2.ApplyRequest(generation="g", request_id="x" * 65, create=SPEC)), "request_id"),
    ):
        code, error = await refusal(call)
        assert (code, error.field) == (Code.INVALID_ARGUMENT, field)
    snapshot = stub.Snapshot(hasher_pb2.HasherServiceSnapshotRequest(generation="g"))
    assert (await refusal(snapshot))[0] == Code.UNIMPLEMENTED


async def test_unavailable_until_loaded(shards: Any, rows: Any) -> None:
    client = await shards(load=False)
    describe = client.stub.Describe(hasher_pb2.DescribeRequest())
    for call in (client.create(), client.search(rows.vector(1)), describe):
        assert (await refusal(call))[0] == Code.UNAVAILABLE


def test_ports_follow_the_shard(tmp_path: Path) -> None:
    def ports(**values: Any) -> tuple[int, int]:
        settings = HasherSettings(data_folder=tmp_path, shard_count=4, **values)
        return settings.port, settings.metrics_port

    assert ports() == (7710, 9710)
    assert ports(shard="3") == (7713, 9713)
    assert ports(shard=1, port=8000) == (8000, 10000)
    assert ports(port=0) == (0, 0)
    assert ports(metrics_port=-1) == (7710, -1)
    with pytest.raises(ValueError, match="less than shard_count"):
        ports(shard=4)

"""Whom a hasher answers: the installation, shard and layout that a request names must be its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hasher import convert
from hasher.identity import IDENTITY_FILE, Identity
from hasher.shard import Shard
from lookalike.errors import DataLossError, FailedPreconditionError, InvalidInputError, Reason
from lookalike.placement import partition_of, shard_of
from lookalike.v1 import hasher_pb2
from tests.hasher.served import SPEC, Client, Code, refusal, upsert


def requests(rows: Any, target: Any) -> dict[str, Any]:
    """Returns a sound request for every method."""
    write = hasher_pb2.Mutations(model_version="model-1", mutations=[upsert(rows, "a")])
    vector = rows.vector("a").tobytes()
    return {
        "Apply create": hasher_pb2.ApplyRequest(generation="g", request_id="create-g", create=SPEC),
        "Apply write": hasher_pb2.ApplyRequest(generation="g", request_id="w", write=write),
        "Await": hasher_pb2.AwaitRequest(generation="g", request_id="w", position=2),
        "Search": hasher_pb2.HasherServiceSearchRequest(
            generation="g", model_version="model-1", vectors_f32_le=vector, k=1
        ),
        "Get": hasher_pb2.GetRequest(generation="g", item_ids=["a"]),
        "List": hasher_pb2.ListRequest(generation="g", page_size=1),
        "Describe": hasher_pb2.DescribeRequest(),
        "Apply drop": hasher_pb2.ApplyRequest(
            generation="g", request_id="d", drop=hasher_pb2.DropGeneration()
        ),
    }


def targeted(request: Any, target: Any, **changed: Any) -> Any:
    request.target.CopyFrom(target)
    request.target.MergeFrom(hasher_pb2.ShardIdentity(**changed))
    return request


METHODS = ("Apply create", "Apply write", "Await", "Search", "Get", "List", "Describe", "Apply drop")


@pytest.mark.parametrize("method", METHODS)
async def test_every_request_says_which_shard_it_is_meant_for(client: Client, rows: Any, method: str) -> None:
    call = getattr(client.plain_stub, method.split()[0])
    request = requests(rows, client.target)[method]
    code, error = await refusal(call(request))
    assert (code, error.reason, error.field) == (Code.INVALID_ARGUMENT, Reason.FIELD_MISSING, "target")
    for size in (0, 65):
        request = targeted(requests(rows, client.target)[method], client.target)
        request.target.installation_id = "x" * size
        code, error = await refusal(call(request))
        assert (code, error.field) == (Code.INVALID_ARGUMENT, "target.installation_id")
    for changed, reason in (
        ({"shard": 1}, Reason.SHARD_LAYOUT_MISMATCH),
        ({"shard_count": 2}, Reason.SHARD_LAYOUT_MISMATCH),
        ({"layout_epoch": 2}, Reason.SHARD_LAYOUT_MISMATCH),
        ({"installation_id": "another"}, Reason.INSTALLATION_MISMATCH),
    ):
        request = targeted(requests(rows, client.target)[method], client.target, **changed)
        code, error = await refusal(call(request))
        assert (code, error.reason, error.field) == (Code.FAILED_PRECONDITION, reason, "target")
    assert [info.generation for info in (await describe(client)).generations] == ["g"]


async def test_sound_requests_are_answered(client: Client, rows: Any) -> None:
    for method, request in requests(rows, client.target).items():
        await getattr(client.stub, method.split()[0])(request)


async def describe(client: Client) -> Any:
    return await client.stub.Describe(hasher_pb2.DescribeRequest())


async def test_a_new_hasher_joins_with_its_first_generation(shards: Any, rows: Any, tmp_path: Path) -> None:
    client = await shards()
    assert (await describe(client)).installation_id == ""
    await refusal(client.create(model_version="m" * 200))
    await refusal(client.write(upsert(rows, "a")))
    drop = hasher_pb2.ApplyRequest(generation="none", request_id="d", drop=hasher_pb2.DropGeneration())
    await client.stub.Apply(drop)
    assert not (tmp_path / "shard-0" / IDENTITY_FILE).exists()
    await client.create()
    described = await describe(client)
    assert (described.installation_id, described.layout_epoch) == ("home", 1)
    assert json.loads((tmp_path / "shard-0" / IDENTITY_FILE).read_text()) == {
        "installation_id": "home",
        "shard": 0,
        "shard_count": 1,
        "layout_epoch": 1,
    }


async def test_a_second_directory_cannot_attach_to_a_generation(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"))
    create = hasher_pb2.ApplyRequest(generation="g", request_id="of another", create=SPEC)
    code, error = await refusal(client.stub.Apply(create))
    assert (code, error.reason) == (Code.ALREADY_EXISTS, Reason.COLLECTION_EXISTS)
    assert (await client.create()).position == 2


async def test_a_write_that_was_overtaken_by_another_installation_is_refused(
    shards: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await shards()
    client.shard.create("g", rows.spec, "of the first schema")
    convert_change = convert.change_of

    def overtaken(*arguments: Any) -> Any:
        client.shard.join("faster", "g")
        return convert_change(*arguments)

    monkeypatch.setattr(convert, "change_of", overtaken)
    code, error = await refusal(client.write(upsert(rows, "a")))
    assert (code, error.reason) == (Code.FAILED_PRECONDITION, Reason.INSTALLATION_MISMATCH)
    assert client.shard.generation("g").store.item_count == 0


async def test_a_retry_under_a_new_layout_has_the_same_content(client: Client, rows: Any) -> None:
    write = hasher_pb2.Mutations(model_version="model-1", mutations=[upsert(rows, "a")])
    request = hasher_pb2.ApplyRequest(generation="g", request_id="w", write=write)
    first = await client.stub.Apply(request)
    client.shard.identity = Identity("home", 0, 1, 2)
    request.target.layout_epoch = 2
    assert await client.stub.Apply(request) == first


# The data folder


def loaded(folder: Path, number: int = 0, count: int = 1) -> Shard:
    shard = Shard(folder, number, count)
    shard.lock()
    try:
        shard.load()
    except BaseException:
        shard.close()
        raise
    return shard


@pytest.fixture
def folder(tmp_path: Path, rows: Any) -> Path:
    """A data folder with a generation of the installation "home"."""
    shard = loaded(tmp_path / "data")
    shard.join("home", "g")
    shard.create("g", rows.spec, "create")
    shard.close()
    return tmp_path / "data"


def test_the_installation_survives_a_restart(folder: Path) -> None:
    shard = loaded(folder)
    assert shard.identity == Identity("home", 0, 1, 1)
    with pytest.raises(FailedPreconditionError) as caught:
        shard.join("another", "g")
    assert caught.value.reason is Reason.INSTALLATION_MISMATCH
    shard.close()


def test_a_lost_identity_is_that_of_the_generations(folder: Path) -> None:
    (folder / IDENTITY_FILE).unlink()
    loaded(folder).close()
    assert Identity.read(folder) == Identity("home", 0, 1, 1)


def test_rows_of_another_installation_are_refused(folder: Path, tmp_path: Path, rows: Any) -> None:
    other = loaded(tmp_path / "other")
    other.join("another", "copied")
    other.create("copied", rows.spec, "create")
    other.close()
    shutil.copytree(tmp_path / "other" / "copied", folder / "copied")
    with pytest.raises(
        FailedPreconditionError, match="generation copied belongs to installation 'another'"
    ) as e:
        loaded(folder)
    assert e.value.reason is Reason.INSTALLATION_MISMATCH


def test_a_folder_of_another_shard_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "g")
    with pytest.raises(FailedPreconditionError, match="shard 0 of 1") as caught:
        loaded(folder, 1, 2)
    assert caught.value.reason is Reason.SHARD_LAYOUT_MISMATCH


def test_an_identity_file_that_cannot_be_opened_is_not_called_damaged(folder: Path) -> None:
    (folder / IDENTITY_FILE).unlink()
    (folder / IDENTITY_FILE).mkdir()
    with pytest.raises(
        InvalidInputError, match=f"cannot read {IDENTITY_FILE} in the data folder: Is a directory"
    ):
        loaded(folder)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"installation_id": "x", "shard": "y"}'])
def test_an_identity_that_cannot_be_read_stops_the_start(folder: Path, content: str) -> None:
    (folder / IDENTITY_FILE).write_text(content)
    with pytest.raises(DataLossError, match=IDENTITY_FILE):
        loaded(folder)


def test_no_generation_is_named_like_the_hashers_own_files(tmp_path: Path, rows: Any) -> None:
    shard = loaded(tmp_path / "data")
    with pytest.raises(Exception, match="not a valid name"):
        shard.create(IDENTITY_FILE, rows.spec, "create")
    shard.close()


async def test_one_hasher_under_two_addresses_is_no_second_shard(shards: Any, rows: Any) -> None:
    """Whatever the gateway's list says, an answer counts only for the shard that it is of."""
    client = await shards(number=0, count=2)
    await client.create()
    ids = [f"i{n}" for n in range(20)]
    await client.write(*(upsert(rows, i) for i in ids if shard_of(partition_of(i, 64), 2) == 0))
    search = requests(rows, client.target)["Search"]
    assert (await client.stub.Search(search)).results[0].hits
    wrong = targeted(requests(rows, client.target)["Search"], client.target, shard=1)
    code, error = await refusal(client.plain_stub.Search(wrong))
    assert (code, error.reason) == (Code.FAILED_PRECONDITION, Reason.SHARD_LAYOUT_MISMATCH)
    assert error.message == (
        "the request is meant for shard 1 of 2 in layout epoch 1, but this is shard 0 of 2 in layout epoch 1"
    )

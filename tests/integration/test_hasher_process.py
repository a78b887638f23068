"""A hasher as its own process: kills, restarts, a clean stop, and starts that must be refused."""

from __future__ import annotations

import resource
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.hasher import HasherStub
from deploy.local.process import STOP_SECONDS, ServiceProcess
from hasher.index import NO_ID, HashIndex
from lookalike.errors import Reason, UnavailableError
from lookalike.v1 import collection_pb2, hasher_pb2, types_pb2
from lookalike.wire.status import error_from_rpc
from lookalike.wire.vectors import to_bytes

DIMENSION = 64
SPEC = collection_pb2.CollectionSpec(
    model_version="m", dimension=DIMENSION, bits=128, partition_count=64, rerank="RERANK_PRECISION_F16"
)
TARGET = hasher_pb2.ShardIdentity(installation_id="home", shard=0, shard_count=1, layout_epoch=1)
ROUNDS = 4
BATCH = 20
START_SECONDS = 60
SERVICE = "lookalike.v1.HasherService"


class Process(ServiceProcess):
    """``python -m hasher`` on a data folder."""

    def __init__(self, data: Path, *flags: str) -> None:
        name = f"hasher-{time.monotonic_ns()}"
        super().__init__("hasher", data.parent, "--data-folder", data, *flags, name=name)
        self.channel: grpc.Channel | None = None
        self.search_channel: grpc.Channel | None = None
        self.start()

    def wait_ready(self) -> Any:
        """Waits until it serves and returns a stub."""
        self.wait_until_listening()
        self.channel = grpc.insecure_channel(self.target)
        health = health_pb2_grpc.HealthStub(self.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=START_SECONDS)
        for response in watch:
            if response.status == health_pb2.HealthCheckResponse.SERVING:
                break
        watch.cancel()
        self.search_channel = grpc.insecure_channel(f"127.0.0.1:{self.search_port}")
        return HasherStub(self.channel, self.search_channel)

    def wait(self, timeout_seconds: float = STOP_SECONDS) -> int:
        """Waits for the end, then closes the channel."""
        code = super().wait(timeout_seconds)
        for channel in (self.channel, self.search_channel):
            if channel:
                channel.close()
        return code


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Any]:
    started: list[Process] = []

    def start(*flags: str) -> Process:
        started.append(Process(tmp_path / "data", *flags))
        return started[-1]

    yield start
    for process in started:
        if process.is_running():
            process.stop(signal.SIGKILL)


def create(stub: Any, **changed: Any) -> None:
    request = hasher_pb2.ApplyRequest(generation="g", request_id="create", create=SPEC, target=TARGET)
    request.create.MergeFrom(collection_pb2.CollectionSpec(**changed))
    stub.Apply(request)


def vector_of(item_id: str, state: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    seed = [state, *item_id.encode()]
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)


def mutation(item_id: str, state: int) -> Any:
    item = types_pb2.Item(item_id=item_id, product_id=f"p{item_id[-2:]}", title=f"state {state}")
    row = hasher_pb2.UpsertRow(item=item, vector_f32_le=to_bytes(vector_of(item_id, state)))
    return hasher_pb2.Mutation(upsert=row)


class Writer(threading.Thread):
    """Writes batches one after the other until the server is gone; remembers what was acknowledged."""

    def __init__(self, stub: Any, number: int, round_: int, acknowledged: dict[str, int]) -> None:
        super().__init__()
        self.stub, self.name_, self.round_ = stub, f"w{number}", round_
        self.acknowledged = acknowledged
        self.batches = 0
        self.unsure: Any = None

    def run(self) -> None:
        while True:
            # Every other batch writes over items of the round before.
            of_round = self.round_ - (self.batches % 2) if self.round_ else 0
            ids = [f"{self.name_}-{of_round}-{self.batches // 2 * BATCH + i}" for i in range(BATCH)]
            request = hasher_pb2.ApplyRequest(
                generation="g", request_id=f"{self.name_}-{self.round_}-{self.batches}", target=TARGET
            )
            request.write.model_version = "m"
            request.write.mutations.extend(mutation(item_id, self.round_) for item_id in ids)
            try:
                self.stub.Apply(request, timeout=30)
            except (grpc.RpcError, ValueError):
                # ValueError: the channel is closed once the process has been killed.
                self.unsure = request
                return
            self.acknowledged.update(dict.fromkeys(ids, self.round_))
            self.batches += 1


def listed(stub: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    after, more = "", True
    while more:
        page = stub.List(
            hasher_pb2.ListRequest(
                generation="g", after_item_id=after, page_size=1000, include_vectors=True, target=TARGET
            )
        )
        for row in page.rows:
            after = row.stored.item.item_id
            rows[after] = row
        more = page.more
    return rows


def check_all(stub: Any, acknowledged: dict[str, int]) -> None:
    rows = listed(stub)
    assert acknowledged.keys() <= rows.keys()
    for item_id, state in acknowledged.items():
        assert rows[item_id].stored.item.title == f"state {state}"
    sample = sorted(acknowledged)[:: max(1, len(acknowledged) // 100)]
    queries = np.stack([vector_of(item_id, acknowledged[item_id]) for item_id in sample])
    found = stub.Search(
        hasher_pb2.HasherServiceSearchRequest(
            generation="g",
            model_version="m",
            vectors_f32_le=to_bytes(queries),
            k=1,
            exact=True,
            target=TARGET,
        )
    )
    assert [result.hits[0].item_id for result in found.results] == sample
    assert found.codes_total == len(rows)


def settle(stub: Any, unsure: list[Any], acknowledged: dict[str, int]) -> None:
    """Retries the requests whose answers were lost: whether they had been applied or not, now they are."""
    for request in unsure:
        stub.Apply(request)
        for one in request.write.mutations:
            acknowledged[one.upsert.item.item_id] = int(one.upsert.item.title.removeprefix("state "))


def test_kills_while_writing_lose_nothing_acknowledged(launch: Any) -> None:
    acknowledged: dict[str, int] = {}
    unsure: list[Any] = []
    for round_ in range(ROUNDS):
        process = launch("--checkpoint-interval-seconds", "0.2")
        stub = process.wait_ready()
        if round_ == 0:
            create(stub)
        else:
            settle(stub, unsure, acknowledged)
            check_all(stub, acknowledged)
        writers = [Writer(stub, number, round_, acknowledged) for number in range(3)]
        for writer in writers:
            writer.start()
        deadline = time.monotonic() + 30
        while min(writer.batches for writer in writers) < 8 + 3 * round_ and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.stop(signal.SIGKILL) == -signal.SIGKILL
        for writer in writers:
            writer.join()
        unsure = [writer.unsure for writer in writers]
    stub = launch().wait_ready()
    settle(stub, unsure, acknowledged)
    check_all(stub, acknowledged)
    assert len(acknowledged) > ROUNDS * 8 * BATCH


def test_clean_stop_saves_the_index_and_metrics_are_served(launch: Any) -> None:
    process = launch()
    stub = process.wait_ready()
    create(stub)
    request = hasher_pb2.ApplyRequest(generation="g", request_id="r", target=TARGET)
    request.write.model_version = "m"
    request.write.mutations.extend(mutation(f"i{n}", 0) for n in range(100))
    stub.Apply(request)
    with urllib.request.urlopen(f"http://127.0.0.1:{process.metrics_port}/metrics") as response:
        text = response.read().decode()
    assert "lookalike_hasher_items 100.0" in text
    assert 'lookalike_hasher_write_seconds_count{stage="sync"} 1.0' in text
    assert process.stop(signal.SIGTERM) == 0

    again = launch()
    check_all(again.wait_ready(), {f"i{n}": 0 for n in range(100)})
    assert again.events("index_rebuilt") == []
    assert again.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    "parameters",
    [{}, {"probes": 3}, {"effort": 0.1}, {"exact": True}, {"group": True, "effort": 0.6}],
    ids=lambda parameters: " ".join(parameters) or "defaults",
)
def test_answers_are_those_of_the_index_with_the_same_parameters(
    saved_index: tuple[Any, HashIndex], parameters: dict[str, Any]
) -> None:
    stub, index = saved_index
    queries = np.random.default_rng(9).standard_normal((50, DIMENSION)).astype(np.float32)
    expected = index.search_detailed(queries, 10, **parameters)
    named = {"group_by_product" if name == "group" else name: value for name, value in parameters.items()}
    found = stub.Search(
        hasher_pb2.HasherServiceSearchRequest(
            generation="g", model_version="m", vectors_f32_le=to_bytes(queries), k=10, target=TARGET, **named
        )
    )
    for result, ids, scores, scanned in zip(
        found.results, expected.ids, expected.scores, expected.codes_scanned, strict=True
    ):
        # Rows are numbered from 1 in the order in which they came; few buckets may hold fewer than ten.
        there = ids != NO_ID
        assert [hit.item_id for hit in result.hits] == [f"i{number - 1}" for number in ids[there]]
        assert [hit.score for hit in result.hits] == scores[there].tolist()
        assert result.codes_scanned == scanned


@pytest.fixture(scope="module")
def saved_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, HashIndex]]:
    """A hasher that opened a saved index, and the same saved index opened here.

    With ``f32`` the index's own exact search is exact; others are scored again from the rows.
    """
    data = tmp_path_factory.mktemp("answers") / "data"
    first = Process(data)
    stub = first.wait_ready()
    create(stub, rerank="RERANK_PRECISION_F32")
    for start in range(0, 3_000, 500):
        request = hasher_pb2.ApplyRequest(generation="g", request_id=f"r{start}", target=TARGET)
        request.write.model_version = "m"
        request.write.mutations.extend(mutation(f"i{n}", 0) for n in range(start, start + 500))
        stub.Apply(request)
    assert first.stop(signal.SIGTERM) == 0
    (folder,) = (data / "g").glob("index-*")
    second = Process(data)
    yield second.wait_ready(), HashIndex.open(folder)
    second.stop(signal.SIGKILL)


def test_second_process_on_a_folder_is_refused(launch: Any) -> None:
    launch().wait_ready()
    second = launch()
    assert second.wait() == 2
    assert "in use by another hasher process" in second.said()


def test_damaged_rows_end_the_process_with_one_clear_line(launch: Any, tmp_path: Path) -> None:
    first = launch()
    create(first.wait_ready())
    assert first.stop(signal.SIGTERM) == 0
    path = tmp_path / "data" / "g" / "rows.sqlite"
    path.write_bytes(bytes(path.stat().st_size))
    second = launch()
    assert second.wait() == 2
    last = second.said().splitlines()[-1]
    assert last.startswith("error: the row file of generation g is damaged")


def test_rows_of_a_newer_version_end_the_process_with_one_clear_line(launch: Any, tmp_path: Path) -> None:
    first = launch()
    create(first.wait_ready())
    assert first.stop(signal.SIGTERM) == 0
    connection = apsw.Connection(str(tmp_path / "data" / "g" / "rows.sqlite"))
    connection.execute("UPDATE meta SET value = 3 WHERE key = 'schema_version'")
    connection.close()
    second = launch()
    assert second.wait() == 2
    last = second.said().splitlines()[-1]
    assert last.startswith("error: the row file of generation g was written by a newer version")
    assert "damaged" not in last


def test_a_deleted_data_folder_takes_no_writes_and_no_second_process_shares_it(
    launch: Any, tmp_path: Path
) -> None:
    process = launch("--checkpoint-interval-seconds", "0.2")
    stub = process.wait_ready()
    create(stub)
    shutil.rmtree(tmp_path / "data")
    request = hasher_pb2.ApplyRequest(generation="g", request_id="r", target=TARGET)
    request.write.model_version = "m"
    request.write.mutations.append(mutation("i", 0))
    with pytest.raises(grpc.RpcError, match="deleted or replaced") as caught:
        stub.Apply(request)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    health = health_pb2_grpc.HealthStub(process.channel)
    for response in health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=START_SECONDS):
        if response.status == health_pb2.HealthCheckResponse.NOT_SERVING:
            break
    assert process.stop(signal.SIGTERM) == 0
    assert not (tmp_path / "data").exists()


def test_a_process_without_open_files_left_says_so(launch: Any) -> None:
    process = launch()
    resource.prlimit(process.popen.pid, resource.RLIMIT_NOFILE, (256, 256))
    stub = process.wait_ready()

    def create_until_refused() -> None:
        for number in range(256):
            request = hasher_pb2.ApplyRequest(generation=f"g{number}", request_id="create", target=TARGET)
            request.create.CopyFrom(SPEC)
            stub.Apply(request)

    with pytest.raises(grpc.RpcError) as caught:
        create_until_refused()
    error = error_from_rpc(caught.value)
    assert (type(error), error.reason) == (UnavailableError, Reason.OPEN_FILES_LIMIT)
    assert "all 256 files" in error.message
    (found,) = process.events("open_files_limit")
    assert (found["soft"], found["hard"]) == (256, 256)

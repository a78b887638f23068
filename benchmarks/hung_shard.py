"""What a shard that hangs costs searches whose ``min_coverage`` the other shards meet.

``python -m benchmarks.hung_shard`` starts two hashers and a gateway, lets callers search with a
``min_coverage`` of 0.5, and stops one hasher with SIGSTOP: it keeps its connections and answers nothing. For
each deadline it prints the times of searches with all shards, and from the moment on when one hangs. Nothing
else should run meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc
import numpy as np

from lookalike.cli.processes import ServiceProcesses
from lookalike.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    collection_pb2,
    collection_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
    types_pb2,
)

COLLECTION = "bench"
START_SECONDS = 60.0
BATCH = 256
SETTLE_SECONDS = 60.0


@dataclass
class Phase:
    """Searches of one situation."""

    situation: str
    deadline_seconds: float
    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """``complete``, ``partial``, or the status code of a failure → searches."""

    def summary(self) -> dict[str, object]:
        """Returns the figures to print: times in milliseconds."""
        p50, p99, slowest = np.quantile(np.array(self.seconds) * 1e3, [0.5, 0.99, 1.0]).round(2).tolist()
        return {
            "deadline_seconds": self.deadline_seconds,
            "situation": self.situation,
            "searches": len(self.seconds),
            "p50_ms": p50,
            "p99_ms": p99,
            "max_ms": slowest,
            "outcomes": dict(self.outcomes),
        }


@dataclass(frozen=True)
class Options:
    """What is measured."""

    items: int
    dim: int
    callers: int
    seconds: float
    deadlines: Sequence[float]


class Bench:
    """Callers of one gateway.

    Args:
        channel: To the gateway.
        options: What is measured.
    """

    def __init__(self, channel: grpc.aio.Channel, options: Options) -> None:
        self._options = options
        self._search = search_pb2_grpc.SearchServiceStub(channel)
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
        self._collections = collection_pb2_grpc.CollectionServiceStub(channel)
        self._rng = np.random.default_rng(1)

    async def load(self) -> None:
        """Creates the collection and writes its items."""
        spec = collection_pb2.CollectionSpec(model_version="bench", dimension=self._options.dim)
        request = collection_pb2.CreateCollectionRequest(name=COLLECTION, spec=spec)
        await self._collections.CreateCollection(request, wait_for_ready=True, timeout=START_SECONDS)
        for start in range(0, self._options.items, BATCH):
            vectors = self._rng.normal(size=(min(BATCH, self._options.items - start), self._options.dim))
            items = [
                catalog_pb2.UpsertItem(
                    item=types_pb2.Item(item_id=f"i{start + row}"),
                    embedding=types_pb2.Embedding(values=vector),
                )
                for row, vector in enumerate(vectors)
            ]
            await self._catalog.UpsertItems(
                catalog_pb2.UpsertItemsRequest(collection=COLLECTION, items=items), timeout=START_SECONDS
            )

    async def measure(self, situation: str, deadline_seconds: float) -> Phase:
        """Lets all callers search, one search after the other, for a while."""
        phase = Phase(situation, deadline_seconds)
        end = time.monotonic() + self._options.seconds
        await asyncio.gather(*(self._call(phase, end) for _ in range(self._options.callers)))
        return phase

    async def until_complete(self) -> None:
        """Waits until every shard answers again."""
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            if await self._one(5.0) == "complete":
                return
            await asyncio.sleep(0.1)
        raise RuntimeError("a shard did not come back")

    async def _call(self, phase: Phase, end: float) -> None:
        while (start := time.monotonic()) < end:
            outcome = await self._one(phase.deadline_seconds)
            phase.seconds.append(time.monotonic() - start)
            phase.outcomes[outcome] += 1

    async def _one(self, deadline_seconds: float) -> str:
        query = types_pb2.Embedding(values=self._rng.normal(size=self._options.dim))
        request = search_pb2.SearchRequest(
            collection=COLLECTION, k=10, query=search_pb2.Query(embedding=query), min_coverage=0.5
        )
        try:
            answer = await self._search.Search(request, timeout=deadline_seconds)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "partial" if answer.coverage.degraded_reason else "complete"


async def measure_all(gateway: str, hung_pid: int, options: Options) -> list[Phase]:
    """Measures every deadline, with all shards and with one that hangs."""
    phases: list[Phase] = []
    async with grpc.aio.insecure_channel(gateway) as channel:
        bench = Bench(channel, options)
        await bench.load()
        for deadline_seconds in options.deadlines:
            await bench.until_complete()
            phases.append(await bench.measure("all answer", deadline_seconds))
            os.kill(hung_pid, signal.SIGSTOP)
            try:
                phases.append(await bench.measure("one hangs", deadline_seconds))
            finally:
                os.kill(hung_pid, signal.SIGCONT)
    return phases


def run(options: Options, folder: Path) -> list[Phase]:
    """Starts the services in a folder, and measures."""
    with ServiceProcesses(folder, folder) as services:
        hashers = [
            services.start(
                "hasher",
                [f"--data-folder={folder / f'shard-{n}'}", f"--shard={n}", "--shard-count=2", "--port=0"],
                name=f"hasher-{n}",
            )
            for n in range(2)
        ]
        services.wait_for_ports(hashers, START_SECONDS)
        gateway = services.start(
            "gateway",
            [
                f"--hashers={','.join(hasher.hasher_address('127.0.0.1') for hasher in hashers)}",
                f"--data-folder={folder / 'gateway'}",
                "--embedder=127.0.0.1:1",
                "--port=0",
            ],
        )
        (port,) = services.wait_for_ports([gateway], START_SECONDS)
        return asyncio.run(measure_all(f"127.0.0.1:{port}", hashers[1].process.pid, options))


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--callers", type=int, default=4, help="searches at once")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each row of the table")
    parser.add_argument("--deadlines", type=float, nargs="+", default=[1.0, 4.0], help="seconds")
    parser.add_argument("--json", type=Path, help="writes the figures there, too")
    arguments = parser.parse_args()
    options = Options(
        arguments.items, arguments.dim, arguments.callers, arguments.seconds, arguments.deadlines
    )
    with tempfile.TemporaryDirectory() as folder:
        summaries = [phase.summary() for phase in run(options, Path(folder))]
    for summary in summaries:
        print(*(f"{name}={value}" for name, value in summary.items()), sep="  ")
    if arguments.json:
        arguments.json.write_text(json.dumps({"options": asdict(options), "phases": summaries}, indent=1))


if __name__ == "__main__":
    main()

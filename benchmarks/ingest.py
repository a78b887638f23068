"""Durable bulk loads through the gateway: items a second, CPU, searches next to them, and starts.

python -m benchmarks.ingest --items 40000 --rerank f16

Client, gateway and hashers share the machine, without an embedder: items come with vectors. CPU is that of
each process as the kernel accounts for it, which other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.engine.machine import busy_seconds, machine_facts
from benchmarks.service.accounting import cpu_seconds_of
from benchmarks.service.data import COLLECTION, encoded, item_of
from benchmarks.service.servers import MODEL, SEARCH_METHOD
from deploy.local.stack import Server
from lookalike.client import Client, Item
from lookalike.v1 import search_pb2, types_pb2

SHARDS = 2
IMAGES_A_PRODUCT = 5
SEARCH_SECONDS = 5.0
MOST_SECONDS = 120.0


@dataclass
class Installation:
    """A gateway and its hashers, without an embedder."""

    folder: Path
    shards: int = SHARDS
    gateway_flags: Sequence[str] = ()
    hashers: list[Server] = field(default_factory=list)

    def start(self) -> None:
        """Starts all processes."""
        for shard in range(self.shards):
            flags = (f"--shard={shard}", f"--shard-count={self.shards}")
            data = f"--data-folder={self.folder / f'shard-{shard}'}"
            self.hashers.append(Server("hasher", self.folder, *flags, data, name=f"hasher-{shard}").start())
        targets = ",".join(hasher.hasher for hasher in self.hashers)
        data = f"--data-folder={self.folder / 'gateway'}"
        peers = (f"--hashers={targets}", "--embedder=127.0.0.1:1", *self.gateway_flags)
        self.gateway = Server("gateway", self.folder, *peers, data).start()

    def stop(self) -> None:
        """Stops what runs."""
        for server in (*self.hashers, *([self.gateway] if hasattr(self, "gateway") else [])):
            if server.is_running():
                server.stop()

    def pids(self) -> dict[str, int]:
        """Process → id."""
        return {server.name: server.popen.pid for server in (self.gateway, *self.hashers)}

    def client(self) -> Client:
        """Returns a client of the gateway."""
        return Client(self.gateway.target, timeout_seconds=60.0)


class Vectors:
    """Unit vectors (n, dim) of products with several images each, as they are asked for."""

    def __init__(self, dim: int, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._dim = dim

    def items(self, first: int, count: int) -> Iterator[Item]:
        """Yields items with numbers from ``first``."""
        for start in range(first, first + count, IMAGES_A_PRODUCT * 1000):
            rows = min(IMAGES_A_PRODUCT * 1000, first + count - start)
            for row, vector in enumerate(self._chunk(rows), start):
                yield item_of(row, row // IMAGES_A_PRODUCT, vector)

    def _chunk(self, rows: int) -> Any:
        products = -(-rows // IMAGES_A_PRODUCT)
        centres = self._random.standard_normal((products, self._dim), np.float32)
        noise = self._random.standard_normal((rows, self._dim), np.float32)
        vectors = np.repeat(centres, IMAGES_A_PRODUCT, axis=0)[:rows] + 0.5 * noise
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def queries(self, count: int) -> list[search_pb2.Query]:
        """What is searched for, by vectors."""
        return [search_pb2.Query(embedding=types_pb2.Embedding(values=q)) for q in self._chunk(count)]

    def searches(self, count: int) -> list[bytes]:
        """Encoded searches by vectors."""
        return [encoded(query) for query in self.queries(count)]


def load(installation: Installation, vectors: Vectors, first: int, count: int) -> dict[str, Any]:
    """Loads items by the synchronous client; returns items a second, and microseconds of CPU an item."""
    pids = installation.pids()
    items = list(vectors.items(first, count))
    with installation.client() as client:
        before, own, busy = cpu_seconds_of(pids), time.process_time(), busy_seconds()
        start = time.perf_counter()
        report = client.ingest(items, collection=COLLECTION)
        seconds = time.perf_counter() - start
        spent = {name: now - before[name] for name, now in cpu_seconds_of(pids).items()}
    spent["client"] = time.process_time() - own
    if report.failures:
        raise RuntimeError(f"items were refused: {report.failures[0]}")
    others = busy_seconds() - busy - sum(spent.values())
    return {
        "items": count,
        "seconds": round(seconds, 2),
        "items_per_second": round(count / seconds),
        "cpu_us_per_item": {name: round(1e6 * used / count, 1) for name, used in spent.items()},
        "total_cpu_us_per_item": round(1e6 * sum(spent.values()) / count, 1),
        "cores_busy_with_other_work": round(max(others, 0) / seconds, 2),
    }


@contextmanager
def searching(installation: Installation, searches: list[bytes], rate: float) -> Iterator[list[float]]:
    """Searches at a steady rate meanwhile; the list gets the milliseconds of each."""
    found: list[float] = []
    ended = threading.Event()

    def run() -> None:
        with grpc.insecure_channel(installation.gateway.target) as channel:
            search = channel.unary_unary(SEARCH_METHOD)
            due = time.perf_counter()
            for request in (searches[i % len(searches)] for i in range(10**9)):
                if ended.wait(max(due - time.perf_counter(), 0)):
                    return
                search(request, timeout=30.0)
                found.append(1e3 * (time.perf_counter() - due))
                due += 1 / rate

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    """Returns what a caller sees, from the moment a search is due."""
    if not milliseconds:
        return {}
    return {f"p{p}": round(float(np.percentile(milliseconds, p)), 2) for p in (50, 99)} | {
        "searches": len(milliseconds)
    }


def restarted(server: Server, ended: Callable[[], object], search: Callable[[], object]) -> float:
    """Ends a hasher and returns the seconds from its next start to its first answer.

    Raises:
        grpc.RpcError: It does not answer for too long.
    """
    ended()
    start = time.perf_counter()
    server.start()
    while True:
        try:
            search()
            return time.perf_counter() - start
        except grpc.RpcError:
            if time.perf_counter() - start > MOST_SECONDS:
                raise
            time.sleep(0.01)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs all measurements of one precision of the stored vectors."""
    installation, vectors = Installation(folder), Vectors(arguments.dim)
    figures: dict[str, Any] = {}
    try:
        installation.start()
        with installation.client() as client:
            client.create_collection(
                COLLECTION, model_version=MODEL, dimension=arguments.dim, rerank=arguments.rerank
            )
        figures["first"] = load(installation, vectors, 0, arguments.items)
        searches = vectors.searches(500)
        if arguments.rate:
            with searching(installation, searches, arguments.rate) as idle:
                time.sleep(SEARCH_SECONDS)
            figures["searches_idle"] = percentiles(idle)
            with searching(installation, searches, arguments.rate) as beside:
                figures["with_searches"] = load(installation, vectors, arguments.items, arguments.items)
            figures["searches_next_to_ingest"] = percentiles(beside)
        figures |= _starts(installation, searches[0])
    finally:
        installation.stop()
    return figures


def _starts(installation: Installation, search: bytes) -> dict[str, float]:
    with grpc.insecure_channel(installation.gateway.target) as channel:
        call = channel.unary_unary(SEARCH_METHOD)
        server = installation.hashers[0]
        after = {"clean_stop": server.stop, "kill": server.kill}
        starts = {
            name: restarted(server, end, lambda: call(search, timeout=30.0)) for name, end in after.items()
        }
    return {f"start_after_{name}_seconds": round(seconds, 2) for name, seconds in starts.items()}


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=40_000, help="of one load (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--rerank", choices=("int8", "f16", "f32"), default="f16")
    parser.add_argument("--rate", type=float, default=50.0, help="searches a second; 0: none")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--out", type=Path, help="gets the figures, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="ingest-") as folder:
        figures = {"machine": machine_facts(), "rerank": arguments.rerank}
        figures |= measure(arguments, Path(folder))
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

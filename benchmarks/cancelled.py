"""What a shard still does for an exact search whose caller has cancelled it.

    python -m benchmarks.cancelled --items 1100000 --dim 256

Serves the rows from one shard behind a gateway, cancels exact searches at random moments, and looks at the
threads of the shard that search: how long after the cancellation the last of them ran, how much CPU time they
took, and for how long they waited while others had the processors, which counts as running. Once the caller
is one of the gateway, once one of the shard. The kernel adds up the time of a running thread at its ticks
alone, of which the CPU time can hold one too many. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks import served_memory
from benchmarks.engine.catalogue import Catalogue, Spec, load_or_generate
from benchmarks.engine.machine import machine_facts
from benchmarks.ingest import Installation
from benchmarks.service.accounting import until_idle
from benchmarks.service.data import COLLECTION, K, encoded
from benchmarks.service.servers import MODEL, SEARCH_METHOD
from deploy.local.hasher import HasherStub
from hasher.identity import IDENTITY_FILE
from lookalike.v1 import hasher_pb2, search_pb2, types_pb2
from lookalike.wire.channel import channel_options

Floats = NDArray[np.float32]

WHOLE_SEARCHES = 10
TARGET_MS = 10.0
QUIET_SECONDS = 0.25
"""Between two searches."""
EARLIEST, LATEST = 0.2, 0.8
"""Of the time of a whole search, when it is cancelled."""
SHARD_METHOD = "/lookalike.v1.HasherService/Search"
SEARCHING = ("search", "search-long")
"""The names of the threads that search; others take requests and send answers."""
MOST_SECONDS = 300.0
DEADLINE_SECONDS = 60.0
RUNNING = "R"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """One search; milliseconds.

    Attributes:
        after: From the start to the cancellation.
        ran: From the cancellation to the last look that found a thread running.
        cpu: Of the threads, from the last look before the cancellation on.
        waited: Of the threads for a processor, from then on.
    """

    after: float
    ran: float
    cpu: float
    waited: float


@dataclass
class Row:
    """Searches of one caller.

    Attributes:
        too_late: Searches that had ended before they were cancelled.
    """

    whom: str
    whole_ms: float
    whole_cpu_ms: float
    cancelled: list[Cancelled] = field(default_factory=list)
    too_late: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """Threads at one moment.

    Attributes:
        running: One of them runs, or waits for a processor.
        cpu: Milliseconds that they have run.
        waited: Milliseconds that they were ready, and other threads had the processors.
    """

    running: bool
    cpu: float
    waited: float


class Threads:
    """The threads of a shard that search.

    Raises:
        RuntimeError: There is none.
    """

    def __init__(self, pid: int) -> None:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        self._folders = [str(task) for task in tasks if (task / "comm").read_text().strip() in SEARCHING]
        if not self._folders:
            raise RuntimeError(f"no thread of the shard is named {' or '.join(SEARCHING)}")

    def look(self) -> Look:
        """Looks at all of them."""
        states = [_read(f"{at}/stat").rpartition(")")[2].split()[0] for at in self._folders]
        times = [_read(f"{at}/schedstat").split() for at in self._folders]
        cpu, waited = (sum(int(one[place]) for one in times) / 1e6 for place in (0, 1))
        return Look(RUNNING in states, cpu, waited)


def _read(file: str) -> str:
    # Opened by hand: the layers of Python's own files cost as much as the look.
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096).decode(errors="replace")
    finally:
        os.close(descriptor)


class Caller:
    """Sends exact searches, each for another vector.

    Args:
        target: A gateway or the search port of a shard.
        requests: Encoded.
    """

    def __init__(self, channel: grpc.Channel, method: str, requests: list[bytes]) -> None:
        self._search = channel.unary_unary(method)
        self._requests = requests
        self._next = 0

    def start(self) -> Any:
        """Starts a search and returns its call."""
        self._next += 1
        request = self._requests[self._next % len(self._requests)]
        return self._search.future(request, timeout=DEADLINE_SECONDS)

    def until_answered(self) -> None:
        """Searches until there is an answer: the gateway connects again to a shard that was away."""
        deadline = time.monotonic() + MOST_SECONDS
        while True:
            try:
                self.start().result()
                return
            except grpc.RpcError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(QUIET_SECONDS)

    def whole(self, threads: Threads) -> tuple[float, float]:
        """Lets searches end; returns the median milliseconds and the CPU time of one."""
        self.until_answered()
        times = []
        before = threads.look().cpu
        for _ in range(WHOLE_SEARCHES):
            start = time.perf_counter()
            self.start().result()
            times.append(1e3 * (time.perf_counter() - start))
        return float(np.median(times)), (threads.look().cpu - before) / WHOLE_SEARCHES


def cancelled(caller: Caller, threads: Threads, whole_ms: float) -> Cancelled | None:
    """Cancels a search; None: it had ended before."""
    after = random.uniform(EARLIEST, LATEST) * whole_ms
    call = caller.start()
    start = time.perf_counter()
    time.sleep(after / 1e3)
    before = threads.look()
    moment = time.perf_counter()
    call.cancel()
    last, seen = moment, before
    while time.perf_counter() < moment + whole_ms / 1e3 + QUIET_SECONDS:
        now = threads.look()
        if now.running or now.cpu > seen.cpu:
            last, seen = time.perf_counter(), now
    if call.code() != grpc.StatusCode.CANCELLED:
        return None
    cpu, waited = seen.cpu - before.cpu, seen.waited - before.waited
    return Cancelled(1e3 * (moment - start), 1e3 * (last - moment), cpu, waited)


@dataclass(frozen=True)
class Served:
    """One shard behind a gateway.

    Attributes:
        target: What requests of the shard are meant for.
    """

    installation: Installation
    target: hasher_pb2.ShardIdentity
    generation: str

    @property
    def pid(self) -> int:
        """The shard's process."""
        return self.installation.hashers[0].popen.pid

    def callers(self, queries: Floats) -> dict[str, tuple[str, str, list[bytes]]]:
        """Returns whom a caller calls: the address, the method and the requests."""
        shard = self.installation.hashers[0]
        vectors = [types_pb2.Embedding(values=query) for query in queries]
        to_gateway = [encoded(search_pb2.Query(embedding=one), exact=True) for one in vectors]
        to_shard = [
            hasher_pb2.HasherServiceSearchRequest(
                target=self.target,
                generation=self.generation,
                model_version=MODEL,
                vectors_f32_le=np.asarray(query, dtype="<f4").tobytes(),
                k=K,
                exact=True,
            ).SerializeToString()
            for query in queries
        ]
        return {
            "gateway": (self.installation.gateway.target, SEARCH_METHOD, to_gateway),
            "shard": (f"127.0.0.1:{shard.search_port}", SHARD_METHOD, to_shard),
        }


@contextmanager
def served(catalogue: Catalogue, folder: Path) -> Iterator[Served]:
    """Serves all rows."""
    # Its probes of recall are exact searches, too.
    installation = Installation(folder, 1, gateway_flags=("--recall-probe-interval-seconds=0",))
    try:
        installation.start()
        dimension = catalogue.vectors.shape[1]
        with installation.client() as client:
            client.create_collection(COLLECTION, model_version=MODEL, dimension=dimension)
        (shard,) = installation.hashers
        known = json.loads((folder / "shard-0" / IDENTITY_FILE).read_text())
        target = hasher_pb2.ShardIdentity(**known)
        addresses = (shard.target, f"127.0.0.1:{shard.search_port}")
        with ExitStack() as stack:
            opened = (grpc.insecure_channel(one, options=channel_options()) for one in addresses)
            stub = HasherStub(*map(stack.enter_context, opened))
            described = stub.Describe(hasher_pb2.DescribeRequest(target=target), timeout=30)
            generation = described.generations[0].generation
            rate = served_memory.write(stub, catalogue, target, generation)
        note(f"loaded at {rate:,.0f} items/s")
        shard.stop()
        shard.start()
        until_idle(shard.popen.pid)
        yield Served(installation, target, generation)
    finally:
        installation.stop()


def measure(served: Served, queries: Floats, count: int) -> Iterator[Row]:
    """Cancels searches of the gateway, then of the shard."""
    for whom, (address, method, requests) in served.callers(queries).items():
        with grpc.insecure_channel(address) as channel:
            caller = Caller(channel, method, requests)
            threads = Threads(served.pid)
            whole_ms, whole_cpu_ms = caller.whole(threads)
            row = Row(whom, whole_ms, whole_cpu_ms)
            while len(row.cancelled) < count:
                if found := cancelled(caller, threads, whole_ms):
                    row.cancelled.append(found)
                elif row.too_late < count:
                    row.too_late += 1
                else:
                    raise RuntimeError("searches end before they are cancelled: take more items")
                time.sleep(QUIET_SECONDS)
        yield row


def table(rows: Sequence[Row]) -> str:
    """Returns the figures in Markdown; milliseconds."""
    lines = [
        "| caller of the | whole search | its CPU | cancelled after | ran on: median | most | within"
        f" {TARGET_MS:g} ms | CPU after: median | most | waiting: median | most | ended before |",
        "|---|" + "---:|" * 11,
    ]
    for row in rows:
        after, ran, cpu, waited = (
            [getattr(one, name) for one in row.cancelled] for name in ("after", "ran", "cpu", "waited")
        )
        within = sum(1 for one in ran if one <= TARGET_MS)
        lines.append(
            f"| {row.whom} | {row.whole_ms:.1f} | {row.whole_cpu_ms:.1f} | {np.median(after):.1f}"
            f" | {np.median(ran):.2f} | {max(ran):.2f} | {within} of {len(ran)} | {np.median(cpu):.2f}"
            f" | {max(cpu):.2f} | {np.median(waited):.2f} | {max(waited):.2f} | {row.too_late} |"
        )
    return "\n".join(lines)


def note(text: str) -> None:
    """Says how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--searches", type=int, default=20, help="that are cancelled, of each caller")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"), help="the simulated catalogues")
    parser.add_argument("--json", type=Path, help="writes the figures there, too")
    given = parser.parse_args()
    # What is started runs in sessions of its own: it has to be stopped when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    catalogue = load_or_generate(Spec(given.dim, given.items, given.seed), given.cache, note)
    with (
        tempfile.TemporaryDirectory(dir=given.cache.resolve(), prefix="cancelled-") as folder,
        served(catalogue, Path(folder)) as shard,
    ):
        rows = list(measure(shard, catalogue.queries, given.searches))
    print(f"{given.items:,} x {given.dim}; milliseconds\n")
    print(table(rows))
    if given.json:
        figures = {"machine": machine_facts(), "items": given.items, "dim": given.dim}
        figures["rows"] = [asdict(row) for row in rows]
        given.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

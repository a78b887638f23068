"""What tracing costs a search: ``python -m benchmarks.tracing_cost``.

Whole installations (a gateway, an embedder and two hashers as processes of their own) search in turns: one
from whose code every call of tracing is removed, one with tracing off, and ones that sample no, some and all
calls and send their spans to a receiver in this process. Figures are CPU seconds of the processes by the
kernel's clock of each, which counts the threads that send spans, and no time that others had the processor.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from PIL import Image

from deploy.local.process import ROOT
from deploy.local.stack import Stack
from lookalike.client import Item
from lookalike.v1 import search_pb2, search_pb2_grpc, types_pb2

COLLECTION, SHARDS, CALLERS, K = "bench", 2, 4, 10
KINDS = ("photo", "vector")
VECTORS_FOR_A_PHOTO = 10
SERVICES = ("gateway", "embedder", "hasher")
EXPORT_SECONDS = 1.0
"""How long services collect spans before they send them; by default longer than a turn."""
OFF, REMOVED = "off", "removed"
RATIOS = {"ratio 0": 0.0, "ratio 0.01": 0.01, "ratio 1": 1.0}
VARIANTS = (OFF, REMOVED, *RATIOS)


@dataclass(frozen=True)
class Options:
    """What is measured."""

    bundle: Path
    items: int
    searches: int
    rounds: int
    starts: int = 1
    variants: Sequence[str] = VARIANTS


@dataclass
class Receiver(grpc.GenericRpcHandler):
    """Takes spans, and counts their bytes."""

    received_bytes: int = 0

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        """Answers whatever is called with an empty message."""
        return grpc.unary_unary_rpc_method_handler(self._take)

    def _take(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.received_bytes += len(request)
        return b""


@contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    """Serves a receiver; yields it and its address."""
    receiver, server = Receiver(), grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((receiver,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield receiver, f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def cpu_seconds(pid: int) -> float:
    """Returns what all threads of a process have run for, those that have ended included."""
    # The kernel's number for the clock of a process: see clock_getcpuclockid(3).
    return time.clock_gettime(~pid << 3 | 2)


class Installation:
    """One variant's services.

    Args:
        variant: Of :data:`VARIANTS`.
        folder: Gets data and logs.
        endpoint: Where spans are sent.
        options: What is measured.
    """

    def __init__(self, variant: str, folder: Path, endpoint: str, options: Options) -> None:
        self.variant = variant
        self._options = options
        tracing: tuple[str, ...] = ()
        if variant in RATIOS:
            tracing = (f"--trace-endpoint={endpoint}", f"--trace-sample-ratio={RATIOS[variant]}")
        through = ("benchmarks.without_tracing",) if variant == REMOVED else ()
        flags = {
            "gateway": ("--recall-probe-interval-seconds=0", *tracing),
            # OpenVINO chooses its precision by a measurement when it starts.
            "embedder": ("--backend=onnx", *tracing),
            "hasher": tracing,
        }
        folder.mkdir()
        self.stack = Stack(folder, options.bundle, SHARDS, flags, through)

    def start(self) -> None:
        """Starts the services and writes the items."""
        self.stack.start()
        with self.stack.client() as client:
            dimension = client.create_collection(COLLECTION).dimension
            vectors = np.random.default_rng(1).standard_normal((self._options.items, dimension))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            items = (
                Item(item_id=f"i{n}", product_id=f"p{n}", title="A title", embedding=one)
                for n, one in enumerate(vectors)
            )
            report = client.ingest(items, collection=COLLECTION)
            assert not report.failures, report.failures
        self._queries = {"photo": photo_query(), "vector": vector_query(vectors[0])}

    async def spent(self, kind: str) -> dict[str, float]:
        """Searches, and returns each service's CPU seconds a search; of a hasher: their mean."""
        # Idle services cost a little all the time: it must be little against the searches.
        count = self._options.searches * (VECTORS_FOR_A_PHOTO if kind == "vector" else 1)
        before = self._cpu_seconds()
        async with grpc.aio.insecure_channel(self.stack.gateway.target) as channel:
            stub = search_pb2_grpc.SearchServiceStub(channel)
            left = iter(range(count))
            await asyncio.gather(*(self._call(stub, kind, left) for _ in range(CALLERS)))
        await asyncio.sleep(1.5 * EXPORT_SECONDS)
        after = self._cpu_seconds()
        return {name: (after[name] - before[name]) / count for name in SERVICES}

    async def _call(self, stub: search_pb2_grpc.SearchServiceStub, kind: str, left: Iterator[int]) -> None:
        request = search_pb2.SearchRequest(collection=COLLECTION, k=K, query=self._queries[kind])
        for _ in left:
            await stub.Search(request, timeout=60)

    def _cpu_seconds(self) -> dict[str, float]:
        stack = self.stack
        return {
            "gateway": cpu_seconds(stack.gateway.popen.pid),
            "embedder": cpu_seconds(stack.embedder.popen.pid),
            "hasher": sum(cpu_seconds(hasher.popen.pid) for hasher in stack.hashers) / SHARDS,
        }


def photo_query() -> search_pb2.Query:
    """Returns a search for a JPEG of 640 by 480 pixels."""
    tiles = np.random.default_rng(2).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(tiles).resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return search_pb2.Query(image=types_pb2.Image(content=file.getvalue()))


def vector_query(vector: np.ndarray[Any, np.dtype[np.float64]]) -> search_pb2.Query:
    """Returns a search for a vector."""
    return search_pb2.Query(embedding=types_pb2.Embedding(values=vector.tolist()))


@dataclass
class Figures:
    """CPU seconds a search."""

    spent: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """(kind of search, service, variant) → one figure a round."""

    def summary(self) -> list[dict[str, object]]:
        """Returns a row for each: the median, and of the rounds' ratios to "off" median and 95 % interval."""
        rows: list[dict[str, object]] = []
        for (kind, service, variant), spent in self.spent.items():
            if kind == "vector" and service == "embedder":
                continue
            ratios = np.array(spent) / np.array(self.spent[kind, service, OFF])
            more = np.array(spent) - np.array(self.spent[kind, service, OFF])
            low, high = median_interval(ratios)
            rows.append(
                {
                    "search": kind,
                    "service": service,
                    "tracing": variant,
                    "cpu_us": round(float(np.median(spent)) * 1e6, 1),
                    "more_us": round(float(np.median(more)) * 1e6, 1),
                    "ratio": round(float(np.median(ratios)), 4),
                    "ratio_low": round(low, 4),
                    "ratio_high": round(high, 4),
                }
            )
        return rows


def median_interval(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """Returns two of the values that the median lies between with 95 % probability: ranks are near normal."""
    ordered, last = np.sort(values), len(values) - 1
    reach = 0.98 * math.sqrt(len(values))
    low, high = math.floor(last / 2 - reach), math.ceil(last / 2 + reach)
    return float(ordered[max(low, 0)]), float(ordered[min(high, last)])


def run(options: Options, folder: Path) -> tuple[Figures, int]:
    """Starts all installations in a folder and measures them in turns; returns also the bytes of spans."""
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = str(round(EXPORT_SECONDS * 1000))
    figures = Figures()
    with receiving() as (receiver, endpoint):
        for start in range(options.starts):
            with started(options, folder / str(start), endpoint) as installations:
                for round_ in range(options.rounds + 1):
                    asyncio.run(_round(installations, round_, figures))
                    print(f"start {start + 1}: {round_} of {options.rounds} rounds", file=sys.stderr)
        return figures, receiver.received_bytes


@contextmanager
def started(options: Options, folder: Path, endpoint: str) -> Iterator[list[Installation]]:
    """Starts an installation of each variant."""
    folder.mkdir()
    with ExitStack() as running:
        installations = []
        for variant in options.variants:
            made = Installation(variant, folder / variant.replace(" ", "-"), endpoint, options)
            running.callback(made.stack.stop)
            made.start()
            installations.append(made)
        yield installations


async def _round(installations: Sequence[Installation], round_: int, figures: Figures) -> None:
    first = round_ % len(installations)
    for kind in KINDS:
        for installation in (*installations[first:], *installations[:first]):
            spent = await installation.spent(kind)
            if round_:  # the first warms up
                for service, seconds in spent.items():
                    figures.spent[kind, service, installation.variant].append(seconds)


def main() -> None:
    """Measures, and prints a table."""
    # So that the services are stopped, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / "build" / "bundles" / "efficientnet-lite0"
    parser.add_argument("--bundle", type=Path, default=default, help="the embedder's model")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument(
        "--searches",
        type=int,
        default=100,
        help=f"by photo, of each variant in a round; {VECTORS_FOR_A_PHOTO} times as many by vector",
    )
    parser.add_argument("--rounds", type=int, default=5, help="after each start")
    parser.add_argument(
        "--starts", type=int, default=4, help="of all services: processes of the same code differ, too"
    )
    parser.add_argument("--json", type=Path, help="writes the figures there, too")
    arguments = parser.parse_args()
    options = Options(
        arguments.bundle, arguments.items, arguments.searches, arguments.rounds, arguments.starts
    )
    with tempfile.TemporaryDirectory() as folder:
        figures, received_bytes = run(options, Path(folder))
    for row in figures.summary():
        print(*(f"{name}={value}" for name, value in row.items()), sep="  ")
    print(f"{received_bytes} bytes of spans")
    if arguments.json:
        told = {name: str(value) for name, value in asdict(options).items()}
        arguments.json.write_text(json.dumps({"options": told, "rows": figures.summary()}, indent=1))


if __name__ == "__main__":
    main()

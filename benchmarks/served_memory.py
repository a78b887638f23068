"""Memory of a served collection: a real hasher, loaded, restarted, searched, for each rerank precision.

python -m benchmarks.served_memory --items 1100000 --dim 256

Resident memory is what the process has above one without data, after a restart (which maps the saved index)
and after searches, approximate and exact ones. Rows are read through SQLite's page cache, of which each
connection has 32 MiB at most; these count in "resident", not in "index".
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.engine.catalogue import Catalogue, Spec, load_or_generate
from deploy.local.hasher import HasherStub
from lookalike.collections import DEFAULT_PARTITION_COUNT
from lookalike.v1 import collection_pb2, hasher_pb2, types_pb2
from lookalike.wire.channel import channel_options

PRECISIONS = ("INT8", "F16", "F32")
MODEL, GENERATION = "benchmark", "catalogue.benchmark"
SERVING = health_pb2.HealthCheckResponse.SERVING
TARGET = hasher_pb2.ShardIdentity(installation_id="benchmark", shard=0, shard_count=1, layout_epoch=1)
BATCH = 1_000
IN_FLIGHT = 4
SEARCHES, EXACT_SEARCHES = 1_000, 20


@dataclass(frozen=True)
class Hasher:
    """A running hasher."""

    process: subprocess.Popen[bytes]
    stub: HasherStub

    def resident_mb(self) -> float:
        """Returns the resident memory, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024 / 1e6

    def index_mb(self) -> float:
        """Returns what the index says that it takes, in MB."""
        request = hasher_pb2.DescribeRequest(target=TARGET, generation=GENERATION)
        return float(self.stub.Describe(request, timeout=30).generations[0].index_bytes / 1e6)


@contextmanager
def hasher(folder: Path) -> Iterator[Hasher]:
    """Serves a data folder and stops in order, which saves the index."""
    ready = folder.parent / f"{folder.name}.ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "hasher", "--data-folder", str(folder), "--port", "0"]
    command += ["--metrics-port", "0", "--log-level", "warning", "--ready-file", str(ready)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        while not ready.exists():
            if process.poll() is not None:
                raise RuntimeError(f"the hasher ended with exit code {process.returncode}")
            time.sleep(0.05)
        bound = json.loads(ready.read_text())
        addresses = [f"127.0.0.1:{bound[name]}" for name in ("port", "search_port")]
        with ExitStack() as stack:
            opened = (grpc.insecure_channel(one, options=channel_options()) for one in addresses)
            channel, searches = map(stack.enter_context, opened)
            health = health_pb2_grpc.HealthStub(channel)
            while health.Check(health_pb2.HealthCheckRequest()).status != SERVING:
                time.sleep(0.05)
            yield Hasher(process, HasherStub(channel, searches))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(600)


def load(served: Hasher, catalogue: Catalogue) -> float:
    """Creates a generation and writes every item; returns items a second."""
    spec = collection_pb2.CollectionSpec(
        model_version=MODEL,
        dimension=catalogue.vectors.shape[1],
        bits=256,
        partition_count=DEFAULT_PARTITION_COUNT,
        rerank=collection_pb2.RERANK_PRECISION_F32,
    )
    served.stub.Apply(
        hasher_pb2.ApplyRequest(target=TARGET, generation=GENERATION, request_id="create", create=spec),
        timeout=60,
    )
    return write(served.stub, catalogue, TARGET, GENERATION)


def write(stub: HasherStub, catalogue: Catalogue, target: hasher_pb2.ShardIdentity, generation: str) -> float:
    """Writes every item into a generation of the only shard; returns items a second."""
    start = time.perf_counter()
    waiting: deque[grpc.Future] = deque()
    for first in range(0, len(catalogue.vectors), BATCH):
        vectors = np.asarray(catalogue.vectors[first : first + BATCH], dtype="<f4")
        request = hasher_pb2.ApplyRequest(target=target, generation=generation, request_id=f"w{first}")
        request.write.model_version = MODEL
        for i, vector in enumerate(vectors, first):
            item = types_pb2.Item(item_id=f"i{i}", product_id=f"p{catalogue.products[i]}")
            request.write.mutations.add().upsert.CopyFrom(
                hasher_pb2.UpsertRow(item=item, vector_f32_le=vector.tobytes())
            )
        waiting.append(stub.Apply.future(request, timeout=600))
        if len(waiting) == IN_FLIGHT:
            waiting.popleft().result()
    for call in waiting:
        call.result()
    return len(catalogue.vectors) / (time.perf_counter() - start)


def search(served: Hasher, catalogue: Catalogue, *, exact: bool, count: int) -> float:
    """Searches for queries; returns the mean share of the exact ten neighbours that are found."""
    found = 0
    for query, truth in zip(catalogue.queries[:count], catalogue.truth[:count], strict=True):
        answer = served.stub.Search(
            hasher_pb2.HasherServiceSearchRequest(
                target=TARGET,
                generation=GENERATION,
                model_version=MODEL,
                vectors_f32_le=np.asarray(query, dtype="<f4").tobytes(),
                k=10,
                exact=exact,
            ),
            timeout=120,
        )
        found += len({hit.item_id for hit in answer.results[0].hits} & {f"i{n}" for n in truth[:10]})
    return found / (10 * count)


def with_precision(loaded: Path, folder: Path, precision: str) -> None:
    """Copies the rows of a stopped hasher into another folder, as a collection of another precision."""
    shutil.copytree(loaded, folder, ignore=shutil.ignore_patterns("index-*"))
    with apsw.Connection(str(folder / GENERATION / "rows.sqlite")) as rows:
        rows.execute(
            "UPDATE meta SET value = json_set(value, '$.rerank', ?) WHERE key = 'spec'", (precision.lower(),)
        )
    with hasher(folder):
        pass  # builds the index and saves it


def measure(catalogue: Catalogue, folder: Path, precision: str, empty_mb: float) -> str:
    """Starts on a saved index and searches; returns the row of the table."""
    start = time.perf_counter()
    with hasher(folder) as served:
        restart_seconds = time.perf_counter() - start
        recall = search(served, catalogue, exact=False, count=SEARCHES)
        searched_mb = served.resident_mb() - empty_mb
        exact_recall = search(served, catalogue, exact=True, count=EXACT_SEARCHES)
        resident_mb, index_mb = served.resident_mb() - empty_mb, served.index_mb()
    float32_mb = catalogue.vectors.nbytes / 1e6
    return (
        f"| {precision.lower()} | {index_mb:,.0f} | {index_mb / float32_mb:.2f} | {searched_mb:,.0f} |"
        f" {searched_mb / float32_mb:.2f} | {resident_mb:,.0f} | {recall:.4f} | {exact_recall:.4f} |"
        f" {restart_seconds:.1f} |"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"))
    parser.add_argument("--only", nargs="*", choices=PRECISIONS, default=PRECISIONS, metavar="PRECISION")
    options = parser.parse_args()
    catalogue = load_or_generate(Spec(options.dim, options.items, options.seed), options.cache, print)
    with tempfile.TemporaryDirectory(dir=options.cache, prefix="served-memory-") as scratch:
        work = Path(scratch)
        with hasher(work / "empty") as served:
            empty_mb = served.resident_mb()
        print(f"{options.items:,} x {options.dim}; a hasher without data has {empty_mb:.0f} MB")
        loaded = work / "loaded"
        with hasher(loaded) as served:
            print(f"loaded at {load(served, catalogue):,.0f} items/s", flush=True)
        print(
            "| rerank | index MB | of float32 | resident MB after searches | of float32 |"
            " after exact ones too | recall@10 | exact | restart s |"
        )
        print("|---|" + "---:|" * 8)
        for precision in options.only:
            with_precision(loaded, work / precision, precision)
            print(measure(catalogue, work / precision, precision, empty_mb), flush=True)
            shutil.rmtree(work / precision)


if __name__ == "__main__":
    main()

"""What the benchmark measures, section by section."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.service import generator, photos, servers
from benchmarks.service.data import Data, recall_of
from benchmarks.service.generator import Load
from benchmarks.service.postgres import Build
from benchmarks.service.subjects import Measured, Subject, Writes, capacity, measure
from deploy.local.stack import Stack

__all__ = ["Plan", "by_shards", "embedding_searches", "loads", "of_kinds", "with_writes"]

UPSERT_METHOD = "/lookalike.v1.CatalogService/UpsertItems"
SHARDS = 2
WRITTEN_SHARES = (0.5, 0.7)
ITEMS_A_WRITE = 25


@dataclass(frozen=True)
class Plan:
    """What all sections keep to.

    Attributes:
        bundle: The model of the embedder.
        folder: Gets data, logs and requests, all of them for a while only.
        seconds: Of one load.
        shares: Loads, as shares of what a server answers when asked as fast as it can.
        shards: How many there are in the first section, one installation each.
        rounds: In which servers take turns where they are compared.
        recall: What servers are tuned to where they are compared.
        items_written: A second, where items are written meanwhile.
        peers: Those that are compared.
        postgres_builds: The indexes of PostgreSQL that are tried.
        progress: Hears what is done.
    """

    data: Data
    bundle: Path
    folder: Path
    seconds: float
    shares: Sequence[float]
    shards: Sequence[int]
    rounds: int
    recall: float
    items_written: float
    peers: Sequence[str]
    postgres_builds: Sequence[Build]
    progress: Callable[[str], None]

    def requests(self, name: str, messages: Sequence[bytes]) -> Path:
        """Writes requests to a file."""
        return generator.write_messages(self.folder / f"{name}.requests", messages)


def embedding_searches(plan: Plan, stack: Stack, name: str, **options: object) -> Subject:
    """Returns searches by embedding; ``options`` are fields of ``SearchRequest``."""
    return Subject(
        name,
        generator.grpc_call(stack.gateway.target, servers.SEARCH_METHOD),
        servers.processes_of(stack),
        plan.requests(name, plan.data.searches(**options)),
        recall_of(plan.data.truth),
    )


def loads(plan: Plan, subject: Subject) -> Iterator[Measured]:
    """Finds out how much a subject can answer, and asks it shares of that."""
    most = capacity(subject, plan.seconds, plan.folder)
    plan.progress(f"{subject.name}: {most.found.answered_per_second:,.0f} searches/s")
    yield most
    for share in plan.shares:
        load = Load(plan.seconds, most.found.answered_per_second * share)
        measured = measure(subject, f"{share:.0%}", load, plan.folder)
        p99 = measured.found.latency_us.get("p99", float("nan")) / 1e3
        plan.progress(f"{subject.name}, {share:.0%}: {measured.total_cpu_ms:.2f} ms of CPU, p99 {p99:.1f} ms")
        yield measured


def by_shards(plan: Plan) -> Iterator[Measured]:
    """Searches by embedding of one installation after the other."""
    for count in plan.shards:
        name = f"by embedding, {count} shard{'s' if count > 1 else ''}"
        with servers.lookalike(plan.data, count, plan.bundle, plan.folder / f"shards-{count}") as stack:
            yield from loads(plan, embedding_searches(plan, stack, name))


def of_kinds(plan: Plan) -> Iterator[Measured]:
    """Searches by item id and by photo."""
    with servers.lookalike(plan.data, SHARDS, plan.bundle, plan.folder / "kinds") as stack:
        call = generator.grpc_call(stack.gateway.target, servers.SEARCH_METHOD)
        searches, truth = plan.data.item_searches()
        requests = plan.requests("items", searches)
        name = f"by item id, {SHARDS} shards"
        yield from loads(plan, Subject(name, call, servers.processes_of(stack), requests, recall_of(truth)))
        yield from loads(plan, photos.searches(stack, plan.folder))


def with_writes(plan: Plan) -> Iterator[Measured]:
    """Searches by embedding while items are written, and while none are, in turns."""
    with servers.lookalike(plan.data, SHARDS, plan.bundle, plan.folder / "writes") as stack:
        subject = embedding_searches(plan, stack, f"by embedding, {SHARDS} shards")
        most = capacity(subject, plan.seconds, plan.folder)
        yield most
        for share in WRITTEN_SHARES:
            load = Load(plan.seconds, most.found.answered_per_second * share)
            yield measure(subject, f"{share:.0%}", load, plan.folder)
            name = f"{share:.0%}, {plan.items_written:,.0f} items/s written"
            yield measure(subject, name, load, plan.folder, _writes(plan, stack))
            plan.progress(f"{subject.name}, {name}")


def _writes(plan: Plan, stack: Stack) -> Writes:
    per_second = plan.items_written / ITEMS_A_WRITE
    # A repeated request id would be answered without a write, so there is one for each that may be due.
    count = int(2 * per_second * plan.seconds) + 50
    requests = plan.requests("writes", plan.data.writes(count, ITEMS_A_WRITE))
    return Writes(generator.grpc_call(stack.gateway.target, UPSERT_METHOD), requests, per_second)

"""The course of a soak."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc

from benchmarks.engine.machine import busy_seconds
from benchmarks.ingest import Installation, Vectors
from benchmarks.service import generator
from benchmarks.service.accounting import cpu_seconds
from benchmarks.service.data import COLLECTION
from benchmarks.service.generator import Found, Load
from benchmarks.service.servers import MODEL, SEARCH_METHOD
from benchmarks.soak.callers import ITEMS_A_WRITE, Cancelling, Outcome, Repeated, Writing
from benchmarks.soak.samples import Sample, Sampler, in_progress
from benchmarks.soak.searches import Slice, Slices, mixed
from deploy.local.stack import Server

__all__ = ["Kill", "Plan", "Soaked", "run"]

Progress = Callable[[str], None]
Searches = Sequence[tuple[bytes, bool]]
Send = Callable[[Load], Found]
SEARCHES = 2_000
"""Different ones."""
SLICE_SECONDS = 10.0
USUAL_SECONDS = 3.0
OVERLOAD = 1.5
"""Of what waiting callers get answered, to find what can be answered of what comes at random times."""
BEFORE_KILL_SECONDS = 1.0
CANCELLING_CALLERS = 4
WRITTEN_SHARE = 0.1
"""Of the items, the last ones: the others stay as they are."""
RESTORED_SECONDS = 120.0
IDLE_SECONDS = 30.0


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        share: Of the searches that can be answered, as many as are sent.
        cancelled: Share of these that their callers give up.
        items_written: A second, every fourth of them deleted.
        kill_seconds: From kill to kill.
        around_seconds: After the killed shard answers again, what a kill still explains.
    """

    seconds: float
    items: int
    dim: int
    share: float
    cancelled: float
    items_written: float
    kill_seconds: float
    around_seconds: float
    warm_up_seconds: float
    sample_seconds: float
    capacity_seconds: float


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill of a shard; seconds since the load began."""

    killed: float
    restored: float
    """A search of all shards was answered again."""


@dataclass
class Soaked:
    """All that was seen."""

    plan: Plan
    capacity: float = 0.0
    rate: float = 0.0
    """Searches a second, those included that are cancelled."""
    slices: list[Slice] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    cancelling: list[Outcome] = field(default_factory=list)
    writing: list[Outcome] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Items that are not as their last acknowledged write has left them."""
    ended: dict[str, str] = field(default_factory=dict)
    """Process that nobody has stopped, and that no longer runs → the last line of its log."""
    left: dict[str, dict[str, float]] = field(default_factory=dict)
    """Process → what says that calls are in progress, when all have ended."""

    def explained(self, began: float, ended: float) -> bool:
        """Returns whether a call was under way around a kill; seconds since the load began."""
        return any(
            began <= kill.restored + self.plan.around_seconds and ended >= kill.killed - BEFORE_KILL_SECONDS
            for kill in self.kills
        )


def run(plan: Plan, folder: Path, progress: Progress) -> Soaked:
    """Starts an installation, and puts it under load.

    Raises:
        FileNotFoundError: The load generator was not built.
        RuntimeError: An item was refused.
    """
    generator.binary()
    installation, vectors = Installation(folder), Vectors(plan.dim)
    try:
        installation.start()
        with installation.client() as client:
            client.create_collection(COLLECTION, model_version=MODEL, dimension=plan.dim)
            report = client.ingest(vectors.items(0, plan.items), collection=COLLECTION)
            if report.failures:
                raise RuntimeError(f"items were refused: {report.failures[0]}")
            progress(f"{plan.items:,} items are loaded")
        return _soaked(plan, installation, vectors, folder, progress)
    finally:
        installation.stop()


def _soaked(
    plan: Plan, installation: Installation, vectors: Vectors, folder: Path, progress: Progress
) -> Soaked:
    soaked = Soaked(plan)
    kept = int(plan.items * (1 - WRITTEN_SHARE))
    searches = mixed(vectors, SEARCHES, kept)
    servers: list[Server] = [installation.gateway, *installation.hashers]
    call = generator.grpc_call(installation.gateway.target, SEARCH_METHOD)
    requests = generator.write_messages(folder / "capacity.requests", (message for message, _ in searches))
    send = partial(generator.run, call, requests)
    with installation.client() as client, grpc.insecure_channel(installation.gateway.target) as channel:
        writing = Writing(client, Vectors(plan.dim, seed=3), range(kept, plan.items))
        writer = Repeated(writing, plan.items_written / ITEMS_A_WRITE)
        with ExitStack() as stack:
            stack.enter_context(writer)
            usual_seconds, waiting = _usual(plan, send)
            callers = _cancelling(plan, channel, searches, usual_seconds, waiting)
            for caller in callers:
                stack.enter_context(caller)
            soaked.capacity = _capacity(plan, send, waiting)
            soaked.rate = soaked.capacity * plan.share
            progress(f"{soaked.capacity:,.0f} searches/s can be answered, {soaked.rate:,.0f} are sent")
            sampler = stack.enter_context(Sampler(servers, plan.sample_seconds))
            _search(soaked, installation, searches, folder, progress, sampler.began)
        for broken in (*(one.broken for one in (writer, *callers)), sampler.broken):
            if broken:
                raise broken
        soaked.samples = sampler.samples
        soaked.writing = _since(writer.outcomes, sampler.began)
        soaked.cancelling = [one for caller in callers for one in _since(caller.outcomes, sampler.began)]
        soaked.ended = {one.name: _last_line(one) for one in servers if not one.is_running()}
        # What has ended can be asked nothing.
        if not soaked.ended:
            soaked.lost = writing.lost()
            soaked.left = _left(servers)
    return soaked


def _last_line(server: Server) -> str:
    return (server.said().splitlines() or [""])[-1]


def _usual(plan: Plan, send: Send) -> tuple[float, float]:
    """Returns how long a search takes at half the load, and what callers that wait get answered a second."""
    send(Load(min(2.0, plan.capacity_seconds)))
    waiting = send(Load(plan.capacity_seconds)).answered_per_second
    half = send(Load(USUAL_SECONDS, waiting / 2))
    return half.service_us["p50"] / 1e6, waiting


def _cancelling(
    plan: Plan, channel: grpc.Channel, searches: Searches, usual_seconds: float, waiting: float
) -> list[Repeated]:
    """Returns callers that give up their searches."""
    per_second = waiting * plan.share * plan.cancelled / CANCELLING_CALLERS
    return [
        Repeated(Cancelling(channel, searches, usual_seconds, seed), per_second)
        for seed in range(CANCELLING_CALLERS)
    ]


def _capacity(plan: Plan, send: Send, waiting: float) -> float:
    """Returns how many searches a second can be answered next to the writes and to callers that give up.

    Callers that wait for their answers send many searches at a time, which costs less a search than those
    that come at random times, as users' do.
    """
    return send(Load(plan.capacity_seconds, OVERLOAD * waiting)).answered_per_second


def _search(
    soaked: Soaked,
    installation: Installation,
    searches: Searches,
    folder: Path,
    progress: Progress,
    began: float,
) -> None:
    """Searches and kills until the time is over."""
    load = Load(SLICE_SECONDS, soaked.rate * (1 - soaked.plan.cancelled))
    call = generator.grpc_call(installation.gateway.target, SEARCH_METHOD)
    slices = Slices(call, searches, load, folder)
    try:
        _slices(soaked, slices, installation, searches[0][0], progress, began)
    finally:
        slices.kill()


def _slices(
    soaked: Soaked,
    slices: Slices,
    installation: Installation,
    search: bytes,
    progress: Progress,
    began: float,
) -> None:
    plan = soaked.plan
    next_kill, quiet = plan.kill_seconds, 0.0
    counted: list[Future[Slice]] = []
    # Answers are counted while the next searches are sent.
    with ThreadPoolExecutor(1) as counting:
        while (now := time.monotonic() - began) < plan.seconds:
            slices.start()
            before, start = _others_seconds(), time.monotonic()
            # The last life is as long as the others.
            kills = next_kill <= now <= plan.seconds - plan.kill_seconds
            around = kills or now < quiet
            if kills:
                time.sleep(BEFORE_KILL_SECONDS)
                kill = _kill(installation, search, began)
                soaked.kills.append(kill)
                progress(f"{kill.killed:,.0f} s: killed; answers after {kill.restored - kill.killed:.1f} s")
                next_kill, quiet = kill.killed + plan.kill_seconds, kill.restored + plan.around_seconds
            sent = slices.wait()
            others = max(_others_seconds() - before, 0) / (time.monotonic() - start)
            counted.append(counting.submit(slices.counted, *sent, now, around, others))
    soaked.slices = [one.result() for one in counted]


def _others_seconds() -> float:
    """CPU time of all but this process and what it has started."""
    return busy_seconds() - cpu_seconds(os.getpid())


def _kill(installation: Installation, search: bytes, began: float) -> Kill:
    """Kills the last shard, starts it again, and waits until searches rest on all shards."""
    server = installation.hashers[-1]
    killed = time.monotonic() - began
    server.kill()
    server.start()
    with grpc.insecure_channel(installation.gateway.target) as channel:
        call = channel.unary_unary(SEARCH_METHOD)
        while True:
            try:
                call(search, timeout=5.0)
                return Kill(killed, time.monotonic() - began)
            except grpc.RpcError:
                if time.monotonic() - began > killed + RESTORED_SECONDS:
                    raise
                time.sleep(0.05)


def _since(outcomes: Sequence[Outcome], began: float) -> list[Outcome]:
    """Returns what happened since the load began, in seconds since then."""
    return [
        Outcome(one.kind, one.began - began, one.ended - began, one.outcome)
        for one in outcomes
        if one.began >= began
    ]


def _left(servers: Sequence[Server]) -> dict[str, dict[str, float]]:
    """Waits until no call is in progress any more, and returns what stays."""
    deadline = time.monotonic() + IDLE_SECONDS
    while True:
        left = {server.name: found for server in servers if (found := in_progress(server))}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.5)

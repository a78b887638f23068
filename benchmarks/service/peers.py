"""Lookalike side by side with bare echoes and other vector servers: same items, requests of the same size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TypeVar

import numpy as np

from benchmarks.service import generator, servers
from benchmarks.service.generator import Load
from benchmarks.service.postgres import postgres
from benchmarks.service.sections import Plan, embedding_searches
from benchmarks.service.subjects import Measured, Subject, capacity, measure
from benchmarks.service.weaviate import weaviate
from deploy.local.stack import Stack

__all__ = ["PEERS", "compared"]

PEERS = ("echoes", "postgres", "weaviate")
EFFORTS = tuple(round(0.05 * step, 2) for step in range(6, 21))
BREADTHS = (10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 160, 200, 300, 400)
# Edges of a vector and breadth of the search for them; the second is Weaviate's default.
WEAVIATE_BUILDS = ((16, 128), (32, 128), (32, 256))
SCREEN_SECONDS = 3.0
SHARE = 0.5

Build = TypeVar("Build")
Breadth = TypeVar("Breadth", int, float)


def compared(plan: Plan) -> Iterator[Measured]:
    """Starts all servers, tunes them to the recall asked for, and measures them in turns, half loaded."""
    with ExitStack() as running:
        subjects = [*_lookalike(plan, running)]
        if "echoes" in plan.peers:
            subjects += _echoes(plan, running, subjects[0])
        for name, start in (("postgres", _postgres), ("weaviate", _weaviate)):
            if name in plan.peers:
                try:
                    subjects.append(start(plan, running))
                except FileNotFoundError as error:
                    plan.progress(f"{name} is left out: {error}")
        most = [capacity(subject, plan.seconds, plan.folder) for subject in subjects]
        yield from most
        for number in range(plan.rounds):
            for subject, closed in zip(subjects, most, strict=True):
                load = Load(plan.seconds, closed.found.answered_per_second * SHARE, seed=number)
                yield measure(subject, f"{SHARE:.0%}", load, plan.folder)
            plan.progress(f"round {number + 1} of {plan.rounds}")


def _lookalike(plan: Plan, running: ExitStack) -> Iterator[Subject]:
    def start(shards: int) -> Stack:
        folder = plan.folder / f"compared-{shards}"
        return running.enter_context(servers.lookalike(plan.data, shards, plan.bundle, folder))

    # What users get who set nothing, then as little work as the recall allows.
    two, one = start(2), start(1)
    yield embedding_searches(plan, two, "Lookalike, 2 shards")
    name = "Lookalike, 1 shard"

    def at(_: None, effort: float) -> Subject:
        return embedding_searches(plan, one, name, effort=effort)

    yield tuned(plan, name, [None], lambda _: None, at, EFFORTS)


def _echoes(plan: Plan, running: ExitStack, like: Subject) -> list[Subject]:
    """Echoes that get the same requests, and answer with as many bytes as Lookalike does on average."""
    answers = plan.folder / "sized"
    generator.run(like.call, like.requests, Load(SCREEN_SECONDS), answers)
    sizes = [len(answer) for answer in generator.read_messages(answers) if answer is not None]
    size = int(np.mean(sizes))
    plan.progress(f"answers have {size:,} bytes")
    return [
        running.enter_context(servers.aio_echo(size, like.requests, plan.folder)),
        running.enter_context(servers.tonic_echo(size, like.requests, plan.folder)),
    ]


def _postgres(plan: Plan, running: ExitStack) -> Subject:
    server = running.enter_context(postgres(plan.data, plan.folder / "postgres"))
    plan.progress(server.version())
    dim = plan.data.vectors.shape[1]
    return tuned(
        plan,
        "PostgreSQL",
        plan.postgres_builds,
        lambda build: server.index(build, dim),
        lambda build, ef: server.subject(plan.data, build, ef, plan.folder),
        BREADTHS,
    )


def _weaviate(plan: Plan, running: ExitStack) -> Subject:
    server = running.enter_context(weaviate(plan.folder / "weaviate"))
    plan.progress(server.version())

    def at(_: tuple[int, int], ef: int) -> Subject:
        server.set_ef(ef)
        return server.subject(plan.data, plan.folder)

    return tuned(
        plan, "Weaviate", WEAVIATE_BUILDS, lambda build: server.load(plan.data, *build), at, BREADTHS
    )


def tuned(
    plan: Plan,
    name: str,
    builds: Sequence[Build],
    make: Callable[[Build], None],
    at: Callable[[Build, Breadth], Subject],
    breadths: Sequence[Breadth],
) -> Subject:
    """Returns the subject that reaches the recall at the least CPU.

    Args:
        builds: Kinds of index; ``make`` replaces the one before.
        at: Makes a subject of a build and a breadth of searches.
        breadths: In rising order; of each build the first that suffices counts.

    Raises:
        RuntimeError: None reaches the recall.
    """
    enough: list[tuple[float, Build, Breadth]] = []
    for build in builds:
        make(build)
        for breadth in breadths:
            screened = measure(at(build, breadth), "screening", Load(SCREEN_SECONDS), plan.folder)
            recall, cost = screened.recall or 0.0, screened.total_cpu_ms
            plan.progress(f"{name}, {build}, {breadth}: recall {recall:.4f}, {cost:.3f} ms of CPU")
            if recall >= plan.recall:
                enough.append((cost, build, breadth))
                break
    if not enough:
        raise RuntimeError(f"{name} does not reach a recall of {plan.recall}")
    _, build, breadth = min(enough, key=lambda found: found[0])
    if build != builds[-1]:
        make(build)
    return at(build, breadth)

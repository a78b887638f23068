"""Search latency while the index changes, and how fast it takes new items while it is searched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.catalogue import Catalogue, Floats
from benchmarks.engine.contenders import Contender, contenders
from benchmarks.engine.curves import Options, describe, prepare
from benchmarks.engine.engines.base import Settings
from benchmarks.engine.measure import K, load, recall_of, timed
from benchmarks.engine.processes import Child, State
from benchmarks.engine.report import table

__all__ = ["run"]

TARGET_RECALL = 0.95
BATCH = 500
NEW_ID = 2**40
"""Ids of inserted items start here, beyond those of the catalogue."""


def run(
    catalogue: Catalogue, engines: Sequence[str], seconds: float, upserts_per_second: int, options: Options
) -> tuple[dict[str, Any], str]:
    """Idle, then upserts of existing ids at the given rate, then inserts as fast as they go."""
    count, dim = catalogue.vectors.shape
    chosen = contenders("live", dim, count, engines)
    runs, left_out = prepare(chosen, catalogue, options)
    figures: dict[str, Any] = {"left_out": left_out}
    rows = []
    for entry in runs:
        name = entry.contender.name
        phases = [("idle", min(seconds, 20.0), 0), ("upserts", seconds, upserts_per_second)]
        phases.append(("inserts", min(seconds, 20.0), -1))
        with Child(set(options.build_cores)) as child:
            child.call(load, entry.contender, entry.build.folder, catalogue.folder)
            settings = child.call(pick_settings, contender=entry.contender)
            measured = {}
            for phase, length, rate in phases:
                options.progress(f"{catalogue.name}: {name}, {phase} for {length:.0f} s")
                measured[phase] = child.call(measure_phase, settings=settings, seconds=length, rate=rate)
        figures[name] = {"search": settings, **measured}
        rows += [
            [
                f"{name} {describe(settings)}, {phase}",
                f"{m['writes_per_second']:,.0f}",
                f"{m['searches_per_second']:,.0f}",
                *(f"{m[f'p{p}_us']:,.0f}" for p in ("50", "99", "999")),
                "–" if m["recall"] is None else f"{m['recall']:.4f}",
            ]
            for phase, m in measured.items()
        ]
    header = ["index and phase", "writes/s", "searches/s", "p50 µs", "p99 µs", "p99.9 µs", "recall@10 after"]
    text = f"## Searches while the index changes, {count:,} × {dim} ({catalogue.name})\n\n"
    return figures, text + table(header, rows)


def pick_settings(state: State, contender: Contender) -> Settings:
    """The fastest search settings that reach the target recall, or the most accurate of all."""
    catalogue: Catalogue = state["catalogue"]
    tried = []
    for settings in contender.searches:
        search = state["engine"].searcher(settings, K, True)
        found, seconds, _ = timed(search, catalogue.queries, "single")
        tried.append((recall_of(found, catalogue.truth), seconds, settings))
    reached = [entry for entry in tried if entry[0] >= TARGET_RECALL]
    best = min(reached, key=lambda e: e[1]) if reached else max(tried, key=lambda e: e[0])
    return best[2]


def measure_phase(state: State, settings: Settings, seconds: float, rate: int) -> dict[str, Any]:
    """Latencies of back-to-back searches during `rate` writes a second.

    0 writes nothing, -1 inserts new items without a limit. Upserts write each item's own vector again, so
    that the exact answers stay what they were; the recall is measured after the phase.
    """
    catalogue: Catalogue = state["catalogue"]
    search = state["engine"].searcher(settings, K, True)
    stop = threading.Event()
    written = [0]
    writer = threading.Thread(target=_write, args=(state, rate, stop, written)) if rate else None
    rows = [catalogue.queries[at : at + 1] for at in range(len(catalogue.queries))]
    for row in rows[:200]:
        search(row)
    latencies: list[float] = []
    started = time.perf_counter()
    if writer:
        writer.start()
    while (now := time.perf_counter()) - started < seconds:
        search(rows[len(latencies) % len(rows)])
        latencies.append(time.perf_counter() - now)
    elapsed = time.perf_counter() - started
    stop.set()
    if writer:
        writer.join()
    found, _, _ = timed(search, catalogue.queries, "single")
    micros = np.array(latencies) * 1e6
    # Inserted copies outrank the item that they copy, so that recall says nothing after inserts.
    recall = recall_of(found, catalogue.truth) if rate >= 0 else None
    return {
        "writes_per_second": written[0] / elapsed,
        "searches_per_second": len(latencies) / elapsed,
        "p50_us": float(np.percentile(micros, 50)),
        "p99_us": float(np.percentile(micros, 99)),
        "p999_us": float(np.percentile(micros, 99.9)),
        "max_us": float(micros.max()),
        "recall": recall,
    }


def _write(state: State, rate: int, stop: threading.Event, written: list[int]) -> None:
    catalogue: Catalogue = state["catalogue"]
    add: Callable[..., None] = state["engine"].index.add
    rng = np.random.default_rng(3)
    order: NDArray[np.int64] = rng.permutation(len(catalogue.vectors))
    started = time.perf_counter()
    for number in range(2**62):
        if stop.is_set():
            return
        batch = order.take(np.arange(number * BATCH, (number + 1) * BATCH), mode="wrap")
        vectors: Floats = np.ascontiguousarray(catalogue.vectors[batch])
        ids = batch.astype(np.uint64)
        if rate < 0:
            ids += np.uint64(NEW_ID + number * len(order))
        add(vectors, ids, ids)
        written[0] += BATCH
        if rate > 0:
            stop.wait(max(0.0, written[0] / rate - (time.perf_counter() - started)))

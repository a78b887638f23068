"""Build time, with one and with two threads, each build in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.engine.builds import build_index
from benchmarks.engine.catalogue import Catalogue
from benchmarks.engine.contenders import contenders
from benchmarks.engine.curves import Options
from benchmarks.engine.engines import installed
from benchmarks.engine.engines.base import UnavailableError
from benchmarks.engine.processes import Child, ChildError
from benchmarks.engine.report import table

__all__ = ["run"]


def run(
    catalogue: Catalogue, engines: Sequence[str], rounds: int, options: Options
) -> tuple[dict[str, Any], str]:
    """Builds every contender of the section `build` again; returns the figures and a table."""
    count, dim = catalogue.vectors.shape
    chosen = [c for c in contenders("build", dim, count, engines) if installed(c.adapter)]
    cores = sorted(os.sched_getaffinity(0))
    thread_counts = sorted({1, min(2, len(cores))})
    seconds: dict[str, dict[int, list[float]]] = {}
    left_out: dict[str, str] = {}
    for _ in range(rounds):
        for threads in thread_counts:
            for contender in chosen:
                options.progress(f"{catalogue.name}: building {contender.name}, threads {threads}")
                try:
                    with Child(set(cores[-threads:])) as child:
                        facts = child.call(
                            build_index,
                            contender=contender,
                            vectors_folder=catalogue.folder,
                            threads=threads,
                            save_to=None,
                        )
                except (UnavailableError, ChildError) as error:
                    left_out[contender.name] = str(error)
                    continue
                times = seconds.setdefault(contender.name, {}).setdefault(threads, [])
                times.append(facts["seconds"])
    rows = [
        [name, *(f"{median(times):.1f}" for times in by_threads.values())]
        for name, by_threads in seconds.items()
    ]
    text = f"## Build seconds, {count:,} × {dim} ({catalogue.name})\n\n"
    text += table(["index", *(f"threads: {threads}" for threads in thread_counts)], rows)
    text += "".join(f"\nLeft out: {name}: {why.splitlines()[-1]}\n" for name, why in left_out.items())
    return {"seconds": seconds, "left_out": left_out}, text

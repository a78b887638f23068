"""The threads that work for calls, so that none of them holds up the event loop or calls of another kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hasher.metrics import HasherMetrics
from lookalike.runtime.cpus import available_cpus

_Result = TypeVar("_Result")


class Pool:
    """Threads for one kind of work.

    Args:
        name: Of the threads.
        threads: How many.
        took: Is called in the thread with the seconds that a piece of work waited and took, if it was begun.
    """

    def __init__(self, name: str, threads: int, took: Callable[[float, float], None]) -> None:
        self._took = took
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"hasher-{name}")

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Works in a thread; a caller that goes away before its turn takes its work with it."""
        submitted = time.perf_counter()

        def timed() -> _Result:
            begun = time.perf_counter()
            try:
                return work()
            finally:
                self._took(begun - submitted, time.perf_counter() - begun)

        return await asyncio.get_running_loop().run_in_executor(self._executor, timed)

    def close(self) -> None:
        """Waits for what is being worked on, and drops what waits."""
        self._executor.shutdown(cancel_futures=True)


class Pools:
    """The threads of one hasher.

    Searches that compare with every row have one thread of their own: they would take all of them, for long.

    Args:
        search_threads: Searches at once; 0: as many as there are processors.
        metrics: Where it shows how long work waited.
    """

    def __init__(self, search_threads: int, metrics: HasherMetrics) -> None:
        threads = search_threads or available_cpus()
        self.search = Pool(
            "search", threads, lambda queue, work: metrics.search_took("queue", queue, exact=False)
        )
        self.exact = Pool("exact", 1, lambda queue, work: metrics.search_took("queue", queue, exact=True))
        self.rows = Pool("rows", threads, metrics.read)
        """Reads, conversion of writes, descriptions."""

    def close(self) -> None:
        """Ends all of them."""
        for pool in (self.search, self.exact, self.rows):
            pool.close()

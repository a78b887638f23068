"""The threads that work for calls, so that none of them holds up the event loop or calls of another kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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

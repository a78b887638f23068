"""Photos are prepared in threads while the network is busy with those before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Prepared = TypeVar("Prepared")


def prepared_ahead(
    jobs: Sequence[Job], prepare: Callable[[Job], Prepared], *, batch_size: int, threads: int
) -> Iterator[tuple[Sequence[Job], list[Prepared]]]:
    """Yields jobs in batches with what came of them, preparing the next batch meanwhile.

    Args:
        jobs: What is to be prepared.
        prepare: Called in the threads; what it raises is raised when its batch is due.
        batch_size: Jobs of a batch; the last one may have fewer.
        threads: How many prepare.
    """
    batches = [jobs[start : start + batch_size] for start in range(0, len(jobs), batch_size)]
    with ThreadPoolExecutor(threads, thread_name_prefix="prepare") as pool:
        following = [pool.submit(prepare, job) for job in batches[0]] if batches else []
        for number, batch in enumerate(batches):
            present = following
            ahead = batches[number + 1] if number + 1 < len(batches) else []
            following = [pool.submit(prepare, job) for job in ahead]
            yield batch, [future.result() for future in present]

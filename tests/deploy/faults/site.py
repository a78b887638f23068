"""What faults are done to, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.load import COLLECTION, Load
from deploy.local.observed import Observed
from deploy.local.stack import Server
from deploy.local.triton import TritonServer

DISK_BYTES = 512 << 20
"""Size of the disk of the last shard."""


@dataclass
class Site:
    """What faults are done to."""

    observed: Observed
    load: Load
    bundle: Path
    """A copy that belongs to the embedder."""
    other_bundle: Path
    photos: list[bytes]

    @property
    def gateway(self) -> Server:
        return self.observed.stack.gateway

    @property
    def hasher(self) -> Server:
        """The last shard, whose disk is small."""
        return self.observed.stack.hashers[-1]

    @property
    def triton(self) -> TritonServer:
        assert self.observed.triton
        return self.observed.triton

    @property
    def data_folder(self) -> Path:
        """That of the last shard."""
        return self.observed.stack.shard_folder(len(self.observed.stack.hashers) - 1)

    @property
    def generation(self) -> Path:
        """The folder of the collection's rows in the last shard."""
        # Of what is known without the shards.
        with self.observed.stack.client() as client:
            (name,) = (one.generation for one in client.list_collections() if one.name == COLLECTION)
        return next(path for path in self.data_folder.rglob(name) if path.is_dir())


def until_end(*undo: Callable[[], object]) -> AbstractContextManager[object]:
    """Lasts as long as a fault, which has begun: at its end these are done, in their order."""
    stack = ExitStack()
    for step in reversed(undo):
        stack.callback(step)
    return stack


@contextmanager
def at_work(work: Callable[[int, threading.Event], None], threads: int = 1) -> Iterator[None]:
    """Does something in threads for as long as a fault lasts.

    Args:
        work: Takes the number of its thread, and what is set at the end.
        threads: How many do it.
    """
    ended = threading.Event()
    with ThreadPoolExecutor(threads) as pool:
        done = [pool.submit(work, number, ended) for number in range(threads)]
        try:
            yield
        finally:
            ended.set()
        for one in done:
            one.result()

"""What goes on next to the searches of a soak: callers that give up, and durable writes."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grpc
import numpy as np

from benchmarks.ingest import Vectors
from benchmarks.service.data import COLLECTION, item_id
from benchmarks.service.servers import SEARCH_METHOD
from lookalike.client import Client
from lookalike.errors import LookalikeError

__all__ = ["Cancelling", "Outcome", "Repeated", "Writing"]

DEADLINE_SECONDS = 5.0
ITEMS_A_WRITE = 25
WRITES_A_DELETION = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call: ``ok``, ``cancelled``, or the status or reason of its failure."""

    kind: str
    began: float
    ended: float
    outcome: str


class Repeated:
    """Does one thing at a steady rate from a thread of its own; what takes long delays the next.

    Args:
        act: Returns the kind of the call and what became of it.
        per_second: How often; 0: never.
    """

    def __init__(self, act: Callable[[], tuple[str, str]], per_second: float) -> None:
        self._act = act
        self._pause = 1 / per_second if per_second else math.inf
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.outcomes: list[Outcome] = []
        self.broken: BaseException | None = None
        """What ended it early."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        if math.isinf(self._pause):
            return
        due = time.monotonic() + random.random() * self._pause
        try:
            while not self._ended.wait(max(due - time.monotonic(), 0)):
                began = time.monotonic()
                kind, outcome = self._act()
                ended = time.monotonic()
                self.outcomes.append(Outcome(kind, began, ended, outcome))
                due = max(due + self._pause, ended)
        except BaseException as error:
            self.broken = error
            raise


class Cancelling:
    """A caller that cancels each search after a random part of the time that it usually takes.

    Args:
        channel: To the gateway.
        usual_seconds: That time; some searches get a little more of it, and are answered.
    """

    def __init__(
        self, channel: grpc.Channel, searches: Sequence[tuple[bytes, bool]], usual_seconds: float, seed: int
    ) -> None:
        self._search = channel.unary_unary(SEARCH_METHOD)
        self._searches = searches
        self._usual = usual_seconds
        self._random = random.Random(seed)

    def __call__(self) -> tuple[str, str]:
        """Sends a search, and cancels it."""
        message, _ = self._random.choice(self._searches)
        call = self._search.future(message, timeout=DEADLINE_SECONDS)
        time.sleep(self._random.uniform(0, 1.2) * self._usual)
        call.cancel()
        code = call.code()
        return "search", {grpc.StatusCode.OK: "ok", grpc.StatusCode.CANCELLED: "cancelled"}.get(
            code, code.name
        )


class Writing:
    """Upserts and deletes items, and knows which must be there.

    Args:
        rows: The items that it may write, all of them there at first.
    """

    def __init__(self, client: Client, vectors: Vectors, rows: range) -> None:
        self._client = client
        self._vectors = vectors
        self._rows = rows
        self._random = np.random.default_rng(9)
        self._turn = 0
        self._there: dict[int, bool | None] = dict.fromkeys(rows, True)
        """None: it is not known what became of its last write."""

    def __call__(self) -> tuple[str, str]:
        """Writes."""
        self._turn += 1
        count = min(ITEMS_A_WRITE, len(self._rows))
        rows = [int(row) for row in self._random.choice(self._rows, count, replace=False)]
        deletes = self._turn % (WRITES_A_DELETION + 1) == 0
        self._there.update(dict.fromkeys(rows, None))
        try:
            failures = (self._delete if deletes else self._upsert)(rows)
        except LookalikeError as error:
            return "deletion" if deletes else "upsert", str(error.reason)
        if not failures:
            self._there.update(dict.fromkeys(rows, not deletes))
        return "deletion" if deletes else "upsert", "ok" if not failures else str(failures[0].error)

    def _delete(self, rows: Sequence[int]) -> Sequence[Any]:
        return self._client.delete(map(item_id, rows), collection=COLLECTION).failures

    def _upsert(self, rows: Sequence[int]) -> Sequence[Any]:
        items = (next(self._vectors.items(row, 1)) for row in rows)
        return self._client.upsert(items, collection=COLLECTION).failures

    def lost(self) -> list[str]:
        """Returns the items that are not as the last acknowledged write has left them."""
        known = [row for row in self._rows if self._there[row] is not None]
        wrong = []
        for first in range(0, len(known), 1000):
            rows = known[first : first + 1000]
            answer = self._client.get(map(item_id, rows), collection=COLLECTION)
            missing = set(answer.missing_item_ids)
            wrong += [item_id(row) for row in rows if (item_id(row) not in missing) != self._there[row]]
        return wrong

"""The searches of a soak: what is asked, and what became of it, slice by slice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ingest import Vectors
from benchmarks.service import generator
from benchmarks.service.data import COLOURS, encoded, item_id
from benchmarks.service.generator import Found, Load
from lookalike.v1 import search_pb2, types_pb2

__all__ = ["PART_SUFFICES", "Slice", "Slices", "mixed"]

PART_SUFFICES = 0.5
"""The coverage that some of the searches ask for: one of two shards."""
_SHARES = {"plain": 0.55, "in part": 0.2, "by item": 0.1, "filtered": 0.1, "many": 0.04, "exact": 0.01}


def mixed(vectors: Vectors, count: int, items: int, seed: int = 5) -> list[tuple[bytes, bool]]:
    """Returns encoded searches of every kind, each with whether it takes an answer in part.

    Args:
        items: Those from the first on that are never deleted, and can be searched by.
    """
    random = np.random.default_rng(seed)
    kinds = random.choice(list(_SHARES), count, p=list(_SHARES.values()))
    searches = []
    for kind, query in zip(kinds, vectors.queries(count), strict=True):
        options: dict[str, Any] = {}
        if kind == "in part":
            options = {"min_coverage": PART_SUFFICES}
        elif kind == "by item":
            query = search_pb2.Query(item_id=item_id(int(random.integers(items))))
            options = {"group_by_product": True}
        elif kind == "filtered":
            test = types_pb2.AttributeEquals(name="colour", value=str(random.choice(COLOURS)))
            options = {"filter": types_pb2.Filter(all=[types_pb2.Condition(equals=test)])}
        elif kind == "many":
            options = {"k": 100}
        elif kind == "exact":
            options = {"exact": True}
        searches.append((encoded(query, **options), kind == "in part"))
    return searches


@dataclass(frozen=True, slots=True)
class Slice:
    """Searches of some seconds.

    Attributes:
        began: Seconds since the load began.
        around_kill: A shard was killed meanwhile or shortly before.
        sent: Searches.
        part: Answers that lack a shard.
        failed: Status → searches.
        part_failed: Those among the failed that would have taken an answer in part.
        others: Cores that work of others kept busy.
    """

    began: float
    seconds: float
    around_kill: bool
    sent: int
    whole: int
    part: int
    part_failed: int
    p50_ms: float
    p99_ms: float
    others: float
    failed: dict[str, int] = field(default_factory=dict)


class Slices:
    """Sends searches at random times, some seconds after the other, from processes of their own.

    Args:
        call: The generator's flags for where to send requests.
        searches: What is sent in turn, and whether an answer in part is taken.
        load: How.
    """

    def __init__(
        self, call: Sequence[str], searches: Sequence[tuple[bytes, bool]], load: Load, folder: Path
    ) -> None:
        self._call = call
        self._load = load
        self._folder = folder
        self._takes_part = np.array([part for _, part in searches])
        expected = load.seconds * (load.rate or 0)
        # The generator keeps the first answer to each request: so many that none is sent twice.
        count = math.ceil(expected + 6 * math.sqrt(expected)) + 100
        messages = (searches[number % len(searches)][0] for number in range(count))
        self._requests = generator.write_messages(folder / "soak.requests", messages)
        self._seed = load.seed
        self._process: Any = None

    def start(self) -> None:
        """Starts to send."""
        self._seed += 1
        self._load = replace(self._load, seed=self._seed)
        answers = f"--answers={self._answers(self._seed)}"
        self._process = generator.start(self._call, self._requests, self._load, answers)

    def wait(self) -> tuple[int, Found]:
        """Waits for the end, and returns what there is to be counted."""
        return self._seed, generator.ended(self._process, self._load)

    def kill(self) -> None:
        """Ends what still runs."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def counted(self, number: int, found: Found, began: float, around_kill: bool, others: float) -> Slice:
        """Looks at the answers of a slice, and drops them."""
        file = self._answers(number)
        answers = generator.read_messages(file)
        file.unlink()
        due = sum(found.statuses.values()) + found.unsent
        coverages = [
            None if answer is None else search_pb2.SearchResponse.FromString(answer).coverage
            for answer in answers[:due]
        ]
        whole = sum(1 for one in coverages if one and one.shards_answered == one.shards_total)
        missing = [place for place, one in enumerate(coverages) if one is None]
        failed = Counter({name: n for name, n in found.statuses.items() if name != "OK"})
        if found.unsent:
            failed["UNSENT"] = found.unsent
        return Slice(
            began,
            self._load.seconds,
            around_kill,
            due,
            whole,
            found.answered - whole,
            int(self._takes_part[np.array(missing, int) % len(self._takes_part)].sum()),
            found.latency_us.get("p50", 0.0) / 1e3,
            found.latency_us.get("p99", 0.0) / 1e3,
            others,
            dict(failed),
        )

    def _answers(self, number: int) -> Path:
        return self._folder / f"soak-{number}.answers"

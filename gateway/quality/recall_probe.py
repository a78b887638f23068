"""How much of the right answer live searches find.

Now and then one of the searches that were answered meanwhile is run twice more, as it was and exactly, and
the two answers are compared. It is done by a task of its own, one search at a time, and only while the
gateway has time: an exact search compares with every row.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, Protocol, get_args

import structlog

from gateway.asked import Asked
from gateway.directory.base import Directory
from gateway.native_fanout import Searcher
from gateway.offload import off_loop
from gateway.quality.bounds import MOST_CATEGORIES, MOST_COLLECTIONS, NONE, OTHER, Labels
from gateway.quality.intervals import wilson
from lookalike.errors import LookalikeError
from lookalike.runtime.metrics import Metrics, Read, Value, show_from_the_start
from lookalike.v1 import search_pb2

WINDOW = 100
"""Probes that the gauges rest on."""
Ending = Literal["done", "busy", "empty", "failed"]
log = structlog.get_logger()


class RecallMetrics:
    """What the probes found.

    Args:
        metrics: The process's registry.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._probes = metrics.counter(
            "lookalike_gateway_recall_probes_total",
            "Probes of live searches by their end: done, busy (left out under load), empty (nothing is to be"
            " found), failed (a shard did not answer in time).",
            ("ending",),
        )
        show_from_the_start(self._probes, get_args(Ending))
        labels = ("collection", "category")
        self._wanted = metrics.counter(
            "lookalike_gateway_recall_wanted_hits_total",
            "Hits of exact searches, by the first-level category of the best one: the first 20, and other.",
            labels,
        )
        self._found = metrics.counter(
            "lookalike_gateway_recall_found_hits_total", "Those of them that the same search found.", labels
        )
        self._probe_seconds = metrics.histogram(
            "lookalike_gateway_recall_probe_seconds", "Seconds that one probe took, both searches together."
        )
        self._collections = Labels(MOST_COLLECTIONS)
        self._categories: dict[str, Labels] = {}
        self._recent: dict[str, deque[float]] = {}
        metrics.read(
            (
                Read(
                    "lookalike_gateway_recall_ratio",
                    "Mean share of the exact hits that the last 100 probed searches found, at their own k.",
                    ("collection",),
                ),
                Read(
                    "lookalike_gateway_recall_interval_ratio",
                    "Ends of the 95 % interval (Wilson) of that mean: low and high.",
                    ("collection", "end"),
                ),
                Read(
                    "lookalike_gateway_recall_probed_queries",
                    "Searches that the mean rests on.",
                    ("collection",),
                ),
            ),
            self._values,
        )

    def ended(self, ending: Ending) -> None:
        """Counts one probe."""
        self._probes.labels(ending).inc()

    def took(self, seconds: float) -> None:
        """Takes how long one probe took."""
        self._probe_seconds.observe(seconds)

    def found(self, collection: str, category: str, *, wanted: int, found: int) -> None:
        """Takes what one probe found of what there was to find."""
        name = self._collections.of(collection)
        categories = self._categories.setdefault(name, Labels(MOST_CATEGORIES))
        labels = name, categories.of(category)
        self._wanted.labels(*labels).inc(wanted)
        self._found.labels(*labels).inc(found)
        if name != OTHER:
            self._recent.setdefault(name, deque(maxlen=WINDOW)).append(found / wanted)

    def keep(self, collections: Collection[str]) -> None:
        """Forgets collections that are gone, which makes room for others."""
        for name in self._collections.known - set(collections):
            self._collections.known.remove(name)
            self._recent.pop(name, None)
            categories = self._categories.pop(name, Labels(0)).known
            for labels in ((name, category) for category in (*categories, OTHER, NONE)):
                self._wanted.remove(*labels)
                self._found.remove(*labels)

    def _values(self) -> Iterator[Value]:
        for name, recent in self._recent.copy().items():
            recalls = recent.copy()
            mean = sum(recalls) / len(recalls)
            low, high = wilson(mean, len(recalls))
            yield "lookalike_gateway_recall_ratio", (name,), mean
            yield "lookalike_gateway_recall_interval_ratio", (name, "low"), low
            yield "lookalike_gateway_recall_interval_ratio", (name, "high"), high
            yield "lookalike_gateway_recall_probed_queries", (name,), len(recalls)


class Slots(Protocol):
    """Of the searches that users wait for."""

    @property
    def is_busy(self) -> bool:
        """Whether there is no time for what can wait."""


class RecallProbe:
    """Probes one live search after the other.

    Args:
        directory: Which collections there are.
        searcher: Searches the shards.
        searches: Says whether there is time.
        metrics: Where it shows what was found.
        interval_seconds: Time between two probes; 0: none.
        share: Of the time, that probes may take; a probe that took long is followed by a longer pause.
        timeout_seconds: For each of a probe's two searches.
        uniform: Returns random numbers, 0 <= x < 1.
    """

    def __init__(
        self,
        directory: Directory,
        searcher: Searcher,
        searches: Slots,
        metrics: RecallMetrics,
        *,
        interval_seconds: float,
        share: float,
        timeout_seconds: float,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._directory = directory
        self._searcher = searcher
        self._searches = searches
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._share = share
        self._timeout_seconds = timeout_seconds
        self._uniform = uniform
        self._offered = 0
        self._chosen: Asked | None = None

    def offer(self, asked: Asked) -> None:
        """Takes a search that was answered: each since the last probe is as likely to be the next one."""
        if asked.options.exact:
            return
        self._offered += 1
        if self._uniform() * self._offered < 1:
            self._chosen = asked

    async def run(self) -> None:
        """Probes for ever."""
        pause_seconds = self._interval_seconds
        while self._interval_seconds:
            await asyncio.sleep(pause_seconds)
            start = time.perf_counter()
            await self.probe()
            took = time.perf_counter() - start
            pause_seconds = max(self._interval_seconds, took / self._share - took)

    async def probe(self) -> None:
        """Probes one of the searches since the last probe, if there was one and there is time."""
        asked, self._chosen, self._offered = self._chosen, None, 0
        if asked is None:
            return
        if self._searches.is_busy:
            self._metrics.ended("busy")
            return
        self._metrics.keep([collection.name for collection in self._directory.collections()])
        start = time.perf_counter()
        try:
            self._metrics.ended(await self._compare(asked))
        except LookalikeError:
            # A shard is lost, which others report; or the collection is gone by now.
            self._metrics.ended("failed")
        except Exception:
            log.exception("recall_probe_failed")
            self._metrics.ended("failed")
        finally:
            self._metrics.took(time.perf_counter() - start)

    async def _compare(self, asked: Asked) -> Ending:
        live = await self._search(asked, exact=False)
        right = await self._search(asked, exact=True)
        if not right:
            return "empty"
        wanted = {_key(hit, asked) for hit in right}
        found = wanted & {_key(hit, asked) for hit in live}
        category = right[0].category.names[0] if right[0].category.names else ""
        self._metrics.found(asked.collection.name, category, wanted=len(wanted), found=len(found))
        return "done"

    async def _search(self, asked: Asked, *, exact: bool) -> Sequence[search_pb2.Hit]:
        found = await self._searcher.search(
            asked.request(exact=exact),
            self._timeout_seconds,
            min_score=asked.options.min_score,
            aside="exact_probe" if exact else "probe",
        )
        found.outcome.complete("the probe is left out")
        encoded = found.hits[0].encoded
        return await off_loop(len(encoded), lambda: search_pb2.SearchResponse.FromString(encoded).hits)


def _key(hit: search_pb2.Hit, asked: Asked) -> tuple[str, str]:
    """Returns what makes two hits the same: the product, where one item stands for all of it."""
    grouped = asked.options.group_by_product and hit.product_id
    return ("product", hit.product_id) if grouped else ("item", hit.item_id)

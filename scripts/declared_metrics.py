"""The metrics that each service declares, as the docs and the tests see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedder.metrics import EmbedderMetrics, TritonMetrics
from gateway.admission import Admission
from gateway.config import GatewaySettings
from gateway.directory.base import Change, Directory
from gateway.fanout import Shards
from gateway.limit import FixedLimit
from gateway.metrics import GatewayMetrics
from gateway.native_fanout import Searcher
from gateway.quality.drift import Drift
from gateway.quality.recall_probe import RecallMetrics, RecallProbe
from gateway.quality.watch import Quality
from gateway.searches import SearchAdmission
from gateway.state import watch as watch_directory
from hasher.metrics import HasherMetrics
from hasher.shard import Shard
from hasher.state import watch as watch_shard
from lookalike.runtime.front import Front
from lookalike.runtime.joined import JoinedCollector
from lookalike.runtime.memory import MemoryWatch
from lookalike.runtime.methods import Method
from lookalike.runtime.metrics import Metrics, ReadCollector
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.settings import ServerSettings

_SETTINGS = GatewaySettings(data_folder=Path())


@dataclass(frozen=True, order=True)
class Declared:
    """A metric: its full name, type, labels and help."""

    name: str
    type: str
    labels: tuple[str, ...]
    doc: str


def _every_service(metrics: Metrics) -> None:
    ProcessMetrics(metrics, "any", Front([], ServerSettings())).serves([Method("/Any/Call", "call")])


def _hasher_state(metrics: Metrics) -> None:
    # Nothing is read from the folder, which is not there.
    watch_shard(Shard(Path("none"), 0, 1), metrics)


def _gateway_work(metrics: Metrics) -> None:
    measured = GatewayMetrics(metrics)
    measured.watch_shards(1)
    SearchAdmission(_SETTINGS, measured)
    Admission("writes", FixedLimit(1), 0, measured)


def _gateway_state(metrics: Metrics) -> None:
    watch_directory(_NoDirectory("none", 1, {}, {}), metrics)


def _gateway_quality(metrics: Metrics) -> None:
    others = GatewayMetrics(Metrics())
    shards, searcher = Shards((), "none", 1, others), Searcher((), "none", 1, others, 1)
    searches = SearchAdmission(_SETTINGS, others)
    directory = _NoDirectory("none", 1, {}, {})
    drift = Drift(directory, shards, metrics, 0)
    probe = RecallProbe(
        directory, searcher, searches, RecallMetrics(metrics), interval_seconds=0, share=1, timeout_seconds=1
    )
    Quality(drift, probe, metrics)


class _NoDirectory(Directory):
    """Takes no writes."""

    failure = ""

    async def _commit(self, change: Change) -> None:
        raise NotImplementedError


SERVICES: dict[str, tuple[Callable[[Metrics], object], ...]] = {
    "Every service": (_every_service,),
    "gateway": (_gateway_work, _gateway_state, _gateway_quality),
    "hasher": (HasherMetrics, _hasher_state),
    "gateway and hasher": (MemoryWatch,),
    "embedder": (EmbedderMetrics, TritonMetrics),
}


def declared_by(makers: Sequence[Callable[[Metrics], object]]) -> list[Declared]:
    """Returns the metrics that some makers declare in a registry, by name."""
    metrics = Metrics()
    for make in makers:
        make(metrics)
    declared: list[Declared] = []
    # The client library shows what it has, and the labels of each, nowhere else.
    for collector in metrics.registry._collector_to_names:
        one = collector.metric if isinstance(collector, JoinedCollector) else collector
        if isinstance(one, ReadCollector):
            declared += [Declared(read.name, read.type, read.labels, read.doc) for read in one.declared]
        elif hasattr(one, "_labelnames"):
            declared.append(_of_client(one))
    return sorted(declared)


def _of_client(metric: Any) -> Declared:
    name = f"{metric._name}_total" if metric._type == "counter" else metric._name
    return Declared(name, metric._type, tuple(metric._labelnames), metric._documentation)

"""What the gateway reports of its state on ``/metrics``: read from the directory whenever somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gateway.directory.base import Directory, State
from lookalike.runtime.metrics import Metrics, Read, Value

_READ = (
    Read("lookalike_gateway_collections", "Collections by state: creating, ready or deleting.", ("state",)),
    Read(
        "lookalike_gateway_model_collections",
        "Ready collections by the model that their vectors are of.",
        ("model_version",),
    ),
)


def watch(directory: Directory, metrics: Metrics) -> None:
    """Shows which collections there are."""
    metrics.read(_READ, lambda: _state(directory))


def _state(directory: Directory) -> Iterator[Value]:
    collections = directory.collections()
    by_state = Counter(collection.state for collection in collections)
    for state in State:
        yield "lookalike_gateway_collections", (state.value,), by_state[state]
    by_model = Counter(c.spec.model_version for c in collections if c.state is State.READY)
    for model_version, count in by_model.items():
        yield "lookalike_gateway_model_collections", (model_version,), count

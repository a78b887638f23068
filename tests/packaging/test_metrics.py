"""Every metric says what it is, in which unit, and what anybody looks at it for."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text
from prometheus_client.parser import text_string_to_metric_families

from lookalike.runtime.metrics import Metrics
from scripts.declared_metrics import SERVICES, Declared, declared_by
from scripts.metric_uses import USES

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"seconds", "bytes", "ratio", "info"}
COUNTED = {
    "calls", "requests", "collections", "generations", "items", "products", "changes", "mutations", "rows",
    "indexes", "rebuilds", "photos", "queries", "searches",
}  # fmt: skip
"""What plain numbers are numbers of."""
STATES = {"up", "silent", "full", "overloaded"}
"""What is 1 or 0."""
OF_OTHERS = ("grpc_server_handled_total", "grpc_server_handling_seconds")
FROM_THE_FIRST_EVENT = {
    # Their labels have values that nobody knows at the start: collections, categories and models.
    "lookalike_gateway_category_divergence_ratio",
    "lookalike_gateway_category_share_ratio",
    "lookalike_gateway_embedder_model_info",
    "lookalike_gateway_embedding_mean_cosine_ratio",
    "lookalike_gateway_embedding_spread_ratio",
    "lookalike_gateway_model_collections",
    "lookalike_gateway_profiled_queries",
    "lookalike_gateway_recall_found_hits",
    "lookalike_gateway_recall_interval_ratio",
    "lookalike_gateway_recall_probed_queries",
    "lookalike_gateway_recall_ratio",
    "lookalike_gateway_recall_wanted_hits",
    "lookalike_gateway_top_match_ratio",
    "lookalike_embedder_model_info",
    # Nobody knows what they are before the first check, which comes at once.
    "lookalike_gateway_dependency_up",
    "lookalike_gateway_shard_generations",
    # Histograms of each method, and of each call and shard: many series, and no time before the first call.
    "grpc_server_handling_seconds",
    "lookalike_gateway_shard_seconds",
}
"""What has no series before something happened, by the names of families."""
WATCHED = ("deploy/prometheus", "deploy/grafana")
"""Folders of rules and dashboards, which name the metrics that they are made of."""
MAX_LABELS = 4
METRICS = {one.name: one for makers in SERVICES.values() for one in declared_by(makers)}


@pytest.fixture(params=METRICS)
def metric(request: pytest.FixtureRequest) -> Declared:
    return METRICS[request.param]


def test_it_has_a_help_text(metric: Declared) -> None:
    assert metric.doc.endswith("."), "a sentence"
    assert len(metric.doc.split()) >= 3


def test_its_name_ends_in_a_unit(metric: Declared) -> None:
    assert metric.name.startswith("lookalike_") or metric.name in OF_OTHERS
    words = metric.name.split("_")
    assert (metric.type == "counter") == (words[-1] == "total")
    if metric.type != "counter" and words[-1] not in UNITS | STATES:
        assert COUNTED & set(words), f"{metric.name} has no unit, and does not say what it counts"
    assert not {"ms", "milliseconds", "kb", "mb", "percent"} & set(words), "base units only"


def test_its_labels_are_few(metric: Declared) -> None:
    assert len(metric.labels) <= MAX_LABELS
    assert not {"le", "quantile", "job", "instance", "item_id", "request_id"} & set(metric.labels)


def test_it_is_looked_at(metric: Declared) -> None:
    """A metric has its place in a dashboard, in a rule, or at least in the docs."""
    assert metric.name in USES or _is_watched(metric.name)


def _is_watched(name: str) -> bool:
    folders = [ROOT / folder for folder in WATCHED]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return any(name in file.read_text() for file in files)


@pytest.mark.parametrize("service", SERVICES)
def test_both_formats_can_be_read_and_series_are_few(service: str) -> None:
    metrics = Metrics()
    for make in SERVICES[service]:
        make(metrics)
    wanted = {one.name.removesuffix("_total") for one in declared_by(SERVICES[service])}
    newer = list(openmetrics.text_string_to_metric_families(openmetrics_text(metrics.registry).decode()))
    older = list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))
    for families in (newer, older):
        assert wanted <= {family.name for family in families}
    assert sum(len(family.samples) for family in newer) < 1000


@pytest.mark.parametrize("service", SERVICES)
def test_series_are_there_before_anything_happens(service: str) -> None:
    """What appears with its first event has not grown, for whoever asks for its rate."""
    metrics = Metrics()
    for make in SERVICES[service]:
        make(metrics)
    declared = {one.name.removesuffix("_total") for one in declared_by(SERVICES[service])}
    unseen = {family.name for family in metrics.registry.collect() if not family.samples}
    assert unseen == FROM_THE_FIRST_EVENT & declared


def test_no_use_is_left_of_a_metric_that_is_gone() -> None:
    assert not USES.keys() - METRICS.keys()

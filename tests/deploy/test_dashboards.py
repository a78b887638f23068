"""Dashboards and rules speak of what the services export, and the dashboards are what their code makes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.__main__ import dashboards
from scripts.declared_metrics import SERVICES, declared_by
from tests.deploy import promql
from tests.deploy.queries import ALERTS, DASHBOARDS, RULES, panel_queries, panels, rules

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
TARGET_LABELS = {"namespace", "job", "instance"}
"""What Prometheus adds to each series."""
OF_OTHERS: dict[str, set[str]] = {
    "up": set(),
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "process_start_time_seconds": set(),
    "nv_inference_request_success": {"model", "version"},
    "nv_inference_queue_duration_us": {"model", "version"},
    "nv_inference_compute_infer_duration_us": {"model", "version"},
    "nv_inference_count": {"model", "version"},
    "nv_inference_exec_count": {"model", "version"},
}
"""Metrics of Prometheus, of its client and of Triton → their labels."""
DECLARED = [one for makers in SERVICES.values() for one in declared_by(makers)]
EXPORTED = {
    f"{one.name}{suffix}": {*one.labels, *(["le"] if suffix == "_bucket" else [])}
    for one in DECLARED
    for suffix in SUFFIXES.get(one.type, ("",))
} | OF_OTHERS
RECORDED = {rule["record"]: {"namespace"} for rule in rules(RULES)}
EXPRESSIONS = [
    *(pytest.param(query.expr, id=f"{query.dashboard}: {query.panel}") for query in panel_queries()),
    *(pytest.param(rule["expr"], id=rule["record"]) for rule in rules(RULES)),
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in rules(ALERTS)),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_metric_and_label_exists(expression: str) -> None:
    known = EXPORTED | RECORDED
    named = promql.metrics(expression)
    assert named
    assert not named - known.keys()
    labels = set(TARGET_LABELS).union(*(known[name] for name in named))
    assert not promql.grouped_labels(expression) - labels
    for metric, selected in promql.selected_labels(expression):
        assert not selected - known[metric] - TARGET_LABELS, metric


def test_each_metric_is_in_a_dashboard_or_a_rule() -> None:
    watched = set[str]().union(*(promql.metrics(param.values[0]) for param in EXPRESSIONS))
    unseen = [
        one.name
        for one in DECLARED
        if not {f"{one.name}{suffix}" for suffix in SUFFIXES.get(one.type, ("",))} & watched
    ]
    assert not unseen


def test_each_recording_rule_is_used() -> None:
    asked = [query.expr for query in panel_queries()] + [rule["expr"] for rule in rules(ALERTS)]
    used = set[str]().union(*map(promql.metrics, asked))
    assert RECORDED.keys() <= used


@pytest.mark.parametrize(
    ("expression", "metrics", "grouped"),
    [
        ('sum by (a) (rate(x_total{b="y(z"}[5m])) > 0.5', {"x_total"}, {"a"}),
        ("up == 0 and on (job) time() - start < 3600", {"up", "start"}, {"job"}),
        ("a:b:ratio_rate5m > on (n) group_left 3 * min by (n) (c) # d", {"a:b:ratio_rate5m", "c"}, {"n"}),
    ],
)
def test_the_reader_of_expressions(expression: str, metrics: set[str], grouped: set[str]) -> None:
    assert promql.metrics(expression) == metrics
    assert promql.grouped_labels(expression) == grouped


def test_the_files_are_what_the_code_makes() -> None:
    made = dashboards()
    assert {path: path.read_text() for path in DASHBOARDS} == made


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_panels_have_their_place_and_say_what_they_show(file: Path) -> None:
    shown = panels(file)
    numbers = [panel["id"] for panel in shown]
    assert sorted(set(numbers)) == sorted(numbers)
    titles = [panel["title"] for panel in shown if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    for one, other in itertools.combinations(shown, 2):
        assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    for panel in shown:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )

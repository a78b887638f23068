"""Every query of every panel and rule, asked of a real Prometheus that scrapes real services under load."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from deploy.local.load import COLLECTION, Load
from deploy.local.observed import Observed
from deploy.local.prometheus import NAMESPACE
from lookalike.client import Client, Item
from lookalike.errors import LookalikeError
from tests.deploy import promql
from tests.deploy.alerts import photos
from tests.deploy.queries import ALERTS, RULES, panel_queries, rules

TROUBLED_SECONDS = 6.0
HEALTHY_SECONDS = 12.0
LOADED_SECONDS = 40.0
QUERIES = list(panel_queries())


def troubled(observed: Observed) -> None:
    """Gives the panels of refusals and failures something to show."""
    gateway, photo = observed.stack.gateway.target, photos(1)[0]
    ended = time.monotonic() + TROUBLED_SECONDS

    def repeat(act: Callable[[Client], object]) -> None:
        with Client(gateway, timeout_seconds=2.0) as client:
            while time.monotonic() < ended:
                with suppress(LookalikeError):
                    act(client)

    items = [Item(item_id=f"item-{number}", image=photo) for number in range(16)]
    acts: list[Callable[[Client], object]] = [
        lambda client: client.search(image=photo, collection=COLLECTION),
        lambda client: client.upsert(items, collection=COLLECTION),
        lambda client: client.delete(["item-1", "item-2"], collection=COLLECTION),
    ]
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Lost for as long, one after the other.
    for server in (observed.stack.embedder, observed.stack.hashers[0]):
        server.kill()
        time.sleep(TROUBLED_SECONDS / 2)
        server.start()


@pytest.fixture(scope="module")
def watched(observed: Observed, load: Load) -> Observed:
    """The installation after a while of load and trouble."""
    time.sleep(HEALTHY_SECONDS)
    troubled(observed)
    observed.stack.wait_until_ready()
    time.sleep(HEALTHY_SECONDS / 2)
    return observed


def test_every_panel_shows_data(watched: Observed) -> None:
    empty = []
    for query in QUERIES:
        samples = watched.prometheus.query(query.at(NAMESPACE, f"{LOADED_SECONDS:.0f}s"))
        if not any(math.isfinite(sample.value) for sample in samples):
            empty.append(f"{query.dashboard}: {query.panel}: {query.expr}")
    assert not empty


def test_every_rule_is_evaluated(watched: Observed) -> None:
    evaluated = watched.prometheus.rules()
    assert len(evaluated) == len(rules(RULES)) + len(rules(ALERTS))
    assert {rule["name"]: rule.get("lastError", "") for rule in evaluated if rule["health"] != "ok"} == {}


def test_every_recording_rule_has_a_value(watched: Observed) -> None:
    names = [rule["record"] for rule in rules(RULES)]
    assert [name for name in names if not watched.prometheus.query(name)] == []


def test_each_selector_of_an_alert_finds_series(watched: Observed) -> None:
    """An alert that is silent because it has no data is useless."""
    selectors = {selector for rule in rules(ALERTS) for selector in promql_selectors(rule["expr"])}
    assert {selector for selector in selectors if not watched.prometheus.query(selector)} == set()


def promql_selectors(expression: str) -> set[str]:
    """Returns the metrics of an alert with their label matchers."""
    selectors = {match.group() for match in re.finditer(r"[a-z_:]\w*(?::\w+)*\{[^}]*\}", expression)}
    plain = {name for name in promql.metrics(expression) if f"{name}{{" not in expression}
    return selectors | plain

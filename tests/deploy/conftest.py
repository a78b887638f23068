"""A cluster with the times that steps on it took, and an installation that a real Prometheus scrapes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from deploy.local import kube, triton
from deploy.local.kube import Cluster
from deploy.local.load import Load
from deploy.local.observed import Observed
from deploy.local.prometheus import tool
from tests.deploy.alerts import photos
from tests.deploy.queries import ALERTS, RULES

_TIMES = pytest.StashKey[list[tuple[str, float]]]()

Timed = Callable[[str], AbstractContextManager[None]]


FLAGS = {
    "gateway": (
        "--max-concurrent-rpcs=24",
        "--max-searches=4",
        "--max-waiting-searches=4",
        "--profile-interval-seconds=1",
        "--recall-probe-interval-seconds=0.2",
        "--recall-probe-share=1",
    ),
    "hasher": ("--checkpoint-interval-seconds=2", "--max-pending-changes=1"),
    "embedder": ("--max-queue=8",),
}
"""Limits that a small load reaches."""


@pytest.fixture(scope="session")
def timed(request: pytest.FixtureRequest) -> Timed:
    """Measures a step, for the list at the end of the run."""
    times = request.config.stash.setdefault(_TIMES, [])

    @contextmanager
    def measure(step: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        times.append((step, time.monotonic() - start))

    return measure


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if times := config.stash.get(_TIMES, []):
        terminalreporter.section("steps on a cluster")
        for step, seconds in times:
            terminalreporter.write_line(f"{seconds:6.1f} s  {step}")


@pytest.fixture(scope="session")
def kube_tools() -> None:
    """Skips where no cluster can be started; in CI that is a failure."""
    if reason := kube.problem():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster(kube_tools: None, tmp_path_factory: pytest.TempPathFactory, timed: Timed) -> Iterator[Cluster]:
    """A cluster with three fake nodes."""
    made = kube.cluster(tmp_path_factory.mktemp("cluster"))
    with timed("cluster up: API server, controllers, scheduler, three fake nodes"):
        started = made.__enter__()
    try:
        yield started
    finally:
        with timed("cluster down"):
            made.__exit__(None, None, None)


@pytest.fixture(scope="module")
def observed(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """An installation with Triton, and a Prometheus with the rules."""
    if not (tool("prometheus") and triton.is_installed()):
        message = "`make prometheus-install triton-install` gets what this needs"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    running = Observed(tmp_path_factory.mktemp("observed"), tiny_bundle, [RULES, ALERTS], flags=FLAGS)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def load(observed: Observed) -> Iterator[Load]:
    """A small load of every kind."""
    with Load(observed.stack.gateway.target, photos()) as running:
        yield running

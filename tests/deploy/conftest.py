"""Fixtures of the tests that deploy to a cluster, and the times that its steps took."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from deploy.local import kube
from deploy.local.kube import Cluster

_TIMES = pytest.StashKey[list[tuple[str, float]]]()

Timed = Callable[[str], AbstractContextManager[None]]


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

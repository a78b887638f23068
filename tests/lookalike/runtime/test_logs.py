"""Log lines never hold up whoever writes them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from lookalike.runtime.front import Front
from lookalike.runtime.logs import QueuedLines, Throttle, configure_logging, dropped_lines
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.settings import ServerSettings

LINES = 12_000
"""Far more than a pipe and the queue hold."""


@dataclass
class Reader:
    """Reads what a process writes to standard error, when it wants to."""

    end: int
    handler: QueuedLines

    def lines_until(self, event: str) -> list[dict[str, Any]]:
        text = b""
        while event.encode() not in text or not text.endswith(b"\n"):
            text += os.read(self.end, 1 << 16)
        return [json.loads(line) for line in text.splitlines()]


Configure = Callable[[], Reader]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Configures logging with a pipe as standard error; undone after the test."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    with ExitStack() as stack:

        def start() -> Reader:
            reading, writing = os.pipe()
            stderr = stack.enter_context(os.fdopen(writing, "w"))
            with redirect_stderr(stderr):
                handler = configure_logging("probe")
            stack.callback(handler.close)
            reader = Reader(reading, handler)
            stack.callback(lambda: os.close(reader.end))
            return reader

        yield start
    root.handlers = before
    root.setLevel(level)
    structlog.reset_defaults()


def test_lines_are_json_with_service_level_and_context(configure: Configure) -> None:
    reader = configure()
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        structlog.get_logger().warning("slow_search", seconds=2)
        logging.getLogger("other").error("a library's %s", "message")
        structlog.get_logger().debug("too fine")
        structlog.get_logger().info("end")
    lines = reader.lines_until("end")
    assert [line["event"] for line in lines] == ["slow_search", "a library's message", "end"]
    assert {(line["service"], line["request_id"]) for line in lines} == {("probe", "abc")}
    assert (lines[0]["level"], lines[0]["seconds"]) == ("warning", 2)


def test_a_stalled_reader_stops_nobody_and_learns_what_it_missed(configure: Configure) -> None:
    reader = configure()
    for number in range(LINES):
        structlog.get_logger().info("line", number=number)
    dropped = dropped_lines()
    assert reader.handler.dropped == dropped > 0
    registry = Metrics()
    ProcessMetrics(registry, "probe", Front([], ServerSettings()))
    assert registry.registry.get_sample_value("lookalike_log_lines_dropped_total") == dropped
    lines = reader.lines_until("log_lines_dropped")
    written = [line["number"] for line in lines if line["event"] == "line"]
    assert written == list(range(LINES - dropped))
    assert lines[-1]["count"] == dropped


def test_the_end_waits_for_the_lines(configure: Configure) -> None:
    reader = configure()
    for _ in range(100):
        structlog.get_logger().info("line")
    reader.handler.flush()
    assert os.read(reader.end, 1 << 16).count(b"\n") == 100


def test_a_reader_that_is_gone_is_no_failure(configure: Configure) -> None:
    reader = configure()
    os.close(reader.end)
    for _ in range(3):
        structlog.get_logger().info("line")
        reader.handler.flush()
    assert reader.handler.dropped >= 3
    reader.end = os.open(os.devnull, os.O_RDONLY)


def test_a_throttle_lets_one_through_in_a_while_and_counts_the_others() -> None:
    now = 100.0
    throttle = Throttle(1.0, lambda: now)
    assert [throttle.take() for _ in range(3)] == [0, None, None]
    now += 0.9
    assert throttle.take() is None
    now += 0.2
    assert [throttle.take() for _ in range(2)] == [3, None]
    now += 5
    assert throttle.take() == 1

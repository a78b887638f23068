"""JSON logs on standard error, one line per event, with the request id of the call they belong to."""

from __future__ import annotations

import logging
import os
import queue
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TextIO

import structlog

_MAX_LINES = 10_000
_FLUSH_SECONDS = 2.0
log = structlog.get_logger()


def configure_logging(service: str, level: str = "info", log_format: str = "json") -> QueuedLines:
    """Sets up structlog and the standard library's loggers for one process.

    Args:
        service: Stands in every line.
        level: "debug", "info", "warning" or "error".
        log_format: "json" for machines, "console" for people.

    Returns:
        The handler that writes the lines; flush it before something else is written to standard error.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )

    def add_service(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    handler = QueuedLines(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, add_service, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    return handler


class QueuedLines(logging.Handler):
    """Writes lines from a thread of its own, so that whoever logs never waits for whoever reads.

    What does not fit the queue is dropped and counted; the count is logged once there is room.

    Args:
        stream: Where the lines go.
        max_lines: How many may wait.
    """

    def __init__(self, stream: TextIO, max_lines: int = _MAX_LINES) -> None:
        super().__init__()
        self.dropped = 0
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(max_lines)
        self._writer = Thread(target=self._write_all, name="log-writer", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queues one line."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Waits until all lines are written, but not for long where nobody reads them."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, _FLUSH_SECONDS)

    def close(self) -> None:
        """Writes what it can, and ends the thread."""
        self.flush()
        with suppress(queue.Full):
            self._lines.put_nowait(None)
            self._writer.join(_FLUSH_SECONDS)
        super().close()

    def _write_all(self) -> None:
        reported = 0
        while (line := self._lines.get()) is not None:
            try:
                self._write(line + "\n")
            except (OSError, ValueError):
                self.dropped += 1  # nobody reads any more
            self._lines.task_done()
            if (dropped := self.dropped) > reported and not self._lines.full():
                log.warning("log_lines_dropped", count=dropped - reported)
                reported = dropped

    def _write(self, text: str) -> None:
        try:
            number = self._stream.fileno()
        except OSError:
            self._stream.write(text)
            self._stream.flush()
            return
        # Python's own buffer has a lock, which a process that ends must be able to take.
        content = text.encode(errors="backslashreplace")
        while content:
            content = content[os.write(number, content) :]


class Throttle:
    """Lets one event of a kind through in a while, and counts the others. Not for several threads.

    Args:
        seconds: The time between two.
        clock: Monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next_at = clock()
        self._left_out = 0

    def take(self) -> int | None:
        """Returns how many were left out before this one; None: leave this one out, too."""
        now = self._clock()
        if now < self._next_at:
            self._left_out += 1
            return None
        self._next_at = now + self._seconds
        left_out, self._left_out = self._left_out, 0
        return left_out


def dropped_lines() -> int:
    """Returns how many log lines of this process were dropped."""
    handlers = logging.getLogger().handlers
    return sum(handler.dropped for handler in handlers if isinstance(handler, QueuedLines))

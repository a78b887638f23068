"""What each process of an installation holds, looked at again and again."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from deploy.local.stack import Server

__all__ = ["Sample", "Sampler", "in_progress", "metrics_of"]

WATCHED = (
    "lookalike_calls_in_progress",
    "lookalike_requests_in_progress_bytes",
    "lookalike_gateway_running_requests",
    "lookalike_gateway_waiting_requests",
    "lookalike_hasher_waiting_searches",
    "lookalike_hasher_index_bytes",
)
HELD_BY_CALLS = WATCHED[:5]
"""What is 0 where nobody calls."""
PROBES = "probe"
TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment.

    Attributes:
        seconds: Since the sampler began.
        resident_mb: Pages of mapped files among them.
        anonymous_mb: Memory that is no page of a file.
        descriptors: Open files and connections.
        metrics: Metric, with the label that tells its series apart → value.
    """

    seconds: float
    process: str
    pid: int
    resident_mb: float
    anonymous_mb: float
    descriptors: int
    threads: int
    metrics: dict[str, float] = field(default_factory=dict)


def metrics_of(server: Server) -> dict[str, float]:
    """Returns what is watched of a server's metrics, and the tasks of its event loop where it counts them."""
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
        text = answer.read().decode()
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        if family.name in WATCHED or (family.name.startswith("lookalike_") and "tasks" in family.name)
        for sample in family.samples
    }


def in_progress(server: Server) -> dict[str, float]:
    """Returns the metrics of a server that say that calls are under way; probes of health do not count."""
    return {
        name: value
        for name, value in metrics_of(server).items()
        if value and name.startswith(HELD_BY_CALLS) and not name.endswith(PROBES)
    }


def sample(server: Server, seconds: float) -> Sample | None:
    """Looks at a process; None: it ends or begins just now."""
    pid = server.popen.pid
    folder = Path("/proc") / str(pid)
    try:
        metrics = metrics_of(server)
        lines = (folder / "status").read_text().splitlines()
        descriptors = sum(1 for _ in (folder / "fd").iterdir())
    except (OSError, http.client.HTTPException):
        return None
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    if "RssAnon" not in fields:  # It has ended, and nobody has asked for its exit code.
        return None
    resident, anonymous = (int(fields[name][0]) * 1024 / 1e6 for name in ("VmRSS", "RssAnon"))
    threads = int(fields["Threads"][0])
    return Sample(seconds, server.name, pid, resident, anonymous, descriptors, threads, metrics)


class Sampler:
    """Looks at servers at fixed times, from a thread of its own.

    Args:
        servers: What is looked at; those that are started again later, too.
        interval_seconds: Between two looks.
    """

    def __init__(self, servers: Sequence[Server], interval_seconds: float) -> None:
        self._servers = servers
        self._interval = interval_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.began = 0.0
        self.samples: list[Sample] = []
        self.broken: BaseException | None = None
        """What ended it early."""

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        due = self.began
        try:
            while not self._ended.wait(max(due - time.monotonic(), 0)):
                seconds = time.monotonic() - self.began
                self.samples += filter(None, (sample(server, seconds) for server in self._servers))
                due += self._interval
        except BaseException as error:
            self.broken = error
            raise

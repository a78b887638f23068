"""Processes that are killed, stopped or slow."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import AbstractContextManager, nullcontext

from deploy.local.process import LocalProcess, free_ports
from deploy.local.stack import Server
from tests.deploy.faults.site import Site, at_work, until_end


def stopped(process: LocalProcess) -> AbstractContextManager[object]:
    """A process that does nothing, and does not end."""
    process.popen.send_signal(signal.SIGSTOP)
    return until_end(lambda: process.popen.send_signal(signal.SIGCONT))


def slowed(process: LocalProcess, stop_seconds: float, run_seconds: float) -> AbstractContextManager[object]:
    """A process, with all that it started, that is stopped most of the time."""

    def pause(_: int, ended: threading.Event) -> None:
        while not ended.is_set():
            os.killpg(process.popen.pid, signal.SIGSTOP)
            time.sleep(stop_seconds)
            os.killpg(process.popen.pid, signal.SIGCONT)
            ended.wait(run_seconds)

    return at_work(pause)


def killed(server: Server) -> AbstractContextManager[object]:
    """A process that is gone."""
    server.kill()
    return until_end(server.start)


def restarts(site: Site) -> AbstractContextManager[object]:
    """A shard that is killed three times."""
    for _ in range(3):
        site.hasher.kill()
        site.hasher.start()
        time.sleep(1.5)
    return nullcontext()


def unscraped(site: Site) -> AbstractContextManager[object]:
    """A shard that is well, and whose metrics are looked for at a port that nobody serves."""
    targets = site.observed.targets()
    (port,) = free_ports(1)
    targets["lookalike-hasher"][-1] = f"127.0.0.1:{port}"
    site.observed.prometheus.scrape(targets)
    return until_end(site.observed.scrape)

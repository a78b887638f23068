"""A server as a child process: started on free ports, waited for, and ended with all that it started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02
_DEFAULTS: dict[signal.Signals, Callable[[int, FrameType | None], None] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGTERM: signal.SIG_DFL,
}


@contextmanager
def default_signals() -> Iterator[None]:
    """Gives signals their default meaning, which children inherit.

    ``nohup`` and shells that start a command in the background make it ignore some. Signals belong to the
    main thread; in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in _DEFAULTS.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def free_ports(count: int) -> list[int]:
    """Returns ports that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


class LocalProcess:
    """A command in a session of its own, with its output in a file.

    Args:
        command: What to run, in the root of the repository.
        log: Gets what it writes, after what earlier starts wrote.
        environment: Added to this process's own.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self.log = log
        self._environment = dict(environment or {})
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def popen(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._popen, "it was not started"
        return self._popen

    def start(self) -> Self:
        """Starts it, and does not wait for anything."""
        with self.log.open("ab") as log, default_signals():
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        return self

    def is_running(self) -> bool:
        """Returns whether it was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def wait_until(self, happened: Callable[[], bool], timeout_seconds: float = START_SECONDS) -> None:
        """Waits until something has happened; where it does not, the process is killed.

        Raises:
            RuntimeError: It ended, or the time is up; the message holds its log.
        """
        deadline = time.monotonic() + timeout_seconds
        while not happened():
            if not self.is_running() or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{' '.join(self.command)} did not get ready:\n{self.said()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, number: int = signal.SIGTERM, timeout_seconds: float = STOP_SECONDS) -> int:
        """Sends a signal and waits for the end; what takes too long is killed.

        Returns:
            The exit code, negative for a signal.
        """
        self.popen.send_signal(number)
        return self.wait(timeout_seconds)

    def wait(self, timeout_seconds: float = STOP_SECONDS) -> int:
        """Waits for the end, and returns the exit code; what takes too long is killed."""
        with suppress(subprocess.TimeoutExpired):
            return self.popen.wait(timeout_seconds)
        return self.kill()

    def kill(self) -> int:
        """Ends it as the end of a pod would, with all that it started, and returns the exit code."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        return self.popen.wait()

    def said(self) -> str:
        """Returns all that it has written."""
        return self.log.read_text(errors="replace")


class ServiceProcess(LocalProcess):
    """``python -m SERVICE`` on free ports, which it keeps when it is started again.

    Args:
        service: The module.
        folder: Gets its log, and the file in which it reports its ports.
        flags: Its settings.
        name: Of its files, where several share a folder.
        through: Modules and arguments that start the service's own module.
    """

    def __init__(
        self, service: str, folder: Path, *flags: object, name: str = "", through: Sequence[str] = ()
    ) -> None:
        name = name or service
        self.port = 0
        self.metrics_port = 0
        self.search_port = 0
        """A hasher's."""
        self._ready_file = folder / f"{name}.ready"
        self._base = [sys.executable, "-m", *through, service, f"--ready-file={self._ready_file}"]
        self._base += ["--drain-wait-seconds=0.1", *map(str, flags)]
        super().__init__(self._base, folder / f"{name}.log")
        self.name = name

    @property
    def target(self) -> str:
        """Its gRPC address."""
        return f"127.0.0.1:{self.port}"

    @property
    def hasher(self) -> str:
        """A hasher as the gateway's setting names it."""
        return f"{self.target}/{self.search_port}"

    def start(self, *flags: str) -> Self:
        """Starts it on the ports that it had before, if it had any; ``flags`` are further settings."""
        self._ready_file.unlink(missing_ok=True)
        self.command = [*self._base, f"--port={self.port}", f"--metrics-port={self.metrics_port}", *flags]
        if self.search_port:
            self.command.append(f"--search-port={self.search_port}")
        return super().start()

    def wait_until_listening(self) -> None:
        """Waits until its ports are bound."""
        self.wait_until(self._ready_file.exists)
        bound = json.loads(self._ready_file.read_text())
        self.port, self.metrics_port = bound["port"], bound["metrics_port"]
        self.search_port = bound.get("search_port", 0)

    def events(self, name: str) -> list[dict[str, object]]:
        """Returns its log lines of one event."""
        lines = [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

"""Services as child processes that never outlive the command that started them.

Each child runs in its own session, so that Ctrl-C reaches only the parent, which stops them in order. A child
also watches its standard input, a pipe whose other end only the parent holds: if the parent is gone, killed
or not, the pipe closes and the child stops by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from lookalike.addresses import join_address
from lookalike.cli.console import note
from lookalike.errors import InvalidInputError, LookalikeError, Reason, UnavailableError

STOP_SECONDS = 20.0
"""How long children get to stop before they are killed."""
_POLL_SECONDS = 0.05
_LOG_TAIL_LINES = 8
_UNAVAILABLE = {
    "embedder": Reason.EMBEDDER_UNAVAILABLE,
    "hasher": Reason.SHARD_UNAVAILABLE,
    "gateway": Reason.GATEWAY_UNREACHABLE,
}


@dataclass(frozen=True)
class ServiceProcess:
    """One running service."""

    name: str
    process: subprocess.Popen[bytes]
    ready_file: Path
    failure_file: Path
    log_file: Path | None

    def port(self) -> int | None:
        """Returns the gRPC port once it is bound, else None."""
        try:
            return self._port("port")
        except FileNotFoundError:
            return None

    def hasher_address(self, host: str) -> str:
        """Returns a hasher, whose ports are bound, as the gateway's setting names it."""
        return f"{join_address(host, self._port('port'))}/{self._port('search_port')}"

    def _port(self, name: str) -> int:
        return int(json.loads(self.ready_file.read_text())[name])

    def failure(self, code: int) -> LookalikeError:
        """Returns why it ended with an exit code, in its own words where it has said so."""
        where = f"; see {self.log_file}" if self.log_file else ""
        try:
            said = json.loads(self.failure_file.read_text())
        except FileNotFoundError:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return UnavailableError(f"the {self.name} {how}{where}", reason=self.unavailable)
        return InvalidInputError(
            f"the {self.name} ended: {said['message']}{where}", reason=Reason(said["reason"])
        )

    @property
    def unavailable(self) -> Reason:
        """The reason of errors where it is missing."""
        return _UNAVAILABLE[self.name.partition("-")[0]]

    def log_tail(self) -> list[str]:
        """Returns the last lines of the log, or none where the log goes to the terminal."""
        if self.log_file is None:
            return []
        return self.log_file.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]


class ServiceProcesses:
    """The services that one command started; a context manager that stops them all.

    Args:
        scratch: Existing folder for the files in which children write their ports.
        logs: Folder for their logs; None leaves them on the terminal.
    """

    def __init__(self, scratch: Path, logs: Path | None = None) -> None:
        self._scratch = scratch
        self._logs = logs
        self._running: list[ServiceProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, service: str, arguments: Sequence[str], *, name: str = "") -> ServiceProcess:
        """Starts ``lookalike serve SERVICE ARGUMENTS``; see :meth:`wait_for_ports` for when it is up."""
        name = name or service
        ready_file = self._scratch / f"{name}.ready.json"
        failure_file = self._scratch / f"{name}.failure.json"
        for file in (ready_file, failure_file):
            file.unlink(missing_ok=True)
        log_file = self._logs / f"{name}.log" if self._logs else None
        command = [sys.executable, "-m", "lookalike.cli", "serve", service, "--exit-with-stdin"]
        command += [f"--failure-file={failure_file}", *arguments, "--ready-file", str(ready_file)]
        with contextlib.ExitStack() as stack:
            output: IO[bytes] | None = stack.enter_context(log_file.open("ab")) if log_file else None
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
            )
        started = ServiceProcess(name, process, ready_file, failure_file, log_file)
        self._running.append(started)
        return started

    def wait_for_ports(self, services: Sequence[ServiceProcess], timeout_seconds: float) -> list[int]:
        """Waits until the services listen.

        Returns:
            Their ports, in the same order.

        Raises:
            LookalikeError: One of them ended, or the time is up.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            ports = [service.port() for service in services]
            bound = [port for port in ports if port]
            if len(bound) == len(services):
                return bound
            self.check()
            if time.monotonic() > deadline:
                late = [service for service, port in zip(services, ports, strict=True) if not port]
                names = ", ".join(service.name for service in late)
                raise UnavailableError(
                    f"{names} did not start within {timeout_seconds:.0f} s", reason=late[0].unavailable
                )
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Makes sure that all run.

        Raises:
            LookalikeError: One of them ended; the end of its log is printed first.
        """
        for service in self._running:
            code = service.process.poll()
            if code is not None:
                for line in service.log_tail():
                    note(f"  {service.name}: {line}")
                raise service.failure(code)

    def watch(self) -> None:
        """Returns never: waits, and raises when a service ends.

        Raises:
            LookalikeError: As :meth:`check`.
        """
        while True:
            self.check()
            time.sleep(0.5)

    def stop(self) -> None:
        """Stops all: the newest first, which is the gateway, then the rest at once; what hangs is killed."""
        ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, signal.SIG_IGN) for number in ignored]
        try:
            deadline = time.monotonic() + STOP_SECONDS
            for group in (self._running[-1:], self._running[:-1]):
                _stop_group(group, deadline)
            self._running.clear()
        finally:
            for number, handler in zip(ignored, before, strict=True):
                signal.signal(number, handler)


def _stop_group(services: Sequence[ServiceProcess], deadline: float) -> None:
    for service in services:
        service.process.terminate()
    for service in services:
        try:
            service.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()
        if service.process.stdin:
            service.process.stdin.close()

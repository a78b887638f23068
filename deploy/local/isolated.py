"""A network, processes and mounts of their own, which end with the process that made them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from deploy.local.process import ROOT, STOP_SECONDS, LocalProcess

ADDRESS = "192.0.2.10"
"""Not loopback: some programs refuse to be reached at a loopback address."""


def is_possible() -> bool:
    """Returns whether this user may make namespaces."""
    return os.geteuid() == 0


class Isolated:
    """Namespaces in which servers have ports, processes and mounts of their own.

    The first process in them waits for the end of a pipe that this process holds. However this process ends,
    the kernel then kills everything in there, and drops its network and mounts.

    Args:
        address: Its address beside loopback's; empty: none.
    """

    def __init__(self, address: str = ADDRESS) -> None:
        self._address = address
        self._holder: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Makes the namespaces."""
        # bash and not cat: as the first process it has to wait for the children of others that ended.
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--pid", "--fork", "--mount-proc", "bash", "-c", "echo; read"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout
        self._holder.stdout.readline()
        self.run("ip", "link", "set", "lo", "up")
        if self._address:
            self.run("ip", "addr", "add", f"{self._address}/24", "dev", "lo")
        return self

    def connect(self, other: Isolated, address: str, others: str) -> None:
        """Lays a cable to other ones, and gives an address (``IP/BITS``) to each end."""
        ends = (("cable0", self, address), ("cable1", other, others))
        (near, _, _), (far, _, _) = ends
        # By this machine itself: in there processes have other numbers.
        pair = ["ip", "link", "add", near, "netns", str(self.pid), "type", "veth"]
        pair += ["peer", "name", far, "netns", str(other.pid)]
        subprocess.run(pair, check=True)
        for name, where, own in ends:
            where.run("ip", "addr", "add", own, "dev", name)
            where.run("ip", "link", "set", name, "up")

    @property
    def pid(self) -> int:
        """The process whose namespaces they are."""
        assert self._holder, "it was not started"
        return self._holder.pid

    def stop(self) -> None:
        """Ends all processes in there, and drops their network and mounts."""
        if self._holder:
            self._holder.communicate()

    def command(self, *command: str) -> list[str]:
        """Returns the command line that runs a command in there."""
        spaces = f"/proc/{self.pid}/ns"
        return [
            "nsenter",
            f"--net={spaces}/net",
            f"--mount={spaces}/mnt",
            f"--pid={spaces}/pid_for_children",
            "--",
            *command,
        ]

    def run(
        self, *command: str, stdin: str = "", timeout_seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in there to its end.

        Raises:
            RuntimeError: It failed, or took too long; the message holds what it wrote.
        """
        with subprocess.Popen(
            self.command(*command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, errors = process.communicate(stdin, timeout_seconds)
            except subprocess.TimeoutExpired:
                end(process)
                out, errors = process.communicate()
                errors += f"it was ended after {timeout_seconds:g} s"
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {errors.strip() or out.strip()}")
        return subprocess.CompletedProcess(command, process.returncode, out, errors)


def end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Kills a command in a session of its own, with the children that it entered namespaces by."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class IsolatedProcess(LocalProcess):
    """A server in such namespaces.

    Args:
        where: The namespaces.
        command: What to run, in the root of the repository.
        log: Gets what it writes.
        environment: Added to this process's own.
    """

    def __init__(
        self,
        where: Isolated,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(where.command(*command), log, environment)

    def stop(self, number: int = signal.SIGTERM, timeout_seconds: float = STOP_SECONDS) -> int:
        """Sends a signal to the server itself, and waits for its end; what takes too long is killed.

        Returns:
            The exit code; of a server that a signal ended 128 and the signal, or negative.
        """
        # What was started only enters the namespaces, and waits for its child there.
        for child in Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split():
            os.kill(int(child), number)
        return self.wait(timeout_seconds)

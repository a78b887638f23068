"""One installation of all services as real processes on free ports: an embedder, hashers and a gateway."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from deploy.local.process import ServiceProcess
from lookalike.client import Client

START_SECONDS = 60.0


class Server(ServiceProcess):
    """One service process, which listens once it is started."""

    def start(self, *flags: str) -> Self:
        """Starts it on the ports that it had before, if it had any, and waits until it listens."""
        super().start(*flags)
        self.wait_until_listening()
        return self


@dataclass
class Stack:
    """All services of one installation."""

    folder: Path
    bundle: Path
    shard_count: int = 2
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Service → further settings."""
    through: Sequence[str] = ()
    """Modules and arguments that start the services' own modules."""
    embedder: Server = field(init=False)
    hashers: list[Server] = field(init=False)
    gateway: Server = field(init=False)

    def __post_init__(self) -> None:
        self.embedder = self._server("embedder", f"--bundle={self.bundle}")
        self.hashers = [
            self._server(
                "hasher",
                f"--shard={shard}",
                f"--shard-count={self.shard_count}",
                f"--data-folder={self.shard_folder(shard)}",
                name=f"hasher-{shard}",
            )
            for shard in range(self.shard_count)
        ]

    def _server(self, module: str, *arguments: str, name: str = "") -> Server:
        flags = (*arguments, *self.flags.get(module, ()))
        return Server(module, self.folder, *flags, name=name, through=self.through)

    def shard_folder(self, shard: int) -> Path:
        """Returns the data folder of a shard."""
        return self.folder / f"shard-{shard}"

    @property
    def servers(self) -> list[Server]:
        """All processes, in the order in which they start."""
        return [self.embedder, *self.hashers, self.gateway]

    def start(self) -> Self:
        """Starts all services, and waits until the gateway knows its model."""
        for server in (self.embedder, *self.hashers):
            server.start()
        self.gateway = self._server(
            "gateway",
            f"--embedder={self.embedder.target}",
            f"--hashers={','.join(hasher.hasher for hasher in self.hashers)}",
            f"--data-folder={self.folder / 'gateway'}",
        ).start()
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Waits until the gateway answers with its model, which needs the embedder's to be loaded."""
        deadline = time.monotonic() + START_SECONDS
        with self.client() as client:
            while not client.server_info().model_version:
                assert time.monotonic() < deadline, self.gateway.said()
                time.sleep(0.1)

    def client(self, timeout_seconds: float = 30.0) -> Client:
        """Returns a client of the gateway."""
        return Client(self.gateway.target, timeout_seconds=timeout_seconds)

    def stop(self) -> None:
        """Stops what runs, the gateway first."""
        running = [self.embedder, *self.hashers, *([self.gateway] if hasattr(self, "gateway") else [])]
        for server in reversed(running):
            if server.is_running():
                server.stop()

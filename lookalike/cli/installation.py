"""A whole installation on this machine: embedder, hashers and gateway, checked and then started."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.addresses import (
    EMBEDDER_PORT,
    FIRST_HASHER_PORT,
    METRICS_PORT_OFFSET,
    bare_host,
    join_address,
)
from lookalike.cli.processes import ServiceProcesses
from lookalike.errors import InvalidInputError

if TYPE_CHECKING:
    from lookalike.runtime.settings import ServerSettings

_START_SECONDS = 60.0
_READY_SECONDS = 600.0
"""A hasher that rebuilds a large index is loading for minutes."""
_HERE = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What is to run.

    Attributes:
        bundle: Folder of the model bundle.
        data: Folder for the data of hashers and gateway; made if it is missing.
        shards: How many hashers.
        port: Of the gateway; 0 takes free ports for everything.
        host: For the gateway to bind.
        config: TOML file of settings.
        extra: Further flags for every service.
    """

    bundle: Path
    data: Path
    shards: int
    port: int
    host: str = _HERE
    config: Path | None = None
    extra: tuple[str, ...] = ()

    def start(self, services: ServiceProcesses) -> str:
        """Starts everything and waits until it answers searches.

        Args:
            services: Gets the new processes.

        Returns:
            The gateway's address.

        Raises:
            LookalikeError: A setting is wrong or a port is taken, and nothing was started
                (``CONFIG_INVALID``); or a service ended, or was not ready in time.
        """
        self._check()
        self.data.mkdir(parents=True, exist_ok=True)
        embedder = services.start("embedder", self._embedder())
        hashers = [
            services.start("hasher", self._hasher(shard), name=f"hasher-{shard}")
            for shard in range(self.shards)
        ]
        port, *_ = services.wait_for_ports([embedder, *hashers], _START_SECONDS)
        behind = [f"{_HERE}:{port}", *(hasher.hasher_address(_HERE) for hasher in hashers)]
        gateway = services.start("gateway", self._gateway(behind))
        (bound,) = services.wait_for_ports([gateway], _START_SECONDS)
        host = bare_host(self.host)
        address = join_address({"0.0.0.0": _HERE, "::": "::1"}.get(host, self.host), bound)
        _wait_until_serving(services, address)
        return address

    def _check(self) -> None:
        """Checks the settings of every service, and that their ports are free."""
        from lookalike.runtime.listen import addresses_to_bind

        taken: dict[tuple[str, int], str] = {}
        for name, settings in self._settings():
            try:
                for host, port in settings.listens_on:
                    addresses = addresses_to_bind(host, port, exposed=settings.insecure)
                    for address in addresses if port else ():
                        other = taken.setdefault((address, port), name)
                        if other != name:
                            raise InvalidInputError(f"port {port} is that of the {other}")
            except InvalidInputError as error:
                raise _named(name, error) from None

    def _settings(self) -> Iterator[tuple[str, ServerSettings]]:
        """Reads what the services would be started with, by their names."""
        from lookalike.runtime.entry import read_settings

        behind = [f"{_HERE}:{1 + number}" for number in range(1 + self.shards)]  # any will do
        services = [("embedder", self._embedder())]
        services += [(f"hasher-{shard}", self._hasher(shard)) for shard in range(self.shards)]
        services += [("gateway", self._gateway(behind))]
        for name, arguments in services:
            service = name.partition("-")[0]
            try:
                yield name, read_settings(service, settings_class(service), arguments)
            except InvalidInputError as error:
                raise _named(name, error) from None

    def _embedder(self) -> list[str]:
        return [*self._common(EMBEDDER_PORT), f"--bundle={self.bundle}"]

    def _hasher(self, shard: int) -> list[str]:
        return [
            *self._common(FIRST_HASHER_PORT + shard),
            *("--shard", str(shard), "--shard-count", str(self.shards)),
            f"--data-folder={self.data / f'hasher-{shard}'}",
        ]

    def _gateway(self, behind: Sequence[str]) -> list[str]:
        """Returns the gateway's flags, given the addresses of the embedder and of the hashers."""
        return [
            *self._common(self.port),
            *("--host", self.host, "--embedder", behind[0], "--hashers", ",".join(behind[1:])),
            f"--data-folder={self.data / 'gateway'}",
        ]

    def _common(self, port: int) -> list[str]:
        metrics_port = port + METRICS_PORT_OFFSET
        if self.port == 0:
            port = metrics_port = 0
        config = [f"--config={self.config}"] if self.config else []
        return [*config, *self.extra, "--port", str(port), "--metrics-port", str(metrics_port)]


def settings_class(service: str) -> type[ServerSettings]:
    """Returns the settings class of a service, by its name."""
    config = importlib.import_module(f"{service}.config")
    found: type[ServerSettings] = getattr(config, f"{service.capitalize()}Settings")
    return found


def _named(name: str, error: InvalidInputError) -> InvalidInputError:
    return InvalidInputError(f"the {name} cannot start: {error.message}", reason=error.reason)


def _wait_until_serving(services: ServiceProcesses, address: str) -> None:
    from lookalike.client.health import wait_until_serving

    wait_until_serving(address, timeout_seconds=_READY_SECONDS, while_waiting=services.check)

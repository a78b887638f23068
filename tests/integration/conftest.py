"""Real processes on free ports: an embedder, two hasher shards and a gateway."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from deploy.local.process import ROOT, ServiceProcess
from lookalike import synth
from lookalike.catalogue.catalog import Catalog, read_catalog
from lookalike.client import Client, Item

START_SECONDS = 60.0


class Server(ServiceProcess):
    """One service process, which listens once it is started."""

    def start(self) -> Self:
        """Starts it on the ports that it had before, if it had any, and waits until it listens."""
        super().start()
        self.wait_until_listening()
        return self


@dataclass
class Stack:
    """All services of one installation."""

    folder: Path
    bundle: Path
    shard_count: int = 2
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
                f"--data-folder={self.folder / f'shard-{shard}'}",
                name=f"hasher-{shard}",
            )
            for shard in range(self.shard_count)
        ]

    def _server(self, module: str, *arguments: str, name: str = "") -> Server:
        return Server(module, self.folder, *arguments, name=name)

    @property
    def servers(self) -> list[Server]:
        return [self.embedder, *self.hashers, self.gateway]

    def start(self) -> Stack:
        for server in (self.embedder, *self.hashers):
            server.start()
        self.gateway = self._server(
            "gateway",
            f"--embedder={self.embedder.target}",
            f"--hashers={','.join(hasher.target for hasher in self.hashers)}",
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
        return Client(self.gateway.target, timeout_seconds=timeout_seconds)

    def stop(self) -> None:
        for server in reversed(self.servers):
            if server.is_running():
                server.stop()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model: the one that `make setup` exported, or one exported now."""
    built = ROOT / "build" / "bundles" / "efficientnet-lite0"
    if not (built / "bundle.json").exists():
        built = tmp_path_factory.mktemp("bundle") / "efficientnet-lite0"
        subprocess.run(
            [sys.executable, "-m", "embedder.export", "default", "--out", str(built)], cwd=ROOT, check=True
        )
    return built


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A few hundred simulated photos."""
    out = tmp_path_factory.mktemp("catalog")
    return read_catalog(synth.generate(out, products=80, views=4, seed=11))


@pytest.fixture(scope="session")
def items(catalog: Catalog) -> list[Item]:
    """The index rows of the catalogue, ready to be written."""
    return [
        Item(
            item_id=row.item_id,
            product_id=row.product_id,
            title=row.title,
            category=row.categories,
            attributes=row.attributes,
            image=row.image_path,
        )
        for row in catalog.index_items()
    ]


@pytest.fixture(scope="module")
def stack(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running installation, empty, shared by the tests of one module."""
    running = Stack(tmp_path_factory.mktemp("stack"), bundle)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def make_stack(bundle: Path, tmp_path: Path) -> Iterator[Callable[[], Stack]]:
    """Starts an installation of the test's own."""
    stacks: list[Stack] = []

    def make() -> Stack:
        stacks.append(Stack(tmp_path, bundle))
        return stacks[-1].start()

    yield make
    for made in stacks:
        made.stop()


@pytest.fixture
def run_cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `lookalike` as a user would, in a process of its own."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lookalike.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
            timeout=120,
        )

    return run

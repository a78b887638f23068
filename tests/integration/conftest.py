"""Real processes on free ports: an embedder, two hasher shards and a gateway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lookalike import synth
from lookalike.catalogue.catalog import Catalog, read_catalog
from lookalike.client import Client, Item

START_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Server:
    """One service process."""

    name: str
    arguments: list[str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    metrics_port: int = 0

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Server:
        """Starts the process, on the same ports as before if it ran already, and waits until it serves."""
        ready = self.folder / f"{self.name}.ready"
        ready.unlink(missing_ok=True)
        ports = [f"--port={self.port}", f"--metrics-port={self.metrics_port}"]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments, *ports, f"--ready-file={ready}",
                 "--drain-wait-seconds=0.1"],
                stderr=log,
                cwd=ROOT,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            assert self.process.poll() is None, f"{self.name} ended at start:\n{self.log()}"
            assert time.monotonic() < deadline, f"{self.name} did not start:\n{self.log()}"
            time.sleep(0.02)
        bound = json.loads(ready.read_text())
        self.port, self.metrics_port = bound["port"], bound["metrics_port"]
        return self

    def kill(self) -> None:
        """SIGKILL: no chance to save anything."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code of the graceful stop."""
        assert self.process
        self.process.terminate()
        return self.process.wait(timeout=30)

    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text()


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
        return Server(name or module, [module, *arguments], self.folder)

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
                assert time.monotonic() < deadline, self.gateway.log()
                time.sleep(0.1)

    def client(self, timeout_seconds: float = 30.0) -> Client:
        return Client(self.gateway.target, timeout_seconds=timeout_seconds)

    def stop(self) -> None:
        for server in reversed(self.servers):
            if server.process and server.process.poll() is None:
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

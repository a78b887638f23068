"""Rows and indexes that are lost, locked or damaged, and disks that are full or slow."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np

from deploy.local.load import COLLECTION
from lookalike.client import Item
from tests.deploy.faults.site import DISK_BYTES, Site, at_work, until_end


def generation_moved(site: Site) -> AbstractContextManager[object]:
    """The rows' folder is deleted under a running hasher; a copy is in its place for the restart."""
    folder, aside = site.generation, site.data_folder.with_name("aside")
    shutil.copytree(folder, aside)
    shutil.rmtree(folder)
    return until_end(lambda: _give_back(site, aside, folder))


def generation_lost(site: Site) -> AbstractContextManager[object]:
    """The rows are deleted while the hasher is down."""
    folder, aside = site.generation, site.data_folder.with_name("aside")
    site.hasher.stop()
    shutil.move(folder, aside)
    site.hasher.start()
    return until_end(lambda: _give_back(site, aside, folder))


def _give_back(site: Site, aside: Path, folder: Path) -> None:
    site.hasher.stop()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(aside, folder)
    site.hasher.start()


def disk_full(site: Site) -> AbstractContextManager[object]:
    """A file that takes all space that is left."""
    ballast = site.data_folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    return until_end(ballast.unlink)


@contextmanager
def disk_fills(site: Site) -> Iterator[None]:
    """A file that grows by a fiftieth of the disk a second, up to nine tenths."""
    ballast = site.data_folder / "ballast"

    def grow(_: int, ended: threading.Event) -> None:
        with ballast.open("wb") as file:
            file.write(bytes(DISK_BYTES * 6 // 10))
            while file.tell() < DISK_BYTES * 9 // 10 and not ended.wait(0.5):
                file.write(bytes(DISK_BYTES // 100))
                file.flush()

    with until_end(ballast.unlink), at_work(grow):
        yield


def memory_short(site: Site) -> AbstractContextManager[object]:
    """The last shard may use less memory than it does."""
    site.hasher.stop()
    site.hasher.start(f"--max-memory-bytes={16 << 20}")

    def restart() -> None:
        site.hasher.stop()
        site.hasher.start()

    return until_end(restart)


def slow_sync(site: Site) -> AbstractContextManager[object]:
    """A disk on which each fsync takes 0.4 s more."""
    inject = ["--trace=fsync,fdatasync", "--inject=fsync,fdatasync:delay_exit=400000"]
    command = ["strace", "--follow-forks", "--quiet=all", "--output=/dev/null", *inject]
    tracer = subprocess.Popen([*command, f"--attach={site.hasher.popen.pid}"])
    return until_end(lambda: tracer.send_signal(signal.SIGINT), lambda: tracer.wait(10))


def checkpoint_fails(site: Site) -> AbstractContextManager[object]:
    """A file lies where the index is to be saved."""
    blocker = site.data_folder / f".saving-{site.generation.name}"
    while True:
        with suppress(FileExistsError, FileNotFoundError):
            shutil.rmtree(blocker, ignore_errors=True)
            blocker.touch(exist_ok=False)
            break
    return until_end(blocker.unlink)


@contextmanager
def long_reader(site: Site) -> Iterator[None]:
    """A reader keeps the write-ahead log from starting over, while much is written."""
    with _rows(site) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        with site.observed.stack.client() as client:
            vector = np.ones(client.get_collection(COLLECTION).dimension, np.float32)
            text = {f"text-{number}": "x" * 1000 for number in range(32)}
            while (site.generation / "rows.sqlite-wal").stat().st_size < 120 << 20:
                items = [Item(item_id=f"long-{n}", attributes=text, embedding=vector) for n in range(200)]
                client.upsert(items, collection=COLLECTION)
        yield


@contextmanager
def locked_start(site: Site) -> Iterator[None]:
    """Another program has locked the rows when the hasher starts, which waits for it for ten seconds."""
    site.hasher.stop()
    with _rows(site) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        site.hasher.start()
        yield


def _rows(site: Site) -> AbstractContextManager[sqlite3.Connection]:
    return closing(sqlite3.connect(site.generation / "rows.sqlite", isolation_level=None))


def index_damaged(site: Site) -> AbstractContextManager[object]:
    """A saved index is damaged while the hasher is down."""
    site.hasher.stop()
    largest = max(site.generation.glob("index-*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)
    site.hasher.start()
    return nullcontext()

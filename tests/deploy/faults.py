"""Faults of real processes, one for each alert: how each is made, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.local.load import COLLECTION, Load
from deploy.local.observed import Observed
from deploy.local.process import LocalProcess
from deploy.local.stack import Server
from lookalike.client import Client, Item
from lookalike.errors import LookalikeError

DISK_BYTES = 512 << 20
"""Size of the disk of the last shard."""
FLAGS = {
    "gateway": (
        "--max-searches=8",
        "--max-waiting-searches=8",
        "--recall-probe-interval-seconds=0.5",
        "--recall-probe-share=0.5",
    ),
    "hasher": ("--checkpoint-interval-seconds=2",),
    "embedder": ("--follow-seconds=0.5",),
}
"""Settings with which faults show soon."""


@dataclass
class Site:
    """What faults are done to."""

    observed: Observed
    load: Load
    bundle: Path
    """A copy that belongs to the embedder."""
    other_bundle: Path
    photos: list[bytes]

    @property
    def hasher(self) -> Server:
        """The last shard, whose disk is small."""
        return self.observed.stack.hashers[-1]

    @property
    def data_folder(self) -> Path:
        """That of the last shard."""
        return self.observed.stack.shard_folder(len(self.observed.stack.hashers) - 1)

    @property
    def generation(self) -> Path:
        """The folder of the collection's rows in the last shard."""
        # Of what is known without the shards.
        with self.observed.stack.client() as client:
            (name,) = (one.generation for one in client.list_collections() if one.name == COLLECTION)
        return next(path for path in self.data_folder.rglob(name) if path.is_dir())


Inject = Callable[[Site], AbstractContextManager[object]]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and the alerts that must say so."""

    what: str
    alerts: tuple[str, ...]
    inject: Inject
    needs: str = ""
    """A program without which it cannot be done."""


@contextmanager
def _stopped(process: LocalProcess) -> Iterator[None]:
    """A process that does nothing, and does not end."""
    process.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.popen.send_signal(signal.SIGCONT)


@contextmanager
def slowed(process: LocalProcess, stop_seconds: float, run_seconds: float) -> Iterator[None]:
    """A process, with all that it started, that is stopped most of the time."""
    ended = threading.Event()

    def pause() -> None:
        while not ended.is_set():
            os.killpg(process.popen.pid, signal.SIGSTOP)
            time.sleep(stop_seconds)
            os.killpg(process.popen.pid, signal.SIGCONT)
            ended.wait(run_seconds)

    thread = threading.Thread(target=pause)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _killed(server: Server) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def _crowd(site: Site) -> Iterator[None]:
    """Far more callers than the gateway has slots for."""
    ended = threading.Event()

    def call() -> None:
        with Client(site.observed.stack.gateway.target, timeout_seconds=1.0) as client:
            while not ended.is_set():
                with suppress(LookalikeError):
                    client.search(item_id="item-1", collection=COLLECTION, exact=True, k=100)

    with ThreadPoolExecutor(64) as pool:
        for _ in range(64):
            pool.submit(call)
        try:
            yield
        finally:
            ended.set()


@contextmanager
def _triton_unloaded(site: Site) -> Iterator[None]:
    triton = site.observed.triton
    assert triton
    triton.unload("lookalike")
    try:
        yield
    finally:
        triton.load("lookalike")


@contextmanager
def _photos_queue(site: Site) -> Iterator[None]:
    """A Triton that gets little CPU, while photos are written by the hundred."""
    triton = site.observed.triton
    assert triton
    ended = threading.Event()

    def write(number: int) -> None:
        items = [Item(item_id=f"item-{number}-{n}", image=site.photos[0]) for n in range(48)]
        with Client(site.observed.stack.gateway.target, timeout_seconds=20) as client:
            while not ended.is_set():
                with suppress(LookalikeError):
                    client.upsert(items, collection=COLLECTION)

    with ThreadPoolExecutor(3) as pool, slowed(triton.process, 0.45, 0.05):
        for number in range(3):
            pool.submit(write, number)
        try:
            yield
        finally:
            ended.set()


@contextmanager
def _other_model(site: Site) -> Iterator[None]:
    """A second embedder, of another model."""
    further = Server("embedder", site.other_bundle.parent, f"--bundle={site.other_bundle}", name="further")
    site.observed.further.append(further.start())
    site.observed.scrape()
    try:
        yield
    finally:
        further.stop()
        site.observed.further.remove(further)
        site.observed.scrape()


@contextmanager
def _bad_bundle(site: Site) -> Iterator[None]:
    """A bundle in the served folder whose network is not the one that it was."""
    manifest = site.bundle / "bundle.json"
    good = manifest.read_text()
    manifest.write_text(good.replace("{", '{"unknown": 1,', 1))
    try:
        yield
    finally:
        manifest.write_text(good)


@contextmanager
def _generation_moved(site: Site) -> Iterator[None]:
    """The rows' folder is renamed under a running hasher, and put back for its restart."""
    folder = site.generation
    aside = site.data_folder.with_name("aside")
    shutil.copytree(folder, aside)
    shutil.rmtree(folder)
    try:
        yield
    finally:
        site.hasher.stop()
        aside_rows = folder
        shutil.rmtree(aside_rows, ignore_errors=True)
        shutil.move(aside, folder)
        site.hasher.start()


@contextmanager
def _generation_lost(site: Site) -> Iterator[None]:
    """The rows are deleted while the hasher is down."""
    folder = site.generation
    aside = site.data_folder.with_name("aside")
    site.hasher.stop()
    shutil.move(folder, aside)
    site.hasher.start()
    try:
        yield
    finally:
        site.hasher.stop()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(aside, folder)
        site.hasher.start()


@contextmanager
def _disk_full(site: Site) -> Iterator[None]:
    ballast = site.data_folder / "ballast"
    with ballast.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def _disk_fills(site: Site) -> Iterator[None]:
    """A file that grows by a fiftieth of the disk a second, up to nine tenths."""
    ballast = site.data_folder / "ballast"
    ended = threading.Event()

    def grow() -> None:
        with ballast.open("wb") as file:
            file.write(bytes(DISK_BYTES * 6 // 10))
            while file.tell() < DISK_BYTES * 9 // 10 and not ended.wait(0.5):
                file.write(bytes(DISK_BYTES // 100))
                file.flush()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        ballast.unlink()


@contextmanager
def _slow_sync(site: Site) -> Iterator[None]:
    """A disk on which each fsync takes 0.4 s more."""
    inject = ["--trace=fsync,fdatasync", "--inject=fsync,fdatasync:delay_exit=400000"]
    command = ["strace", "--follow-forks", "--quiet=all", "--output=/dev/null", *inject]
    tracer = subprocess.Popen([*command, f"--attach={site.hasher.popen.pid}"])
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)


@contextmanager
def _checkpoint_fails(site: Site) -> Iterator[None]:
    """A file lies where the index is to be saved."""
    blocker = site.data_folder / f".saving-{site.generation.name}"
    while True:
        with suppress(FileExistsError, FileNotFoundError):
            shutil.rmtree(blocker, ignore_errors=True)
            blocker.touch(exist_ok=False)
            break
    try:
        yield
    finally:
        blocker.unlink()


@contextmanager
def _long_reader(site: Site) -> Iterator[None]:
    """A reader keeps the write-ahead log from starting over, while much is written."""
    reader = sqlite3.connect(site.generation / "rows.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    with site.observed.stack.client() as client:
        vector = np.ones(client.get_collection(COLLECTION).dimension, np.float32)
        text = {f"text-{number}": "x" * 1000 for number in range(32)}
        while (site.generation / "rows.sqlite-wal").stat().st_size < 120 << 20:
            items = [Item(item_id=f"long-{n}", attributes=text, embedding=vector) for n in range(200)]
            client.upsert(items, collection=COLLECTION)
    try:
        yield
    finally:
        reader.close()


@contextmanager
def _index_damaged(site: Site) -> Iterator[None]:
    """A saved index is spoilt while the hasher is down."""
    site.hasher.stop()
    spoilt = max(site.generation.glob("index-*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(spoilt.read_bytes())
    content[len(content) // 2] ^= 0xFF
    spoilt.write_bytes(content)
    site.hasher.start()
    yield


@contextmanager
def _locked_start(site: Site) -> Iterator[None]:
    """Another program has locked the rows when the hasher starts, which waits for it for ten seconds."""
    site.hasher.stop()
    other = sqlite3.connect(site.generation / "rows.sqlite", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    site.hasher.start()
    try:
        yield
    finally:
        other.close()


@contextmanager
def _restarts(site: Site) -> Iterator[None]:
    for _ in range(3):
        site.hasher.kill()
        site.hasher.start()
        time.sleep(1.5)
    yield


@contextmanager
def _poor_index(site: Site) -> Iterator[None]:
    """Searches that look into very few buckets."""
    ended = threading.Event()

    def call() -> None:
        with site.observed.stack.client() as client:
            dimension = client.get_collection(COLLECTION).dimension
            rng = np.random.default_rng()
            while not ended.wait(0.02):
                vector = rng.standard_normal(dimension).astype(np.float32)
                with suppress(LookalikeError):
                    client.search(embedding=vector, collection=COLLECTION, k=50, probes=1)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(call)
        try:
            yield
        finally:
            ended.set()


FAULTS = (
    Fault(
        "a shard is killed",
        ("LookalikeDependencyDown", "LookalikePartialAnswers", "LookalikeSearchErrorBudgetBurn"),
        lambda site: _killed(site.hasher),
    ),
    Fault("a shard hangs (SIGSTOP)", ("LookalikeShardSilent",), lambda site: _stopped(site.hasher)),
    Fault(
        "a shard gets a fifth of its CPU time",
        ("LookalikeShardSlow",),
        lambda site: slowed(site.hasher, 0.16, 0.04),
    ),
    Fault(
        "a shard stops for 0.6 s, again and again",
        ("LookalikeSearchLatencyBudgetBurn",),
        lambda site: slowed(site.hasher, 0.6, 0.2),
    ),
    Fault(
        "the gateway is killed",
        ("LookalikeGatewayAbsent",),
        lambda site: _killed(site.observed.stack.gateway),
    ),
    Fault(
        "the embedder is killed",
        ("LookalikeDependencyDown", "LookalikeSearchErrorBudgetBurn"),
        lambda site: _killed(site.observed.stack.embedder),
    ),
    Fault("64 callers at once, 8 slots", ("LookalikeOverload",), _crowd),
    Fault(
        "the gateway gets two thirds of its CPU time in bursts",
        ("LookalikeEventLoopLag",),
        lambda site: slowed(site.observed.stack.gateway, 0.3, 0.6),
    ),
    Fault("Triton gets a twentieth of its CPU time", ("LookalikeEmbedderQueueGrows",), _photos_queue),
    Fault("the model is unloaded from Triton", ("LookalikeTritonFails",), _triton_unloaded),
    Fault("a second embedder serves another model", ("LookalikeModelsMixed",), _other_model),
    Fault(
        "the bundle's folder gets a bundle that is not valid", ("LookalikeModelSwitchFailed",), _bad_bundle
    ),
    Fault(
        "a generation's folder is deleted under the hasher", ("LookalikeGenerationFailed",), _generation_moved
    ),
    Fault("a generation's folder is gone at the start", ("LookalikeShardDataMissing",), _generation_lost),
    Fault(
        "a shard's disk is full", ("LookalikeDiskFull", "LookalikeWriteErrorBudgetBurn"), _disk_full, "mount"
    ),
    Fault("a shard's disk fills by 2 % a second", ("LookalikeDiskWillFill",), _disk_fills, "mount"),
    Fault("each fsync takes 0.4 s more", ("LookalikeFsyncSlow",), _slow_sync, "strace"),
    Fault("no index can be saved", ("LookalikeCheckpointStuck",), _checkpoint_fails),
    Fault("a reader holds the write-ahead log", ("LookalikeWalGrows",), _long_reader),
    Fault("a saved index is damaged at the start", ("LookalikeIndexDamaged",), _index_damaged),
    Fault("the rows are locked by another program", ("LookalikeLoadStuck",), _locked_start),
    Fault("a shard is killed three times", ("LookalikeRestarts",), _restarts),
    Fault("searches that probe one bucket", ("LookalikeRecallLow",), _poor_index),
)

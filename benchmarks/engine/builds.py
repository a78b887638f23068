"""Built indexes, cached on disk by catalogue, settings and library version."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine.catalogue import CHUNK_ROWS, Catalogue
from benchmarks.engine.contenders import Contender
from benchmarks.engine.engines import engine_version, make_engine
from benchmarks.engine.machine import busy_seconds
from benchmarks.engine.processes import Child, State

__all__ = ["Build", "build_index", "ensure_build"]


@dataclass(frozen=True, slots=True)
class Build:
    """A stored index.

    Attributes:
        folder: Where the index is.
        seconds: How long training and adding took.
        threads: With how many threads.
        others: Cores that other processes kept busy meanwhile; well above 0, the time is not to be quoted.
        disk_bytes: Size of the stored index.
        version: Version of the library.
    """

    folder: Path
    seconds: float
    threads: int
    others: float
    disk_bytes: int
    version: str

    def facts(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "folder"}


def ensure_build(contender: Contender, catalogue: Catalogue, cache: Path, cores: set[int]) -> Build:
    """Returns the cached index of `contender`, building it in a child on `cores` the first time.

    Raises:
        UnavailableError: The library cannot build it on this machine.
        ChildError: The build failed.
    """
    folder, key = _place(contender, catalogue, cache)
    about = folder / "build.json"
    if about.exists():
        stored = json.loads(about.read_text())
        return Build(folder / "index", **{name: stored[name] for name in Build.__slots__ if name != "folder"})
    shutil.rmtree(folder, ignore_errors=True)
    _forget_other_versions(folder, key)
    with Child(cores) as child:
        facts = child.call(
            build_index,
            contender=contender,
            vectors_folder=catalogue.folder,
            threads=len(cores),
            save_to=folder / "index",
        )
    about.write_text(json.dumps({**facts, "key": key}, indent=1))
    return Build(folder / "index", **facts)


def build_index(
    state: State, contender: Contender, vectors_folder: Path, threads: int, save_to: Path | None
) -> dict[str, Any]:
    """Builds in this process and returns the facts of :class:`Build`; runs in a child."""
    catalogue = Catalogue.load(vectors_folder)
    engine = make_engine(contender.adapter)
    # Reading the file is not part of any build.
    vectors = np.asarray(catalogue.vectors)
    for at in range(0, len(vectors), CHUNK_ROWS):
        vectors[at : at + CHUNK_ROWS].max()
    busy, own, started = busy_seconds(), time.process_time(), time.perf_counter()
    engine.build(vectors, contender.build, threads)
    seconds = time.perf_counter() - started
    others = (busy_seconds() - busy - (time.process_time() - own)) / seconds
    disk_bytes = 0
    if save_to is not None:
        save_to.mkdir(parents=True)
        engine.save(save_to)
        disk_bytes = sum(file.stat().st_size for file in save_to.rglob("*") if file.is_file())
    version = engine_version(contender.adapter)
    return {
        "seconds": seconds,
        "threads": threads,
        "others": others,
        "disk_bytes": disk_bytes,
        "version": version,
    }


def _place(contender: Contender, catalogue: Catalogue, cache: Path) -> tuple[Path, dict[str, Any]]:
    key = {
        "catalogue": catalogue.name,
        "adapter": contender.adapter,
        "version": engine_version(contender.adapter),
        # Churn is applied after loading.
        "build": {name: value for name, value in contender.build.items() if name != "churn"},
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    return cache / "indexes" / catalogue.name / f"{contender.adapter}-{digest}", key


def _forget_other_versions(folder: Path, key: dict[str, Any]) -> None:
    """Deletes indexes that differ from `key` in the library's version only: they would fill the disk."""
    for about in folder.parent.glob("*/build.json"):
        stored = json.loads(about.read_text())["key"]
        if {**stored, "version": None} == {**key, "version": None}:
            shutil.rmtree(about.parent)

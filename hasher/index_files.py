"""Saving the derived index next to the rows, and bringing it back: whole, or rebuilt from the rows.

A saved index lies in ``index-<revision>/``. The row file says which revision is the valid one, so an index
that was not saved to its end is never looked at.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import structlog

from hasher.attributes import in_columns
from hasher.index import HashIndex, IndexDamagedError
from hasher.metrics import HasherMetrics
from hasher.rows.store import RowStore
from lookalike.files.disk import sync_folder
from lookalike.files.open_files import open_files_error

INDEX_PREFIX = "index-"
SAVING_PREFIX = ".saving-"
"""Of folders next to those of the generations."""
log = structlog.get_logger()


def load_index(
    store: RowStore, folder: Path, generation: str, metrics: HasherMetrics
) -> tuple[HashIndex, int]:
    """Returns the index of a generation, equal to its rows, and how many of its rows no saved index holds.

    The saved one is opened and the changes since then are applied to it. Where there is none, or it is
    damaged (a warning ``index_rebuilt`` is logged), it is built from the rows.

    Raises:
        DataLossError: The row file is damaged.
    """
    revision = store.index_revision
    if revision:
        try:
            return _open_saved(store, folder / f"{INDEX_PREFIX}{revision}", metrics)
        except (IndexDamagedError, OSError) as error:
            if problem := open_files_error(error):
                raise problem from error
            metrics.index_damaged()
            log.warning("index_rebuilt", generation=generation, reason=str(error), rows=store.item_count)
            store.record_index(0)
    start = time.perf_counter()
    entries = store.index_entries(0)
    built = HashIndex.build(
        entries.vectors,
        np.array(entries.row_numbers, dtype=np.uint64),
        np.array(entries.product_numbers, dtype=np.uint64),
        attributes=in_columns(entries.attributes),
        documents=entries.documents,
        bits=store.spec.bits,
        rerank=store.spec.rerank,
    )
    metrics.loaded("build", time.perf_counter() - start)
    return built, len(built)


def _open_saved(store: RowStore, folder: Path, metrics: HasherMetrics) -> tuple[HashIndex, int]:
    revision = store.index_revision
    start = time.perf_counter()
    index = HashIndex.open(folder)
    opened = time.perf_counter()
    metrics.loaded("open", opened - start)
    stats = index.stats()
    found = (stats["dim"], stats["bits"], stats["rerank"])
    expected = (store.spec.dimension, store.spec.bits, store.spec.rerank)
    if found != expected:
        raise IndexDamagedError(
            f"the saved index has (dimension, bits, rerank) {found}, the generation {expected}"
        )
    if stats["items"] and not stats["document_bytes"]:
        raise IndexDamagedError("the saved index has no documents: an earlier version wrote it")
    # What was saved may already hold changes after `revision`: both steps change nothing when repeated.
    deleted = store.deletions(revision)
    if deleted:
        index.remove(np.array(deleted, dtype=np.uint64))
    entries = store.index_entries(revision)
    if entries.row_numbers:
        index.add(
            entries.vectors,
            np.array(entries.row_numbers, dtype=np.uint64),
            np.array(entries.product_numbers, dtype=np.uint64),
            attributes=in_columns(entries.attributes),
            documents=entries.documents,
        )
    replayed = len(entries.row_numbers) + len(deleted)
    metrics.replayed(replayed)
    metrics.loaded("replay", time.perf_counter() - opened)
    if len(index) != store.item_count:
        raise IndexDamagedError(f"the saved index has {len(index)} items, the row file {store.item_count}")
    return index, replayed


def save_index(index: HashIndex, store: RowStore, folder: Path, revision: int) -> None:
    """Saves the index as of ``revision`` (it may hold later changes too) and removes older ones.

    It is written next to the generation's folder and moved into it: whoever drops the generation meanwhile
    does not find its folder made again.

    Raises:
        OSError: The files cannot be written, or the generation was dropped.
        UnavailableError: The generation is closing, or the disk is full.
    """
    saving = folder.with_name(f"{SAVING_PREFIX}{folder.name}")
    target = folder / f"{INDEX_PREFIX}{revision}"
    for leftover in (saving, target):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        # Saving makes the folders above, too; a data folder that was deleted must not come back.
        saving.mkdir()
        index.save(saving)
        saving.rename(target)
    except OSError:
        shutil.rmtree(saving, ignore_errors=True)
        raise
    sync_folder(folder)
    store.record_index(revision)
    for other in folder.glob(f"{INDEX_PREFIX}*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)

"""Saving the derived index beside the rows, and bringing it back: whole, or rebuilt from the rows.

A saved index lies in ``index-<position>/``. The row file says which position is the valid one, so an index
that was not saved to its end is never looked at.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import structlog
from google.protobuf.message import DecodeError

from hasher.attributes import index_attributes
from hasher.filters import Attributes
from hasher.index import HashIndex, IndexDamagedError
from hasher.rows.records import IndexEntries
from hasher.rows.sqlite import damaged
from hasher.rows.store import RowStore

INDEX_PREFIX = "index-"
_SAVING = "index-being-saved"
RERANK = "f32"
"""Exact searches of the service are exact: as good as float brute force over the stored rows."""
log = structlog.get_logger()


def load_index(store: RowStore, folder: Path, generation: str) -> HashIndex:
    """Returns the index of a generation, equal to its rows.

    The saved one is opened and the changes since then are applied to it. Where there is none, or it is
    damaged (a warning ``index_rebuilt`` is logged), it is built from the rows.

    Raises:
        DataLossError: The row file is damaged.
    """
    position = store.index_position
    if position:
        try:
            return _open_saved(store, folder / f"{INDEX_PREFIX}{position}", generation)
        except (IndexDamagedError, OSError) as error:
            log.warning("index_rebuilt", generation=generation, reason=str(error), rows=store.item_count)
            store.record_index(0)
    entries = store.index_entries(0)
    return HashIndex.build(
        entries.vectors,
        np.array(entries.row_numbers, dtype=np.uint64),
        np.array(entries.product_numbers, dtype=np.uint64),
        attributes=_attributes(entries, generation),
        bits=store.spec.bits,
        rerank=RERANK,
    )


def _attributes(entries: IndexEntries, generation: str) -> Attributes:
    try:
        return index_attributes(entries.items)
    except DecodeError:
        raise damaged(generation, "a row's item cannot be decoded") from None


def _open_saved(store: RowStore, folder: Path, generation: str) -> HashIndex:
    position = store.index_position
    index = HashIndex.open(folder)
    stats = index.stats()
    found = (stats["dim"], stats["bits"], stats["rerank"])
    expected = (store.spec.dimension, store.spec.bits, RERANK)
    if found != expected:
        raise IndexDamagedError(
            f"the saved index has (dimension, bits, rerank) {found}, the generation {expected}"
        )
    # What was saved may already hold changes after `position`: both steps change nothing when repeated.
    deleted = store.deletions(position)
    if deleted:
        index.remove(np.array(deleted, dtype=np.uint64))
    entries = store.index_entries(position)
    if entries.row_numbers:
        index.add(
            entries.vectors,
            np.array(entries.row_numbers, dtype=np.uint64),
            np.array(entries.product_numbers, dtype=np.uint64),
            attributes=_attributes(entries, generation),
        )
    if len(index) != store.item_count:
        raise IndexDamagedError(f"the saved index has {len(index)} items, the row file {store.item_count}")
    return index


def save_index(index: HashIndex, store: RowStore, folder: Path, position: int) -> None:
    """Saves the index as of ``position`` (it may hold later changes too) and removes older ones.

    Raises:
        OSError: The files cannot be written.
    """
    saving, target = folder / _SAVING, folder / f"{INDEX_PREFIX}{position}"
    for leftover in (saving, target):
        shutil.rmtree(leftover, ignore_errors=True)
    index.save(saving)
    saving.rename(target)
    sync_folder(folder)
    store.record_index(position)
    for other in folder.glob(f"{INDEX_PREFIX}*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What a hasher reports of its state on ``/metrics``: read from the shard whenever somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from hasher.generation import Generation
from hasher.shard import Shard
from lookalike._native import active_isa
from lookalike.runtime.metrics import Metrics, Read, Value

_PREFIX = "lookalike_hasher_"
_READ = (
    Read("shard_info", "Which shard this is, and the instruction set of its kernels; always 1.",
         ("shard", "shard_count", "isa")),
    Read("load_progress_ratio", "Share of the row files, by size, that the start has loaded; 1: all."),
    Read("generations", "Generations that serve, and those that failed and take no writes until a restart.",
         ("state",)),
    Read("items", "Rows of all generations of the shard."),
    Read("products", "Products of all generations of the shard."),
    Read("pending_changes", "Changes that wait for their commit."),
    Read("unsaved_changes", "Changes that no saved index holds; a start after a crash replays them."),
    Read("unsaved_seconds", "For how long there have been changes that no saved index has, of the generation"
         " that has waited longest; 0: all are saved."),
    Read("database_bytes", "Size of the row files, without their write-ahead logs."),
    Read("wal_bytes", "Size of the write-ahead logs."),
    Read("index_bytes", "Memory of the indexes, by part: code, vector, bucket, attribute, document.",
         ("part",)),
    Read("index_rows", "Rows of the indexes: live, and dead ones that searches still scan.", ("state",)),
    Read("rebuilding_indexes", "Indexes that are being trained again or compacted in the background."),
    Read("failed_rebuilds", "Rebuilds that failed since their index was built or opened."),
    Read("disk_full", "1 while writes find no space on the disk, else 0."),
    Read("disk_free_bytes", "Space left on the disk of the data folder."),
    Read("disk_size_bytes", "Size of the disk of the data folder."),
)  # fmt: skip


def watch(shard: Shard, metrics: Metrics) -> None:
    """Shows the state of a shard."""
    metrics.read(
        (Read(_PREFIX + one.name, one.doc, one.labels) for one in _READ),
        lambda: ((_PREFIX + name, labels, value) for name, labels, value in _state(shard)),
    )


def _state(shard: Shard) -> Iterator[Value]:
    identity, generations = shard.identity, shard.generations()
    yield "shard_info", (str(identity.shard), str(identity.shard_count), active_isa()), 1
    yield "load_progress_ratio", (), shard.progress.ratio
    failed = sum(bool(one.failure) for one in generations)
    yield "generations", ("serving",), len(generations) - failed
    yield "generations", ("failed",), failed
    yield "items", (), shard.item_count()
    yield "products", (), sum(one.store.product_count for one in generations)
    yield "pending_changes", (), sum(one.pending for one in generations)
    yield "unsaved_changes", (), sum(one.unsaved_changes for one in generations)
    yield "unsaved_seconds", (), max((one.unsaved_seconds() for one in generations), default=0.0)
    yield "database_bytes", (), sum(one.store.file_bytes() for one in generations)
    yield "wal_bytes", (), sum(one.store.wal_bytes() for one in generations)
    yield from _indexes(generations)
    free, size = shard.disk.space()
    yield "disk_full", (), shard.disk.is_full()
    yield "disk_free_bytes", (), free
    yield "disk_size_bytes", (), size


def _indexes(generations: list[Generation]) -> Iterator[Value]:
    stats = [one.index_stats() for one in generations]
    sizes = {
        "code": sum(one["code_bytes"] for one in stats),
        "vector": sum(one["vector_bytes"] for one in stats),
        "bucket": sum(one["bucket_bytes"] for one in stats),
        "attribute": sum(one["attribute_bytes"] for one in stats),
        "document": sum(one["document_bytes"] for one in stats),
    }
    for part, size in sizes.items():
        yield "index_bytes", (part,), size
    yield "index_rows", ("live",), sum(one["items"] for one in stats)
    yield "index_rows", ("dead",), sum(one["dead_rows"] for one in stats)
    yield "rebuilding_indexes", (), sum(one["rebuilding"] for one in stats)
    yield "failed_rebuilds", (), sum(one["failed_rebuilds"] for one in stats)

"""What a hasher reports of its work on ``/metrics``; :mod:`hasher.state` has what it reports of its state."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, get_args

from hasher.rows.syncs import SyncedFile
from lookalike.runtime.metrics import Metrics, show_from_the_start

SearchStage = Literal["position", "queue", "convert", "hash", "probe", "scan", "rerank"]
SEARCH_STAGES: tuple[SearchStage, ...] = get_args(SearchStage)
WriteStage = Literal["convert", "queue", "sql", "sync", "index"]
WRITE_STAGES: tuple[WriteStage, ...] = ("convert", "queue", "sql", "sync", "index")
LoadStep = Literal["rows", "open", "replay", "build"]

# A probe of a small shard takes microseconds.
STAGE_BUCKETS = (
    0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
)  # fmt: skip
_EXACT = ("false", "true")
_SAVE_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_COUNT_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class HasherMetrics:
    """Where the time of searches, writes and reads goes, and what is done meanwhile.

    Args:
        metrics: The process's registry.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._watch_searches(metrics)
        self._watch_reads(metrics)
        self._watch_writes(metrics)
        self._watch_saving(metrics)

    def _watch_searches(self, metrics: Metrics) -> None:
        # What the search port counts (:mod:`hasher.search_port_metrics`), and nobody here.
        stage_seconds = metrics.histogram(
            "lookalike_hasher_stage_seconds",
            "Seconds of a search, answered or not, in a stage: position (waiting for min_positions), queue"
            " (waiting for a thread), convert, hash, probe, scan, rerank. Exact searches are apart, the"
            " gateway's recall probes among them.",
            ("stage", "exact"),
            STAGE_BUCKETS,
        )
        show_from_the_start(stage_seconds, SEARCH_STAGES, _EXACT)
        metrics.counter("lookalike_hasher_codes_scanned_total", "Codes compared with query codes.")
        metrics.counter(
            "lookalike_hasher_buckets_probed_total",
            "Buckets that searches looked into; those that score all that may be found look into none.",
        )
        reranked = metrics.counter(
            "lookalike_hasher_candidates_reranked_total",
            "Candidates scored from the vectors that the index keeps; exact searches score all there are.",
            ("exact",),
        )
        show_from_the_start(reranked, _EXACT)
        metrics.counter(
            "lookalike_hasher_search_panics_total",
            "Searches that met a defect of the engine, which the log describes.",
        )
        waiting = metrics.gauge(
            "lookalike_hasher_waiting_searches",
            "Searches that wait for a thread: ordinary ones, and those that take long.",
            ("kind",),
        )
        show_from_the_start(waiting, ("ordinary", "long"))

    def _watch_reads(self, metrics: Metrics) -> None:
        read_seconds = metrics.histogram(
            "lookalike_hasher_read_seconds",
            "Seconds that reads, descriptions and the checks of writes waited for a thread (queue), and took"
            " there (work).",
            ("stage",),
        )
        self._read_queue, self._read_work = read_seconds.labels("queue"), read_seconds.labels("work")

    def _watch_writes(self, metrics: Metrics) -> None:
        write_seconds = metrics.histogram(
            "lookalike_hasher_write_seconds",
            "Seconds of a change in a stage: convert (checks), queue (waiting for its commit); and of a group"
            " of changes: sql (statements), sync (COMMIT: the write-ahead log is written and fsynced, and now"
            " and then copied into the file; lookalike_hasher_fsync_seconds has the fsyncs), index.",
            ("stage",),
        )
        self._writes = {stage: write_seconds.labels(stage) for stage in WRITE_STAGES}
        fsync_seconds = metrics.histogram(
            "lookalike_hasher_fsync_seconds",
            "Seconds of one fsync, also of one that failed: of the write-ahead log (log), which each commit"
            " waits for, and of the row file (rows), into which the log is copied now and then.",
            ("file",),
        )
        self._fsyncs = {file: fsync_seconds.labels(file) for file in get_args(SyncedFile)}
        self._group_changes = metrics.histogram(
            "lookalike_hasher_group_changes", "Changes that shared one commit.", buckets=_COUNT_BUCKETS
        )
        self._group_mutations = metrics.histogram(
            "lookalike_hasher_group_mutations", "Mutations that shared one commit.", buckets=_COUNT_BUCKETS
        )
        self._refused = metrics.counter(
            "lookalike_hasher_refused_changes_total", "Changes refused because too many waited for a commit."
        )

    def _watch_saving(self, metrics: Metrics) -> None:
        self._checkpoint_seconds = metrics.histogram(
            "lookalike_hasher_checkpoint_seconds",
            "Seconds that saving one generation's index took, also where it failed.",
            buckets=_SAVE_BUCKETS,
        )
        self._checkpoint_failures = metrics.counter(
            "lookalike_hasher_checkpoint_failures_total",
            "Indexes that could not be saved; the next checkpoint tries again.",
        )
        self._load_seconds = metrics.counter(
            "lookalike_hasher_load_seconds_total",
            "Seconds spent on loading generations: rows (opening, migrating and checkpointing the row file),"
            " open (the saved index), replay (changes since it was saved), build (an index from the rows).",
            ("step",),
        )
        show_from_the_start(self._load_seconds, get_args(LoadStep))
        self._replayed = metrics.counter(
            "lookalike_hasher_replayed_rows_total", "Rows that a saved index lacked when it was opened."
        )
        self._damaged = metrics.counter(
            "lookalike_hasher_damaged_indexes_total",
            "Saved indexes that could not be used, so that they were built again.",
        )

    def read(self, queue_seconds: float, work_seconds: float) -> None:
        """Takes the time that one read waited for a thread and took in it."""
        self._read_queue.observe(queue_seconds)
        self._read_work.observe(work_seconds)

    def write_took(self, stage: WriteStage, seconds: float) -> None:
        """Takes the time of one stage of a write."""
        self._writes[stage].observe(seconds)

    def synced(self, file: SyncedFile, seconds: float) -> None:
        """Takes the time of one fsync."""
        self._fsyncs[file].observe(seconds)

    def grouped(self, changes: int, mutations: int) -> None:
        """Takes the size of one commit."""
        self._group_changes.observe(changes)
        self._group_mutations.observe(mutations)

    def refused(self) -> None:
        """Counts one change that was refused."""
        self._refused.inc()

    def checkpointing(self) -> AbstractContextManager[object]:
        """Times the saving of one index."""
        return self._checkpoint_seconds.time()

    def checkpoint_failed(self) -> None:
        """Counts one index that could not be saved."""
        self._checkpoint_failures.inc()

    def loaded(self, step: LoadStep, seconds: float) -> None:
        """Takes the time that one step of loading a generation took."""
        self._load_seconds.labels(step).inc(seconds)

    def replayed(self, rows: int) -> None:
        """Counts rows that a saved index lacked."""
        self._replayed.inc(rows)

    def index_damaged(self) -> None:
        """Counts one saved index that could not be used."""
        self._damaged.inc()


def unserved() -> HasherMetrics:
    """Returns metrics that nobody reads, for whoever uses a shard without serving it."""
    return HasherMetrics(Metrics())

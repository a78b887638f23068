"""Hashers: what they hold, how writes reach the disk, and what is left of it."""

from __future__ import annotations

from deploy.grafana.panels import Figure, Lines, Page, Query, Row
from deploy.grafana.queries import IN, mean, quantile, rate

_COMMITS = f'stage="sync",{IN}'


def _of_commit(selector: str) -> str:
    """Returns the seconds of some fsyncs for each commit."""
    seconds = rate("lookalike_hasher_fsync_seconds_sum", f"{selector},{IN}")
    return f"{seconds} / ({rate('lookalike_hasher_write_seconds_count', _COMMITS)} > 0)"


def _of_shard(metric: str, selector: str = IN) -> list[Query]:
    return [Query(f"sum by (instance) ({metric}{{{selector}}})", "{{instance}}")]


SHARDS = Page(
    "lookalike-shards",
    "Shards and storage",
    "What each hasher holds, how long its writes take, and what it needs of memory and disk.",
    [
        Row(
            "Now",
            [
                Figure(
                    "Items", "Rows of all shards.", Query(f"sum(lookalike_hasher_items{{{IN}}})"), "short"
                ),
                Figure(
                    "Products",
                    "That searches by group can find.",
                    Query(f"sum(lookalike_hasher_products{{{IN}}})"),
                    "short",
                ),
                Figure(
                    "Failed generations",
                    "They take no writes until a restart. Runbook: LookalikeGenerationFailed.",
                    Query(f'sum(lookalike_hasher_generations{{state="failed",{IN}}})'),
                    "none",
                    bad_above=1,
                ),
                Figure(
                    "Full disks",
                    "Shards that refuse writes for lack of space. Runbook: LookalikeDiskFull.",
                    Query(f"sum(lookalike_hasher_disk_full{{{IN}}})"),
                    "none",
                    bad_above=1,
                ),
                Figure(
                    "Least disk free",
                    "Of the shard that has least.",
                    Query(
                        f"min(lookalike_hasher_disk_free_bytes{{{IN}}} / lookalike_hasher_disk_size_bytes{{{IN}}})"
                    ),
                    "percentunit",
                    bad_below=0.15,
                ),
                Figure(
                    "Loading",
                    "Least share of the rows that a starting shard has loaded; 100 %: none is starting.",
                    Query(f"min(lookalike_hasher_load_progress_ratio{{{IN}}})"),
                    "percentunit",
                ),
            ],
        ),
        Row(
            "Writes",
            [
                Lines(
                    "Time of a change, by stage",
                    "Mean seconds: convert, queue (waiting for its commit), and for a group of changes sql, sync (COMMIT), index.",
                    [Query(mean("lookalike_hasher_write_seconds", IN, "stage"), "{{stage}}")],
                    "s",
                    stacked=True,
                ),
                Lines(
                    "p99 of fsync",
                    "By shard. A disk that is slow or shared shows here first.",
                    [Query(quantile(0.99, "lookalike_hasher_fsync_seconds", IN, "instance"), "{{instance}}")],
                    "s",
                ),
                Lines(
                    "Time of a commit, and its fsyncs",
                    "Mean seconds of a COMMIT, and of the fsyncs that there are for each: of the write-ahead log, and of"
                    " the row file when the log has been copied into it. What is left is writing to the page cache.",
                    [
                        Query(mean("lookalike_hasher_write_seconds", _COMMITS), "COMMIT"),
                        Query(_of_commit('file="log"'), "fsync of the log"),
                        Query(_of_commit('file="rows"'), "fsync of the row file"),
                    ],
                    "s",
                ),
                Lines(
                    "Mutations made durable by one fsync",
                    "Mean; concurrent write calls share a commit.",
                    [
                        Query(mean("lookalike_hasher_group_mutations", IN, "instance"), "{{instance}}"),
                        Query(mean("lookalike_hasher_group_changes", IN, "instance"), "{{instance}}: calls"),
                    ],
                    "short",
                ),
                Lines(
                    "Changes that wait",
                    "For their commit, by shard; beyond max_pending_changes they are refused.",
                    [
                        *_of_shard("lookalike_hasher_pending_changes"),
                        Query(
                            rate("lookalike_hasher_refused_changes_total", IN, "instance"),
                            "{{instance}}: refused a second",
                        ),
                    ],
                    "short",
                ),
                Lines(
                    "Time of a write in the gateway, by stage",
                    "Mean seconds: slot, check, embed, convert, append (until it is durable).",
                    [Query(mean("lookalike_gateway_write_seconds", IN, "stage"), "{{stage}}")],
                    "s",
                    stacked=True,
                ),
                Lines(
                    "Time of a bulk load's batch, by stage",
                    "Mean seconds: prepare, wait (for the batch before it), write.",
                    [Query(mean("lookalike_gateway_ingest_seconds", IN, "stage"), "{{stage}}")],
                    "s",
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Memory and disk",
            [
                Lines(
                    "Memory of the indexes, by part",
                    "code, vector (the rerank precision decides it), bucket, attribute.",
                    [Query(f"sum by (part) (lookalike_hasher_index_bytes{{{IN}}})", "{{part}}")],
                    "bytes",
                    stacked=True,
                ),
                Lines(
                    "Resident memory",
                    "By process.",
                    [
                        Query(
                            f"sum by (job, instance) (process_resident_memory_bytes{{{IN}}})",
                            "{{job}} {{instance}}",
                        )
                    ],
                    "bytes",
                ),
                Lines(
                    "Memory in use, of what may be",
                    "Of processes that take items in: used and reserved (a share of the limit, or what a rebuild takes)."
                    " Where both together pass 100 %, new items are refused.",
                    [
                        Query(
                            f"sum by (job, instance) (lookalike_memory_used_bytes{{{IN}}})"
                            f" / sum by (job, instance) (lookalike_memory_limit_bytes{{{IN}}})",
                            "{{job}} {{instance}} used",
                        ),
                        Query(
                            f"sum by (job, instance) (lookalike_memory_reserved_bytes{{{IN}}})"
                            f" / sum by (job, instance) (lookalike_memory_limit_bytes{{{IN}}})",
                            "{{job}} {{instance}} reserved",
                        ),
                    ],
                    "percentunit",
                ),
                Lines(
                    "Writes refused for lack of memory",
                    "A second, by process. Runbook: LookalikeMemoryFull.",
                    [
                        Query(
                            rate("lookalike_memory_refused_writes_total", IN, "job, instance"),
                            "{{job}} {{instance}}",
                        )
                    ],
                    "reqps",
                ),
                Lines(
                    "Row files",
                    "By shard, without write-ahead logs.",
                    _of_shard("lookalike_hasher_database_bytes"),
                    "bytes",
                ),
                Lines(
                    "Write-ahead logs",
                    "By shard; long readers keep one from starting again at 64 MiB.",
                    _of_shard("lookalike_hasher_wal_bytes"),
                    "bytes",
                ),
                Lines("Disk free", "By shard.", _of_shard("lookalike_hasher_disk_free_bytes"), "bytes"),
                Lines(
                    "Dead rows",
                    "Share of the index's rows that searches scan in vain, until it is compacted.",
                    [
                        Query(
                            f'sum by (instance) (lookalike_hasher_index_rows{{state="dead",{IN}}})'
                            f" / sum by (instance) (lookalike_hasher_index_rows{{{IN}}})",
                            "{{instance}}",
                        )
                    ],
                    "percentunit",
                ),
            ],
        ),
        Row(
            "Index upkeep",
            [
                Lines(
                    "Unsaved for",
                    "How long a shard has had changes that no saved index holds. Above the checkpoint interval: stuck.",
                    _of_shard("lookalike_hasher_unsaved_seconds"),
                    "s",
                ),
                Lines(
                    "Batches of bulk loads",
                    "Mean items of one, and how often a second a load waited for a slot.",
                    [
                        Query(mean("lookalike_gateway_ingest_batch_items"), "items"),
                        Query(rate("lookalike_gateway_ingest_pauses_total"), "pauses a second"),
                    ],
                    "short",
                ),
                Lines(
                    "Unsaved changes",
                    "A start after a crash would have to apply them again.",
                    _of_shard("lookalike_hasher_unsaved_changes"),
                    "short",
                ),
                Lines(
                    "Checkpoints that failed",
                    "In the last hour.",
                    [
                        Query(
                            f"sum by (instance) (increase(lookalike_hasher_checkpoint_failures_total{{{IN}}}[1h]))",
                            "{{instance}}",
                        )
                    ],
                    "none",
                ),
                Lines(
                    "Time of a checkpoint",
                    "Mean seconds to save one generation's index, over the last quarter of an hour.",
                    [
                        Query(
                            mean("lookalike_hasher_checkpoint_seconds", IN, "instance", "15m"), "{{instance}}"
                        )
                    ],
                    "s",
                ),
                Lines(
                    "Rebuilds under way and failed",
                    "Indexes that are trained again or compacted; those that failed to be.",
                    [
                        Query(f"sum(lookalike_hasher_rebuilding_indexes{{{IN}}})", "under way"),
                        Query(f"sum(lookalike_hasher_failed_rebuilds{{{IN}}})", "failed"),
                    ],
                    "none",
                ),
                Lines(
                    "Items by shard",
                    "Shards should be even.",
                    _of_shard("lookalike_hasher_items"),
                    "short",
                ),
            ],
        ),
    ],
)

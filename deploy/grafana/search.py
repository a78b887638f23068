"""Where does the time of a search go: which stage, which shard, since when."""

from __future__ import annotations

from deploy.grafana.panels import Lines, Page, Query, Row
from deploy.grafana.queries import IN, mean, quantile, quantiles, rate

_STAGE = "lookalike_gateway_stage_seconds"
_SHARD_STAGE = "lookalike_hasher_stage_seconds"
_OUTER = f'stage=~"slot|admit|lookup|embed|fanout|merge",{IN}'
_INNER = f'stage=~"hash|probe|scan|rerank",{IN}'
_SEARCH_CALL = f'call="search",{IN}'
_APPROXIMATE = f'exact="false",{IN}'
_WAITED_OR_WORKED = f'exact="false",stage=~"queue|scan|rerank",{IN}'
_IN_SHARDS = rate(f"{_SHARD_STAGE}_count", f'exact="false",stage="scan",{IN}')
"""Searches in the shards a second, each shard's by itself; exact ones, such as probes of recall, apart."""
_SLOTS_OF_SEARCHES = f'what!="writes",{IN}'
_SEARCHES = f'grpc_service="lookalike.v1.SearchService",grpc_method="Search",{IN}'


def _share(selector: str, by: str) -> str:
    """Returns seconds of a stage per search: stages that some searches lack count for these as nothing."""
    return f"{rate(f'{_STAGE}_sum', selector, by)} / ignoring(stage) group_left() ({rate('grpc_server_handled_total', _SEARCHES)} > 0)"


SEARCH = Page(
    "lookalike-search",
    "Search latency",
    "Which stage, which shard, since when. A stage that grew stands out in the first row, its shard in the second.",
    [
        Row(
            "Which stage",
            [
                Lines(
                    "Mean time of a search, by stage",
                    "Seconds per search in each stage of the gateway, one upon the other: their sum is the mean latency."
                    " Stages: slot (waiting), admit (checks), lookup (vector of an item), embed (photo), fanout"
                    " (shards), merge.",
                    [Query(_share(_OUTER, "stage"), "{{stage}}")],
                    "s",
                    stacked=True,
                ),
                Lines(
                    "p99 of each stage",
                    "The slow searches: the stage that leads here is the one to look at.",
                    [Query(quantile(0.99, _STAGE, _OUTER, "stage"), "{{stage}}")],
                    "s",
                    exemplars=True,
                ),
                Lines(
                    "Latency of Search",
                    "What callers wait for.",
                    quantiles("grpc_server_handling_seconds", _SEARCHES),
                    "s",
                    exemplars=True,
                ),
                Lines(
                    "Within the shards, by stage",
                    "Seconds per search within fanout, of the shard that took longest.",
                    [Query(_share(_INNER, "stage"), "{{stage}}")],
                    "s",
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Which shard",
            [
                Lines(
                    "p99 of each shard, as the gateway sees it",
                    "Network included. One line above the others: that shard or its machine is slow.",
                    [
                        Query(
                            quantile(0.99, "lookalike_gateway_shard_seconds", _SEARCH_CALL, "shard"),
                            "shard {{shard}}",
                        )
                    ],
                    "s",
                ),
                Lines(
                    "p50 of each shard, as the gateway sees it",
                    "The usual case: shards of equal size should not differ.",
                    [
                        Query(
                            quantile(0.5, "lookalike_gateway_shard_seconds", _SEARCH_CALL, "shard"),
                            "shard {{shard}}",
                        )
                    ],
                    "s",
                ),
                Lines(
                    "Time in the shards, by stage",
                    "Mean seconds of a search in a hasher. queue: too few threads; position: read-your-writes that wait"
                    " for the log; hash, probe, scan and rerank: the engine; convert: Python.",
                    [Query(mean(_SHARD_STAGE, _APPROXIMATE, "stage"), "{{stage}}")],
                    "s",
                    stacked=True,
                ),
                Lines(
                    "Time in each shard, by stage",
                    "Mean seconds of a search: waiting for a thread, comparing codes, scoring candidates.",
                    [
                        Query(
                            mean(_SHARD_STAGE, _WAITED_OR_WORKED, "instance, stage"),
                            "{{instance}} {{stage}}",
                        )
                    ],
                    "s",
                ),
                Lines(
                    "Reads in the shards",
                    "Mean seconds that reads and checks waited for a thread (queue), and took (work).",
                    [Query(mean("lookalike_hasher_read_seconds", IN, "stage"), "{{stage}}")],
                    "s",
                    stacked=True,
                ),
                Lines(
                    "Failed calls to shards",
                    "A second, by shard and cause; a shard that is left alone shows as silent.",
                    [
                        Query(
                            rate("lookalike_gateway_shard_failures_total", IN, "shard, cause"),
                            "shard {{shard}}: {{cause}}",
                        )
                    ],
                    "reqps",
                ),
            ],
        ),
        Row(
            "Work and waiting",
            [
                Lines(
                    "Codes scanned per search",
                    "Work of the engine. It grows with effort, with the catalogue, and while an index is rebuilt.",
                    [
                        Query(
                            f"{rate('lookalike_gateway_codes_scanned_total')} / "
                            f"{rate('lookalike_gateway_coverage_ratio_count')}",
                            "of live searches",
                        ),
                        Query(
                            f"{rate('lookalike_hasher_codes_scanned_total')} / "
                            f"{rate('lookalike_gateway_coverage_ratio_count')}",
                            "with probes of recall",
                        ),
                    ],
                    "short",
                ),
                Lines(
                    "Buckets probed and candidates reranked per search",
                    "Mean of a search in one shard, exact ones apart. Buckets grow with effort, candidates with k;"
                    " searches whose filter lets few items pass probe none and score all of these.",
                    [
                        Query(
                            f"{rate('lookalike_hasher_buckets_probed_total')} / ({_IN_SHARDS} > 0)",
                            "buckets probed",
                        ),
                        Query(
                            f"{rate('lookalike_hasher_candidates_reranked_total', _APPROXIMATE)}"
                            f" / ({_IN_SHARDS} > 0)",
                            "candidates reranked",
                        ),
                    ],
                    "short",
                ),
                Lines(
                    "Searches in the gateway",
                    "Those that hold a slot, and those that wait for one.",
                    [
                        Query(f"sum(lookalike_gateway_running_requests{{{_SLOTS_OF_SEARCHES}}})", "running"),
                        Query(f"sum(lookalike_gateway_waiting_requests{{{_SLOTS_OF_SEARCHES}}})", "waiting"),
                    ],
                    "short",
                ),
                Lines(
                    "Searches in the shards",
                    "Those that wait for a thread, of all shards, and those that met a defect of the engine. Exact"
                    " searches and large ones wait apart, as long ones.",
                    [
                        Query(
                            f"sum by (kind) (lookalike_hasher_waiting_searches{{{IN}}})", "{{kind}} waiting"
                        ),
                        Query(rate("lookalike_hasher_search_panics_total"), "defects a second"),
                    ],
                    "short",
                ),
                Lines(
                    "Slots of searches",
                    "How many may run at once in all gateways, by kind: as many as do not slow each other down too"
                    " much. Few while many are refused: embedders, shards or gateways are used up.",
                    [
                        Query(
                            f"sum by (what) (lookalike_gateway_most_running_requests{{{_SLOTS_OF_SEARCHES}}})",
                            "{{what}}",
                        ),
                        Query(
                            f"sum by (what) (lookalike_gateway_overloaded{{{_SLOTS_OF_SEARCHES}}})",
                            "gateways with too many {{what}}",
                        ),
                    ],
                    "short",
                ),
                Lines(
                    "Wait for the event loops",
                    "p99 of how long calls were there as a whole before a service took them.",
                    [
                        Query(
                            quantile(0.99, "lookalike_call_wait_seconds", IN, "job"),
                            "{{job}}",
                        )
                    ],
                    "s",
                ),
                Lines(
                    "Lag of the event loops",
                    "p99 of how late each service's loop is: CPU is short, or something blocks it.",
                    [
                        Query(
                            quantile(0.99, "lookalike_event_loop_lag_seconds", IN, "job"),
                            "{{job}}",
                        )
                    ],
                    "s",
                ),
                Lines(
                    "CPU and garbage collection",
                    "Cores in use by each process, and the share of time that Python's collector stopped it.",
                    [
                        Query(
                            rate("process_cpu_seconds_total", IN, "job, instance"),
                            "{{job}} {{instance}}",
                        ),
                        Query(
                            rate("lookalike_gc_pause_seconds_sum", IN, "job"),
                            "{{job}} collecting",
                        ),
                    ],
                    "short",
                ),
                Lines(
                    "Calls sent again",
                    "A second, by method: load that clients add by trying again.",
                    [Query(rate("lookalike_retried_calls_total", IN, "grpc_method"), "{{grpc_method}}")],
                    "reqps",
                ),
                Lines(
                    "Bytes of requests in progress",
                    "By process; beyond max_request_bytes_in_flight calls are refused.",
                    [
                        Query(
                            f"sum by (job, instance) (lookalike_requests_in_progress_bytes{{{IN}}})",
                            "{{job}} {{instance}}",
                        )
                    ],
                    "bytes",
                ),
                Lines(
                    "Calls in progress",
                    "In each service.",
                    [Query(f"sum by (job) (lookalike_calls_in_progress{{{IN}}})", "{{job}} calls")],
                    "short",
                ),
            ],
        ),
    ],
)

"""Is it all right? What users get, the error budget, and where to look next."""

from __future__ import annotations

from deploy.grafana.panels import Figure, Lines, Page, Query, Row
from deploy.grafana.queries import IN, quantile, quantiles, rate

_SEARCH = f'grpc_service="lookalike.v1.SearchService",grpc_method=~"Search|MultiSearch",{IN}'
_WRITE = f'grpc_service="lookalike.v1.CatalogService",grpc_method=~"UpsertItems|DeleteItems|IngestItems",{IN}'


def _burn_rate(budget: str, meaning: str, errors: str, allowed: float) -> Lines:
    windows = ("5m", "1h", "6h")
    return Lines(
        f"Burn rate of the {budget} budget",
        meaning,
        [Query(f"max(job:lookalike_{errors}:ratio_rate{w}{{{IN}}}) / {allowed}", w) for w in windows],
        "none",
        limit=14.4,
    )


OVERVIEW = Page(
    "lookalike-overview",
    "Overview",
    "Whether users get good answers in time, and whether the error budget lasts. Start here.",
    [
        Row(
            "Now",
            [
                Figure(
                    "Searches",
                    "Searches a second, answered or not.",
                    Query(rate("grpc_server_handled_total", _SEARCH)),
                    "reqps",
                ),
                Figure(
                    "Answered",
                    "Share of searches that did not fail through our fault, over the last hour. Objective: 99.9 %.",
                    Query(f"1 - max(job:lookalike_search_errors:ratio_rate1h{{{IN}}})"),
                    "percentunit",
                    bad_below=0.999,
                    decimals=3,
                ),
                Figure(
                    "In time",
                    "Share of searches answered within 250 ms, over the last hour. Objective: 99 %.",
                    Query(f"1 - max(job:lookalike_search_slow:ratio_rate1h{{{IN}}})"),
                    "percentunit",
                    bad_below=0.99,
                    decimals=2,
                ),
                Figure(
                    "p99",
                    "99 of 100 searches take no longer.",
                    Query(quantile(0.99, "grpc_server_handling_seconds", _SEARCH)),
                    "s",
                    bad_above=0.25,
                ),
                Figure(
                    "Recall",
                    "Recall of live searches against exact ones of the same queries, as sampled by the recall probe.",
                    Query(f"min(lookalike_gateway_recall_ratio{{{IN}}})"),
                    "percentunit",
                    bad_below=0.95,
                    decimals=2,
                ),
                Figure(
                    "Missing",
                    "Services and shards that the gateways miss. See the runbook: LookalikeDependencyDown.",
                    Query(f"count(lookalike_gateway_dependency_up{{{IN}}} == 0) or vector(0)"),
                    "none",
                    bad_above=1,
                ),
            ],
        ),
        Row(
            "Searches",
            [
                Lines(
                    "Searches by outcome",
                    "Searches a second by gRPC code. Everything but OK and the callers' own mistakes is on us.",
                    [Query(rate("grpc_server_handled_total", _SEARCH, "grpc_code"), "{{grpc_code}}")],
                    "reqps",
                    stacked=True,
                ),
                Lines(
                    "Latency of searches",
                    "What callers wait for, failed searches included. In which stage it goes: dashboard Search latency.",
                    quantiles("grpc_server_handling_seconds", _SEARCH),
                    "s",
                    exemplars=True,
                    limit=0.25,
                ),
                Lines(
                    "Partial answers",
                    "Share of searches whose answer lacks a shard, or that failed for it.",
                    [
                        Query(
                            rate("lookalike_gateway_coverage_ratio_bucket", f'le="0.99",{IN}')
                            + f" / {rate('lookalike_gateway_coverage_ratio_count')}",
                            "partial",
                        )
                    ],
                    "percentunit",
                ),
                Lines(
                    "Refused",
                    "Requests a second that were refused because too much was under way, by what and why.",
                    [
                        Query(
                            rate("lookalike_gateway_refused_total", IN, "what, cause"),
                            "{{what}}: {{cause}}",
                        ),
                        Query(
                            rate("lookalike_calls_refused_total", IN, "kind, cause"),
                            "{{kind}}: {{cause}}",
                        ),
                    ],
                    "reqps",
                ),
            ],
        ),
        Row(
            "Error budget",
            [
                _burn_rate(
                    "availability",
                    "1: the budget of 30 days lasts 30 days. An alert pages above 14.4 (1 h) and 6 (6 h).",
                    "search_errors",
                    0.001,
                ),
                _burn_rate(
                    "latency",
                    "The same of searches that took longer than 250 ms: 1 of 100 may.",
                    "search_slow",
                    0.01,
                ),
            ],
        ),
        Row(
            "Writes",
            [
                Lines(
                    "Items written",
                    "Acknowledged items a second: each is on the disk of its shard. And single items that were refused.",
                    [
                        Query(
                            rate("lookalike_gateway_items_written_total", IN, "operation"),
                            "{{operation}}",
                        ),
                        Query(
                            rate("lookalike_gateway_items_refused_total", IN, "operation"),
                            "refused: {{operation}}",
                        ),
                    ],
                    "ops",
                ),
                Lines(
                    "Writes by outcome",
                    "Write calls a second by gRPC code; a bulk load is one call.",
                    [Query(rate("grpc_server_handled_total", _WRITE, "grpc_code"), "{{grpc_code}}")],
                    "reqps",
                    stacked=True,
                ),
            ],
        ),
    ],
)

"""Whether answers are right, and whether what is searched for resembles the catalogue."""

from __future__ import annotations

from deploy.grafana.panels import Lines, Query, Row
from deploy.grafana.queries import IN, mean, quantile, rate

_FOUND = "lookalike_gateway_recall_found_hits_total"
_WANTED = "lookalike_gateway_recall_wanted_hits_total"
_MATCH = "lookalike_gateway_top_match_ratio"

ANSWERS = Row(
    "Quality of answers",
    [
        Lines(
            "Recall of live searches",
            "Of the exact answer, by collection: the last 100 probed searches, with the 95 % interval. Runbook:"
            " LookalikeRecallLow.",
            [
                Query(f"min by (collection) (lookalike_gateway_recall_ratio{{{IN}}})", "{{collection}}"),
                Query(
                    f"min by (collection, end) (lookalike_gateway_recall_interval_ratio{{{IN}}})",
                    "{{collection}}: {{end}}",
                ),
            ],
            "percentunit",
            maximum=1,
        ),
        Lines(
            "Recall by category",
            "Over the last hour, by first-level category of the best hit.",
            [
                Query(
                    f"sum by (collection, category) (increase({_FOUND}{{{IN}}}[1h]))"
                    f" / sum by (collection, category) (increase({_WANTED}{{{IN}}}[1h]))",
                    "{{collection}}: {{category}}",
                )
            ],
            "percentunit",
            maximum=1,
        ),
        Lines(
            "Probes of recall",
            "A second, by their end. busy: the gateway has no time for them.",
            [
                Query(rate("lookalike_gateway_recall_probes_total", IN, "ending"), "{{ending}}"),
            ],
            "short",
        ),
        Lines(
            "Searches that recall rests on",
            "At most the last 100 that were probed; few of them say little.",
            [
                Query(
                    f"min by (collection) (lookalike_gateway_recall_probed_queries{{{IN}}})", "{{collection}}"
                )
            ],
            "none",
        ),
        Lines(
            "Cost of a probe",
            "Mean seconds of its two searches.",
            [Query(mean("lookalike_gateway_recall_probe_seconds"), "probe")],
            "s",
        ),
        Lines(
            "Cosine of the best hit",
            "Median and lowest tenth over all searches. It falls when queries or the catalogue change.",
            [
                Query(quantile(0.5, "lookalike_gateway_top_score_ratio"), "p50"),
                Query(quantile(0.1, "lookalike_gateway_top_score_ratio"), "p10"),
            ],
            "none",
            maximum=1,
        ),
        Lines(
            "Searches that found nothing likely",
            "Share of searches without a filter whose best hit is more likely wrong than right, by collection: what"
            " is asked for and not there, or probabilities that no longer fit the catalogue.",
            [
                Query(
                    "{} / {}".format(
                        rate(f"{_MATCH}_bucket", f'le="0.5",{IN}', "collection"),
                        rate(f"{_MATCH}_count", IN, "collection"),
                    ),
                    "{{collection}}",
                )
            ],
            "percentunit",
            maximum=1,
        ),
        Lines(
            "Searches with category_gate",
            "A second, by what became of the gate. everywhere: the category is too uncertain to look only there.",
            [Query(rate("lookalike_gateway_category_gates_total", IN, "ending"), "{{ending}}")],
            "reqps",
        ),
        Lines(
            "Bad photos",
            "Share of the photos that were refused.",
            [
                Query(
                    "{} / {}".format(
                        rate("lookalike_embedder_images_total", f'result="rejected",{IN}'),
                        rate("lookalike_embedder_images_total"),
                    ),
                    "rejected",
                )
            ],
            "percentunit",
        ),
    ],
)
DRIFT = Row(
    "Drift of queries",
    [
        Lines(
            "Mean query against mean item",
            "Cosine, by collection. What counts is a change from last week.",
            [
                Query(
                    f"min by (collection) (lookalike_gateway_embedding_mean_cosine_ratio{{{IN}}})",
                    "{{collection}}",
                )
            ],
            "none",
        ),
        Lines(
            "Spread of queries and of the catalogue",
            "Variance around their mean; near 0 all vectors are alike, as those of a broken model.",
            [
                Query(
                    f"min by (collection, of) (lookalike_gateway_embedding_spread_ratio{{{IN}}})",
                    "{{collection}}: {{of}}",
                )
            ],
            "none",
        ),
        Lines(
            "Divergence of categories",
            "Of recent photos from the catalogue: 0 equal, 1 nothing in common.",
            [
                Query(
                    f"max by (collection) (lookalike_gateway_category_divergence_ratio{{{IN}}})",
                    "{{collection}}",
                )
            ],
            "none",
            maximum=1,
        ),
        Lines(
            "Categories that differ most",
            "Share among recent photos less the share in the catalogue.",
            [
                Query(
                    "topk(8, abs("
                    f'max by (collection, category) (lookalike_gateway_category_share_ratio{{of="queries",{IN}}})'
                    f' - max by (collection, category) (lookalike_gateway_category_share_ratio{{of="catalogue",{IN}}})))',
                    "{{collection}}: {{category}}",
                )
            ],
            "percentunit",
        ),
        Lines(
            "Queries that the figures rest on",
            "A second; at most 20 are looked at.",
            [Query(rate("lookalike_gateway_profiled_queries_total", IN, "collection"), "{{collection}}")],
            "reqps",
        ),
    ],
)

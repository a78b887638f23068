"""Roll-outs and the model: which versions run, how starts go, and whether answers stay good."""

from __future__ import annotations

from deploy.grafana.panels import Lines, Page, Query, Row
from deploy.grafana.quality import ANSWERS, DRIFT
from deploy.grafana.queries import IN, rate

ROLLOUT = Page(
    "lookalike-rollout",
    "Roll-out and model",
    "Versions of software and model side by side, starts, and the quality of answers meanwhile.",
    [
        Row(
            "Roll-out",
            [
                Lines(
                    "Processes by version",
                    "During a roll-out two lines cross.",
                    [
                        Query(
                            f"count by (service, version) (lookalike_build_info{{{IN}}})",
                            "{{service}} {{version}}",
                        )
                    ],
                    "none",
                    stacked=True,
                ),
                Lines(
                    "Age of processes",
                    "Seconds since each started: a saw means restarts.",
                    [Query(f"time() - process_start_time_seconds{{{IN}}}", "{{job}} {{instance}}")],
                    "s",
                ),
                Lines(
                    "Loading of shards",
                    "Share of the rows that a start has loaded.",
                    [Query(f"lookalike_hasher_load_progress_ratio{{{IN}}}", "{{instance}}")],
                    "percentunit",
                    maximum=1,
                ),
                Lines(
                    "What starts spent their time on",
                    "Seconds in each step, of the last start of each shard.",
                    [
                        Query(
                            f"sum by (instance, step) (lookalike_hasher_load_seconds_total{{{IN}}})",
                            "{{instance}} {{step}}",
                        )
                    ],
                    "s",
                    stacked=True,
                ),
                Lines(
                    "Rows that starts had to apply again",
                    "What the saved index lacked.",
                    [
                        Query(
                            f"sum by (instance) (lookalike_hasher_replayed_rows_total{{{IN}}})",
                            "{{instance}}",
                        )
                    ],
                    "short",
                ),
                Lines(
                    "Instruction sets of the shards",
                    "A slower one than the others': another kind of machine.",
                    [
                        Query(
                            f"count by (isa, shard_count) (lookalike_hasher_shard_info{{{IN}}})",
                            "{{isa}}, of {{shard_count}} shards",
                        )
                    ],
                    "none",
                    stacked=True,
                ),
                Lines(
                    "Log lines dropped",
                    "A second, as nobody read them in time.",
                    [Query(rate("lookalike_log_lines_dropped_total", IN, "job"), "{{job}}")],
                    "short",
                ),
                Lines(
                    "Dependencies that are up",
                    "As the gateways see them; 0: down, or without data that it should have.",
                    [
                        Query(
                            f"min by (dependency) (lookalike_gateway_dependency_up{{{IN}}})", "{{dependency}}"
                        )
                    ],
                    "none",
                    maximum=1,
                ),
            ],
        ),
        Row(
            "Model",
            [
                Lines(
                    "Embedders by model",
                    "More than one model for long: a roll-out that stopped halfway. And which model the gateways know.",
                    [
                        Query(
                            f"count by (model_version) (lookalike_embedder_model_info{{{IN}}})",
                            "{{model_version}}",
                        ),
                        Query(
                            f"count by (model_version) (lookalike_gateway_embedder_model_info{{{IN}}})",
                            "gateways that know {{model_version}}",
                        ),
                    ],
                    "none",
                ),
                Lines(
                    "Collections by model",
                    "A collection takes vectors of one model: a new model needs a new collection and an alias that moves.",
                    [
                        Query(
                            f"max by (model_version) (lookalike_gateway_model_collections{{{IN}}})",
                            "{{model_version}}",
                        )
                    ],
                    "none",
                    stacked=True,
                ),
                Lines(
                    "Switches of the served model",
                    "In the last hour, by outcome.",
                    [
                        Query(
                            f"sum by (result) (increase(lookalike_embedder_model_switches_total{{{IN}}}[1h]))",
                            "{{result}}",
                        )
                    ],
                    "none",
                ),
                Lines(
                    "Collections by state",
                    "creating or deleting for long: a shard does not take part.",
                    [Query(f"max by (state) (lookalike_gateway_collections{{{IN}}})", "{{state}}")],
                    "none",
                ),
            ],
        ),
        ANSWERS,
        DRIFT,
    ],
)

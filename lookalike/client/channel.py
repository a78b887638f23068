"""The options of a client's channel."""

from __future__ import annotations

import json

from lookalike.wire.channel import channel_options

# Safe for writes too: each carries a request id, and the server applies one request id once.
_RETRY_POLICY = {
    "methodConfig": [
        {
            "name": [
                {"service": "lookalike.v1.SearchService"},
                {"service": "lookalike.v1.CatalogService"},
                {"service": "lookalike.v1.CollectionService"},
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
        # A bulk load resumes by itself, with what was not acknowledged.
        {"name": [{"service": "lookalike.v1.CatalogService", "method": "IngestItems"}]},
    ]
}


def client_options() -> list[tuple[str, int | str]]:
    """Returns the channel options of both clients: limits and keepalive, and retries while unavailable."""
    return [*channel_options(), ("grpc.service_config", json.dumps(_RETRY_POLICY))]

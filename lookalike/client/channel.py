"""The options of a client's channel."""

from __future__ import annotations

import json

from lookalike.wire.channel import channel_options
from lookalike.wire.proxies import is_loopback

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


def client_options(target: str) -> list[tuple[str, int | str]]:
    """Returns the channel options of both clients: limits and keepalive, and retries while unavailable.

    Only to a gateway on another machine may an HTTP proxy lead.
    """
    options = channel_options(direct=is_loopback(target))
    return [*options, ("grpc.service_config", json.dumps(_RETRY_POLICY))]

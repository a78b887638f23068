"""Callers that ask for too much, or for too little."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, suppress

import numpy as np

from deploy.local.load import COLLECTION
from lookalike.client import Client
from lookalike.errors import LookalikeError
from tests.deploy.faults.site import Site, at_work


def crowd(site: Site) -> AbstractContextManager[object]:
    """Far more callers than the gateway has slots for."""

    def call(_: int, ended: threading.Event) -> None:
        with Client(site.gateway.target, timeout_seconds=1.0) as client:
            while not ended.is_set():
                with suppress(LookalikeError):
                    client.search(item_id="item-1", collection=COLLECTION, exact=True, k=100)

    return at_work(call, threads=64)


def few_probes(site: Site) -> AbstractContextManager[object]:
    """Searches that look into very few buckets."""

    def call(_: int, ended: threading.Event) -> None:
        with site.observed.stack.client() as client:
            dimension = client.get_collection(COLLECTION).dimension
            rng = np.random.default_rng()
            while not ended.wait(0.02):
                vector = rng.standard_normal(dimension).astype(np.float32)
                with suppress(LookalikeError):
                    client.search(embedding=vector, collection=COLLECTION, k=50, probes=1)

    return at_work(call, threads=2)

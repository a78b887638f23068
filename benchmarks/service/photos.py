"""Searches by photo: photos of the simulator, among vectors that lie between theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedder import resized, simulated_photos
from benchmarks.service import generator, servers
from benchmarks.service.data import encoded, item_of, recall_of
from benchmarks.service.subjects import Subject
from deploy.local.stack import Stack
from lookalike.client import Client, Item
from lookalike.v1 import search_pb2, types_pb2

__all__ = ["searches"]

COLLECTION, OWN = "photos", "photos-own"
ITEMS, PHOTOS = 10_000, 100
LONG_SIDE = 512
"""Of 512 × 384 pixels."""
MIXED = 3
TIMEOUT_SECONDS = 60.0


def searches(stack: Stack, folder: Path) -> Subject:
    """Returns searches by photo in a collection of the embedder's model, which is made for them.

    The right hits of a photo are those of an exact search: its vector is known to the servers alone.
    """
    photos = [resized(photo, LONG_SIDE) for photo in simulated_photos(PHOTOS, folder / "photos")]
    with stack.client(TIMEOUT_SECONDS) as client:
        client.create_collection(COLLECTION)
        report = client.ingest(_between(_vectors(client, photos)), collection=COLLECTION)
        if report.failures:
            raise RuntimeError(f"items were refused: {report.failures[0]}")
        right = [
            client.search(image=photo, collection=COLLECTION, exact=True, group_by_product=False)
            for photo in photos
        ]
    queries = [search_pb2.Query(image=types_pb2.Image(content=photo)) for photo in photos]
    requests = [encoded(query, collection=COLLECTION) for query in queries]
    return Subject(
        f"by photo, {len(stack.hashers)} shards",
        generator.grpc_call(stack.gateway.target, servers.SEARCH_METHOD),
        servers.processes_of(stack, with_embedder=True),
        generator.write_messages(folder / "photos.requests", requests),
        recall_of([{hit.item_id for hit in result.hits} for result in right]),
        callers=4,
    )


def _vectors(client: Client, photos: Sequence[bytes]) -> NDArray[np.float32]:
    """The vectors of photos, as the embedder makes them."""
    ids = [str(number) for number in range(len(photos))]
    client.create_collection(OWN)
    for item_id, photo in zip(ids, photos, strict=True):
        client.upsert([Item(item_id=item_id, image=photo)], collection=OWN)
    stored = client.get(ids, collection=OWN, include_embeddings=True).items
    client.delete_collection(OWN)
    return np.array([one.embedding for one in stored], np.float32)


def _between(vectors: NDArray[np.float32]) -> Iterator[Item]:
    """Items of which each lies between the vectors of some photos."""
    rng = np.random.default_rng(5)
    for row in range(ITEMS):
        some = rng.choice(len(vectors), MIXED, replace=False)
        yield item_of(row, row // 4, rng.dirichlet(np.ones(MIXED)).astype(np.float32) @ vectors[some])

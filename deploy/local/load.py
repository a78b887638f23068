"""A small bounded load of every kind on a gateway: searches, reads, writes and bulk loads."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lookalike.client import Client, Item
from lookalike.errors import LookalikeError, NotFoundError
from lookalike.matching import MatchCalibration

COLLECTION = "observed"
TIMEOUT_SECONDS = 5.0
_CATEGORIES = (("clothes", "sport", "running"), ("clothes", "sport", "tennis"), ("shoes", "street"))
_ITEMS = 2_000
"""Items that the writes go round in, so that most of them replace one."""
_LISTINGS = 4
"""Of each product."""
_CALIBRATION = MatchCalibration(slope=20.0, threshold=0.8, density_weight=0.0, density=0.5)
_NOT_A_PHOTO = b"This is not a photo."


class Load:
    """Sends requests at fixed rates from threads of its own; one that takes long delays the next of its kind.

    Args:
        target: The gateway.
        photos: JPEGs to search for and to write.
        scale: Multiplies all rates; about 25 requests a second at 1.
    """

    def __init__(self, target: str, photos: Sequence[bytes], scale: float = 1.0) -> None:
        self._client = Client(target, timeout_seconds=TIMEOUT_SECONDS)
        self._photos = photos
        self._scale = scale
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._dimension = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """(kind, "ok" or the reason of the failure) → requests."""

    def __enter__(self) -> Self:
        collection = self._client.create_collection(COLLECTION)
        self._client.set_match_calibration(COLLECTION, _CALIBRATION, model_version=collection.model_version)
        self._dimension = collection.dimension
        self._bulk(512)
        kinds: tuple[tuple[str, float, Callable[[], object]], ...] = (
            ("search by photo", 4.0, lambda: self._search(image=random.choice(self._photos))),
            ("search by embedding", 10.0, lambda: self._search(embedding=self._vector(), effort=0.9)),
            ("gated search", 1.0, lambda: self._search(embedding=self._vector(), category_gate="leaf")),
            ("search of half", 2.0, lambda: self._search(embedding=self._vector(), min_coverage=0.5)),
            ("search by item", 1.0, lambda: self._search(item_id=_random_id())),
            ("exact search", 1.0, lambda: self._search(embedding=self._vector(), exact=True)),
            ("bad search", 0.5, lambda: self._search(image=_NOT_A_PHOTO)),
            ("read", 1.0, lambda: self._client.get([_random_id()], collection=COLLECTION)),
            ("write", 3.0, lambda: self._client.upsert(self._items(8), collection=COLLECTION)),
            ("write of photos", 0.5, self._write_photos),
            ("deletion", 0.5, lambda: self._client.delete([_random_id()], collection=COLLECTION)),
            ("bulk load", 0.3, lambda: self._bulk(64)),
        )
        for kind, rate, act in kinds:
            thread = threading.Thread(target=self._repeat, args=(kind, rate * self._scale, act), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS * 2)
        self._client.close()

    def _repeat(self, kind: str, rate: float, act: Callable[[], object]) -> None:
        due = time.monotonic() + random.random() / rate
        while not self._ended.wait(max(due - time.monotonic(), 0)):
            due = max(due, time.monotonic() - 1 / rate) + 1 / rate
            try:
                act()
                outcome = "ok"
            except LookalikeError as error:
                outcome = str(error.reason)
            self.outcomes[kind, outcome] += 1

    def _search(self, min_coverage: float | None = None, **query: object) -> None:
        # An item may have been deleted.
        with suppress(NotFoundError):
            self._client.search(collection=COLLECTION, min_coverage=min_coverage, **query)  # type: ignore[arg-type]

    def _write_photos(self) -> None:
        items = [Item(item_id=f"photo-{number}", image=random.choice(self._photos)) for number in range(2)]
        bad = Item(item_id="photo-bad", image=_NOT_A_PHOTO)
        self._client.upsert([*items, bad], collection=COLLECTION)

    def _bulk(self, count: int) -> None:
        report = self._client.ingest(self._items(count), collection=COLLECTION, retry_seconds=TIMEOUT_SECONDS)
        for failure in report.failures[:1]:
            raise failure.error or LookalikeError("refused")

    def _items(self, count: int) -> list[Item]:
        return [self._item(number) for number in random.sample(range(_ITEMS), count)]

    def _item(self, number: int) -> Item:
        product = number // _LISTINGS
        return Item(
            item_id=f"item-{number}",
            product_id=f"product-{product}",
            category=_CATEGORIES[product % len(_CATEGORIES)],
            attributes={"colour": random.choice(("red", "blue"))},
            embedding=self._vector(product),
        )

    def _vector(self, product: int | None = None) -> NDArray[np.float32]:
        """Returns a vector close to those of a product."""
        product = random.randrange(_ITEMS // _LISTINGS) if product is None else product
        centre = np.random.default_rng(product).standard_normal(self._dimension)
        return (centre + 0.3 * np.random.default_rng().standard_normal(self._dimension)).astype(np.float32)


def _random_id() -> str:
    return f"item-{random.randrange(_ITEMS)}"

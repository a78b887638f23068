"""``helm test``: one collection through its life, by the gateway's public face.

Run as ``python search.py HOST:PORT [SECONDS]`` where the package and Pillow are installed, as in the
embedder's image; the seconds are how long embedder and hashers may take to be found.
"""

from __future__ import annotations

import io
import secrets
import sys
import time
from contextlib import suppress

from PIL import Image, ImageDraw

from lookalike.client import Client, Item
from lookalike.errors import LookalikeError, RetryableError

COLOURS = ("crimson", "seagreen", "royalblue", "gold")
READY_SECONDS = 150.0


def photo_of(number: int) -> bytes:
    """Returns a picture that is like no other: a shape in a colour."""
    picture = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(picture)
    box = (40, 40, 216, 216)
    draw.regular_polygon((128, 128, 100), n_sides=3 + 2 * number, fill=COLOURS[number], outline="black")
    draw.arc(box, 0, 90 * (number + 1), fill="black", width=8)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def create(client: Client, name: str, ready_seconds: float) -> None:
    """Creates the collection, as soon as embedder and hashers are there."""
    deadline = time.monotonic() + ready_seconds
    while True:
        try:
            client.create_collection(name)
            return
        except RetryableError as error:
            if time.monotonic() > deadline:
                raise
            print(f"not yet: {error}", flush=True)
            time.sleep(1)


def use(client: Client, name: str) -> None:
    """Loads, searches, deletes, and stops with what is not as it should be."""
    photos = {f"item-{number}": photo_of(number) for number in range(len(COLOURS))}
    written = client.upsert(
        [Item(item_id=item, product_id=f"product-{item}", image=photo) for item, photo in photos.items()],
        collection=name,
    )
    assert not written.failures, f"items were refused: {written.failures}"
    for item, photo in photos.items():
        found = client.search(image=photo, k=len(photos), collection=name, min_coverage=1.0)
        ids = [hit.item_id for hit in found.hits]
        assert len(ids) == len(photos), f"{len(photos)} items are stored and {ids} were found"
        assert ids[0] == item, f"the photo of {item} found {ids}"
    client.delete(["item-0"], collection=name)
    found = client.search(image=photos["item-0"], k=len(photos), collection=name)
    assert "item-0" not in [hit.item_id for hit in found.hits], "a deleted item was found"


def main(target: str, ready_seconds: float = READY_SECONDS) -> None:
    """Tests the gateway at an address."""
    name = f"helm-test-{secrets.token_hex(4)}"
    with Client(target, timeout_seconds=30) as client:
        try:
            create(client, name, ready_seconds)
            use(client, name)
        except BaseException:
            with suppress(LookalikeError):
                client.delete_collection(name)
            raise
        client.delete_collection(name)
    print("created, loaded, searched by photo, deleted: all as it should be")


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:3]))

"""``python -m tests.kube.fill TARGET COLLECTION``: writes the products that are searched for, if need be.

Fails where one of them does not find itself.
"""

from __future__ import annotations

import sys

from lookalike.client import Client, Item
from tests.kube.load import PRODUCTS, photo_of


def main() -> None:
    target, collection = sys.argv[1:]
    photos = {f"item-{number}": photo_of(number) for number in range(PRODUCTS)}
    with Client(target, timeout_seconds=30) as client:
        if collection not in [one.name for one in client.list_collections()]:
            client.create_collection(collection)
            items = [Item(item_id=name, product_id=name, image=photo) for name, photo in photos.items()]
            assert not client.upsert(items, collection=collection).failures
        assert client.count(collection=collection) == PRODUCTS
        for name, photo in photos.items():
            assert client.search(image=photo, k=1, collection=collection).hits[0].item_id == name


if __name__ == "__main__":
    main()

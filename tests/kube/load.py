"""``python -m tests.kube.load TARGET COLLECTION FILE``: searches by photo at a steady rate.

Each search is a line of the file. Half of them are made by the Python client, which tries again by itself;
the other half are sent once. All are content with what the shards that answer have.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import grpc
from PIL import Image, ImageDraw

from lookalike.client import AsyncClient, Search, SearchResult, calls, code_of
from lookalike.errors import LookalikeError
from lookalike.v1 import search_pb2_grpc
from lookalike.wire.channel import channel_options

PRODUCTS = 40
PER_SECOND = 4.0
TIMEOUT_SECONDS = 10.0


def photo_of(number: int) -> bytes:
    """A picture that is like no other: a polygon of some colour, size and turn."""
    picture = Image.new("RGB", (256, 256), "white")
    colour = (number * 67 % 256, number * 131 % 256, number * 29 % 256)
    ImageDraw.Draw(picture).regular_polygon(
        (128, 128, 50 + number % 5 * 15), 3 + number % 8, rotation=number * 17, fill=colour, outline="black"
    )
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def counted(lines: Iterable[str], how: str, since: float, until: float) -> Counter[str]:
    """How often each outcome came of searches sent like this and in this time."""
    found: Counter[str] = Counter()
    for record in map(json.loads, lines):
        if record["how"] == how and since <= record["sent"] < until:
            found.update(record["outcomes"])
    return found


def search_of(number: int, collection: str) -> calls.Call[SearchResult]:
    """A search that is content with what the shards that answer have."""
    return calls.search(Search(image=photo_of(number), k=5, collection=collection, min_coverage=0.0))


def outcome(result: SearchResult) -> str:
    """What a search brought that was answered."""
    return "complete" if result.coverage.complete else "partial"


async def once(stub: search_pb2_grpc.SearchServiceStub, call: calls.Call[SearchResult]) -> str:
    try:
        return outcome(call.read(await stub.Search(call.request, timeout=TIMEOUT_SECONDS)))
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)


async def by_client(client: AsyncClient, photo: bytes, collection: str) -> str:
    try:
        return outcome(await client.search(image=photo, k=5, collection=collection, min_coverage=0.0))
    except LookalikeError as error:
        return f"{code_of(error).name}"


async def run(target: str, collection: str, file: TextIO) -> None:
    """Sends searches when they are due, however long others take."""
    photos = [photo_of(number) for number in range(PRODUCTS)]
    searches = [search_of(number, collection) for number in range(PRODUCTS)]
    sending: set[asyncio.Task[None]] = set()

    async def send(number: int) -> None:
        sent, product = time.monotonic(), number % PRODUCTS
        if number % 2:
            how, came = "client", await by_client(client, photos[product], collection)
        else:
            how, came = "once", await once(stub, searches[product])
        print(json.dumps({"sent": sent, "how": how, "outcomes": {came: 1}}), file=file, flush=True)

    async with AsyncClient(target) as client, grpc.aio.insecure_channel(target, channel_options()) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        start = time.monotonic()
        for number in range(10**9):
            await asyncio.sleep(max(0.0, start + number / PER_SECOND - time.monotonic()))
            task = asyncio.create_task(send(number))
            sending.add(task)
            task.add_done_callback(sending.discard)


def main() -> None:
    target, collection, path = sys.argv[1:]
    with Path(path).open("a") as file:
        asyncio.run(run(target, collection, file))


if __name__ == "__main__":
    main()

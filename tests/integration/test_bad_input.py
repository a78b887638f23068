"""Bad input through the client and the command line: one clear error, and nothing is harmed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lookalike.client import Client, Item, code_of
from lookalike.errors import LookalikeError, Reason

if TYPE_CHECKING:
    from conftest import PhotoCase, Stack

Cli = Callable[..., subprocess.CompletedProcess[str]]
DIMENSION = 1280
HEADER = "item_id,product_id,image_path,title,meta,level2,leaf,split"


@pytest.fixture(scope="module")
def client(stack: Stack, items: list[Item]) -> Iterator[Client]:
    """A client of an installation that holds a few items in `shop`."""
    with stack.client() as connected:
        connected.create_collection("shop")
        connected.ingest(items[:20], collection="shop")
        yield connected


@pytest.fixture(autouse=True)
def harmless(client: Client) -> Iterator[None]:
    """After each test the collection is what it was, and searchable."""
    yield
    assert client.count(collection="shop") == 20
    assert client.search(embedding=np.ones(DIMENSION), k=3, collection="shop").coverage.complete


BAD_SEARCHES: dict[str, tuple[dict[str, Any], str, Reason]] = {
    "k of 0": ({"k": 0}, "INVALID_ARGUMENT", Reason.FIELD_OUT_OF_RANGE),
    "k of a million": ({"k": 10**6}, "INVALID_ARGUMENT", Reason.FIELD_OUT_OF_RANGE),
    "wrong dimension": ({"embedding": [1.0, 2.0]}, "INVALID_ARGUMENT", Reason.DIMENSION_MISMATCH),
    "NaN": ({"embedding": [float("nan")] * DIMENSION}, "INVALID_ARGUMENT", Reason.VECTOR_NOT_FINITE),
    "infinity": ({"embedding": [float("inf")] * DIMENSION}, "INVALID_ARGUMENT", Reason.VECTOR_NOT_FINITE),
    "all zeros": ({"embedding": [0.0] * DIMENSION}, "INVALID_ARGUMENT", Reason.VECTOR_ZERO),
    "unknown collection": ({"collection": "nowhere"}, "NOT_FOUND", Reason.COLLECTION_NOT_FOUND),
    "unknown item": ({"embedding": None, "item_id": "nobody"}, "NOT_FOUND", Reason.ITEM_NOT_FOUND),
    "score above 1": ({"min_score": 1.5}, "INVALID_ARGUMENT", Reason.FIELD_OUT_OF_RANGE),
}


@pytest.mark.parametrize("name", BAD_SEARCHES)
def test_bad_search_through_the_client(client: Client, name: str) -> None:
    options, code, reason = BAD_SEARCHES[name]
    with pytest.raises(LookalikeError) as caught:
        client.search(**{"embedding": np.ones(DIMENSION), "collection": "shop", **options})
    assert (code_of(caught.value).name, caught.value.reason) == (code, reason)


def test_bad_photos_through_the_client(client: Client, photo_cases: dict[str, PhotoCase]) -> None:
    for name, case in photo_cases.items():
        if case.refused is None:
            hits = client.search(image=case.content, k=3, collection="shop").hits
            assert len(hits) == 3, name
        else:
            with pytest.raises(LookalikeError) as caught:
                client.search(image=case.content, k=3, collection="shop")
            assert code_of(caught.value).name == "INVALID_ARGUMENT", name
            assert caught.value.reason == case.refused, name


def test_one_bad_item_fails_alone(client: Client, photo_cases: dict[str, PhotoCase]) -> None:
    client.create_collection("mixed")
    outcome = client.upsert(
        [
            Item(item_id="good", image=photo_cases["jpeg"].content),
            Item(item_id="bad", image=photo_cases["text"].content),
            Item(item_id="nan", embedding=[float("nan")] * DIMENSION),
        ],
        collection="mixed",
    )
    assert [result.error is None for result in outcome.results] == [True, False, False]
    assert client.count(collection="mixed") == 1
    client.delete_collection("mixed")


def test_bad_categories_and_twins_are_refused_whole(client: Client) -> None:
    vector = np.ones(DIMENSION)
    for bad in (
        [Item(item_id="a", embedding=vector, category=("Kitchen", "", "Mugs"))],
        [
            Item(item_id="a", embedding=vector, product_id="p"),
            Item(item_id="a", embedding=vector, product_id="q"),
        ],
        [Item(item_id="", embedding=vector)],
        [Item(item_id="x" * 129, embedding=vector)],
    ):
        with pytest.raises(LookalikeError) as caught:
            client.upsert(bad, collection="shop")
        assert code_of(caught.value).name == "INVALID_ARGUMENT"


def _one_clear_line(outcome: subprocess.CompletedProcess[str], *words: str) -> None:
    assert outcome.returncode != 0, outcome.stdout
    lines = outcome.stderr.strip().splitlines()
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("error:")
    for word in words:
        assert word.lower() in lines[0].lower(), lines[0]


@pytest.mark.usefixtures("client")
def test_bad_searches_through_the_command_line(
    stack: Stack, run_cli: Cli, photo_cases: dict[str, PhotoCase], tmp_path: Path
) -> None:
    def search(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return run_cli("search", "--gateway", stack.gateway.target, "--collection", "shop", *arguments)

    files = {}
    for name in ("jpeg", "empty", "text", "truncated jpeg", "png bomb", "heic", "avif"):
        files[name] = tmp_path / f"{name.replace(' ', '-')}.jpg"
        files[name].write_bytes(photo_cases[name].content)
    np.save(tmp_path / "short.npy", np.ones(7, np.float32))
    np.save(tmp_path / "nan.npy", np.full(DIMENSION, np.nan, np.float32))
    assert search("--image", files["jpeg"]).returncode == 0
    _one_clear_line(search("--image", files["empty"]), "empty")
    _one_clear_line(search("--image", files["text"]), "JPEG")
    _one_clear_line(search("--image", files["truncated jpeg"]), "damaged")
    _one_clear_line(search("--image", files["png bomb"]), "pixels")
    _one_clear_line(search("--image", files["heic"]), "HEIC")
    _one_clear_line(search("--image", files["avif"]), "AVIF")
    _one_clear_line(search("--image", tmp_path / "absent.jpg"), "absent.jpg")
    _one_clear_line(search("--image", files["jpeg"], "-k", "0"), "k", "1000")
    _one_clear_line(search("--image", files["jpeg"], "-k", "1000000"), "k", "1000")
    _one_clear_line(search("--embedding", tmp_path / "short.npy"), "7", "1280")
    _one_clear_line(search("--embedding", tmp_path / "nan.npy"), "NaN")
    _one_clear_line(search("--image", files["jpeg"], "--collection", "nowhere"), "nowhere")


BAD_CATALOGUES = {
    "a missing column": ("item_id,product_id,title\na,p,t\n", "image_path"),
    "a missing photo": (f"{HEADER}\na,p,absent.jpg,t,Kitchen,Drinkware,Mugs,index\n", "absent.jpg"),
    "an empty level above a filled one": (f"{HEADER}\na,p,ok.jpg,t,Kitchen,,Mugs,index\n", "level2"),
    "one item with two products": (
        f"{HEADER}\na,p,ok.jpg,t,Kitchen,Drinkware,Mugs,index\na,q,ok.jpg,t,Kitchen,Drinkware,Mugs,index\n",
        "product",
    ),
}


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("name", BAD_CATALOGUES)
def test_bad_catalogue_is_refused_before_anything_is_sent(
    stack: Stack, run_cli: Cli, photo_cases: dict[str, PhotoCase], tmp_path: Path, name: str
) -> None:
    text, word = BAD_CATALOGUES[name]
    (tmp_path / "ok.jpg").write_bytes(photo_cases["jpeg"].content)
    (tmp_path / "catalog.csv").write_text(text)
    target = ("--gateway", stack.gateway.target, "--collection", "shop")
    _one_clear_line(run_cli("index", "--catalog", tmp_path / "catalog.csv", *target), word)
    _one_clear_line(run_cli("evaluate", "--catalog", tmp_path / "catalog.csv", *target), word)
    _one_clear_line(run_cli("train", "--catalog", tmp_path / "catalog.csv", "--out", tmp_path / "b"), word)


def test_missing_catalogue_and_unreachable_gateway(run_cli: Cli, tmp_path: Path) -> None:
    _one_clear_line(run_cli("index", "--catalog", tmp_path / "absent.csv"), "absent.csv")
    _one_clear_line(run_cli("collection", "list", "--gateway", "127.0.0.1:1"), "127.0.0.1:1")

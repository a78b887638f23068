"""Match probabilities from training to a served search, recalibrated, through restarts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedder.bundle import load_bundle
from lookalike.catalogue.catalog import Catalog
from lookalike.client import Client, Item, SearchResult
from lookalike.matching import MatchCalibration

if TYPE_CHECKING:
    import subprocess

    from conftest import Stack

KNOWN_SECONDS = 60.0
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def bundle(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is trained on the catalogue."""
    from embedder.training.config import TrainConfig
    from embedder.training.train import train

    def ignore(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """No one looks."""

    folder = tmp_path_factory.mktemp("trained")
    config = TrainConfig(epochs=2, augmented_copies=0, embedding_dim=64, cache_folder=folder / "cache")
    return train(catalog, folder / "bundle", config, ignore).bundle.path


@pytest.fixture(scope="module")
def calibration(bundle: Path) -> MatchCalibration:
    found = load_bundle(bundle).match_calibration
    assert found is not None
    return found


@pytest.fixture(scope="module")
def client(stack: Stack, items: list[Item]) -> Iterator[Client]:
    with stack.client() as connected:
        connected.create_collection("shop")
        assert connected.ingest(items, collection="shop").acknowledged_count == len(items)
        yield connected


def probabilities(result: SearchResult) -> list[float]:
    found = [hit.match_probability for hit in result.hits if hit.match_probability is not None]
    assert len(found) == len(result.hits) > 0
    return found


def test_every_search_says_how_likely_its_hits_are_right(
    client: Client, items: list[Item], calibration: MatchCalibration
) -> None:
    item = items[0]
    stored = client.get([item.item_id], collection="shop", include_embeddings=True).items[0]
    results = [
        client.search(image=item.image, k=10, collection="shop"),
        client.search(embedding=stored.embedding, k=10, collection="shop"),
        client.search(item_id=item.item_id, k=10, collection="shop"),
    ]
    for result in results:
        found = probabilities(result)
        assert found == sorted(found, reverse=True)
        assert sum(found) <= 1 + 1e-5
        assert result.match_calibration_version == calibration.version
    assert results[0].hits[0].product_id == item.product_id
    single = client.search(embedding=stored.embedding, k=1, collection="shop")
    assert probabilities(single)[0] == pytest.approx(probabilities(results[1])[0], abs=1e-3)
    assert client.server_info().match_calibration_version == calibration.version
    assert client.get_collection("shop").match_calibration_in_use == calibration
    assert client.get_collection("shop").match_calibration is None


def test_nothing_is_found_where_nothing_is_likely(client: Client, items: list[Item]) -> None:
    result = client.search(image=items[0].image, collection="shop", min_match_probability=1.0)
    assert result.hits == ()
    assert result.coverage.complete


def test_they_outlast_the_embedder(stack: Stack, client: Client, items: list[Item]) -> None:
    stack.embedder.stop()
    try:
        probabilities(client.search(item_id=items[0].item_id, collection="shop"))
    finally:
        stack.embedder.start()
        stack.wait_until_ready()


def test_a_collection_is_recalibrated_by_one_command_and_keeps_it(
    stack: Stack,
    client: Client,
    items: list[Item],
    calibration: MatchCalibration,
    tmp_path: Path,
    run_cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    pairs = tmp_path / "pairs.csv"
    rows = [f"{item.item_id},{item.product_id}" for item in items]
    pairs.write_text("\n".join(["item_id,product_id", *rows]) + "\n")
    options = ("--collection", "shop", "--gateway", stack.gateway.target)
    done = run_cli("calibrate", "--pairs", pairs, "--json", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["queries"] == len(items)
    assert report["before"]["queries"] == report["after"]["queries"] == 2 * len(items)
    version = report["calibration"]["version"]
    assert version != calibration.version
    assert client.search(item_id=items[0].item_id, collection="shop").match_calibration_version == version

    stack.gateway.stop()
    stack.gateway.start()
    stack.wait_until_ready()
    assert until_calibrated(client, items[0]).match_calibration_version == version
    assert run_cli("calibrate", "--reset", *options).returncode == 0
    assert until_calibrated(client, items[0]).match_calibration_version == calibration.version


def until_calibrated(client: Client, item: Item) -> SearchResult:
    """The first answer with probabilities; a gateway that has just started asks for its model's first."""
    deadline = time.monotonic() + KNOWN_SECONDS
    while True:
        result = client.search(item_id=item.item_id, collection="shop")
        if result.match_calibration_version:
            return result
        assert time.monotonic() < deadline
        time.sleep(0.1)

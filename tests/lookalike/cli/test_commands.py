"""What commands ask of a gateway, and print."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.catalogue.catalog import CatalogItem, write_catalog
from lookalike.filters import Equals, Filter, In, InCategory, Range
from lookalike.wire.filters import filter_of
from tests.lookalike.cli.conftest import Cli


def test_a_command_pays_for_no_package_that_it_does_not_use() -> None:
    heavy = "{'grpc', 'google.protobuf', 'numpy', 'torch', 'pydantic'}"
    code = f"import sys, lookalike.cli.app; print(sorted({heavy} & set(sys.modules)))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"


@pytest.fixture
def catalog(tmp_path: Path, photo: Path) -> Path:
    rows = [
        CatalogItem(f"i{number}", f"p{number // 2}", photo, f"Lamp {number}", splits=frozenset({"index"}))
        for number in range(12)
    ]
    rows.append(CatalogItem("q", "p0", photo, splits=frozenset({"query"})))
    path = tmp_path / "catalog.csv"
    write_catalog(path, rows)
    return path


def test_search_prints_a_table(cli: Cli, photo: Path) -> None:
    outcome = cli("search", "--image", photo)
    assert outcome.code == 0
    for text in ("0.5000", "p1", "Red lamp", "Home / Lamps"):
        assert text in outcome.out
    assert "predicted meta: Home (75%)" in outcome.err
    assert "10 of 40 codes scanned, 1 of 2 shards answered" in outcome.err


def test_search_prints_json(cli: Cli, photo: Path, store: Any) -> None:
    outcome = cli("search", "--image", photo, "-k", 1, "--exact", "--items", "--json")
    assert outcome.code == 0
    answer = json.loads(outcome.out)
    (hit,) = answer["hits"]
    assert (hit["product_id"], hit["score"], hit["category"]) == ("p1", 0.5, ["Home", "Lamps"])
    assert answer["coverage"]["codes_total"] == 40
    (request,) = store.requests
    assert request.exact
    assert not request.group_by_product


def test_search_takes_filters(cli: Cli, photo: Path, store: Any) -> None:
    tests = ("brand=Acme", "size=M", "size=L", "price>=10", "price<=20.5", "note=a=b")
    options = [option for test in tests for option in ("--where", test)]
    outcome = cli("search", "--image", photo, *options, "--in-category", "Home > Lamps", "--effort", 0.25)
    assert outcome.code == 0
    (request,) = store.requests
    expected = Filter(
        all=(
            Range("price", min=10),
            Range("price", max=20.5),
            Equals("brand", "Acme"),
            In("size", ("M", "L")),
            Equals("note", "a=b"),
        ),
        any=(InCategory(("Home", "Lamps")),),
    )
    assert filter_of(request.filter, "filter") == expected
    assert request.effort == 0.25


def test_search_takes_a_gate(cli: Cli, photo: Path, store: Any) -> None:
    options = ("--category-vote", "--category-gate", "leaf", "--gate-mode", "narrow", "--gate-mass", 0.9)
    outcome = cli("search", "--image", photo, *options)
    assert outcome.code == 0
    assert "looked by category: Home" in outcome.err
    (request,) = store.requests
    assert (request.category_vote, request.category_gate, request.category_gate_mode) == (True, 3, 2)
    assert request.category_gate_mass == pytest.approx(0.9)
    assert cli("search", "--image", photo, "--category-gate", "meta").code == 0
    assert (store.requests[-1].category_gate, store.requests[-1].category_gate_mode) == (1, 1)
    for alone in (("--gate-mode", "narrow"), ("--gate-mass", 0.5)):
        assert cli("search", "--image", photo, *alone).code == 2


@pytest.mark.parametrize("form", ["npy", "json"])
def test_search_by_a_vector_file(cli: Cli, store: Any, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"vector.{form}"
    if form == "npy":
        np.save(file, np.array([1, 2], dtype=np.float32))
    else:
        file.write_text("[1, 2]")
    assert (cli("search", "--embedding", file)).code == 0
    assert list(store.requests[0].query.embedding.values) == [1, 2]


def test_index_loads_a_catalogue_and_creates_the_collection(cli: Cli, store: Any, catalog: Path) -> None:
    outcome = cli("index", "--catalog", catalog, "--collection", "lamps", "--json")
    assert outcome.code == 0
    answer = json.loads(outcome.out)
    assert (answer["indexed"], answer["failed"], answer["item_count"]) == (12, [], 12)
    assert "lamps" in store.collections
    assert store.items["i3"].item.product_id == "p1"
    assert store.items["i3"].item.image_uri == "photo.jpg"
    again = cli("index", "--catalog", catalog, "--collection", "lamps")
    assert again.code == 0
    assert "lamps now has 12" in again.err


def test_index_lists_bad_photos_and_fails(cli: Cli, catalog: Path, photo: Path) -> None:
    torn = catalog.parent / "torn.jpg"
    torn.write_bytes(b"bad")
    text = catalog.read_text().replace("i5,p2,photo.jpg", "i5,p2,torn.jpg")
    catalog.write_text(text)
    outcome = cli("index", "--catalog", catalog)
    assert outcome.code == 1
    assert "failed: i5: the photo is damaged (IMAGE_DAMAGED)" in outcome.err
    assert "Indexed 11 items" in outcome.err


def test_search_takes_min_coverage(cli: Cli, store: Any) -> None:
    assert cli("search", "--item-id", "a", "--min-coverage", 0.5).code == 0
    assert cli("search", "--item-id", "a").code == 0
    given, left_out = store.requests
    assert given.min_coverage == 0.5
    assert not left_out.HasField("min_coverage")


def test_one_is_not_many(cli: Cli, catalog: Path, photo: Path) -> None:
    assert cli("search", "--item-id", "a", "-k", 1).err.startswith("predicted")
    assert "\n1 hit in" in cli("search", "--item-id", "a", "-k", 1).err
    write_catalog(catalog, [CatalogItem("i", "p", photo, splits=frozenset({"index"}))])
    assert "Indexed 1 item in" in cli("index", "--catalog", catalog).err


def test_every_command_has_help(cli: Cli) -> None:
    commands = [
        "",
        "demo",
        "synth",
        "train",
        "index",
        "search",
        "evaluate",
        "collection",
        "serve",
        "serve all",
    ]
    for command in commands:
        outcome = cli(*command.split(), "--help")
        assert outcome.code == 0, command
        assert "Usage: lookalike" in outcome.out


@pytest.mark.parametrize("group", ["", "serve", "collection", "collection alias"])
def test_a_group_without_a_command_shows_its_help(cli: Cli, group: str) -> None:
    outcome = cli(*group.split())
    assert outcome.code == 2
    assert "Commands:" in outcome.out
    assert outcome.err == ""


def test_version(cli: Cli) -> None:
    assert cli("--version").out.startswith("lookalike ")

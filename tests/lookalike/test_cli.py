"""The commands that talk to a gateway, against one with canned answers."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike.catalogue.catalog import CatalogItem, write_catalog
from lookalike.cli.app import run
from lookalike.filters import Equals, Filter, In, InCategory, Range
from lookalike.wire.filters import filter_of


def test_a_command_pays_for_no_package_that_it_does_not_use() -> None:
    heavy = "{'grpc', 'google.protobuf', 'numpy', 'torch', 'pydantic'}"
    code = f"import sys, lookalike.cli.app; print(sorted({heavy} & set(sys.modules)))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], threaded_target: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs one command line."""
    monkeypatch.setenv("LOOKALIKE_GATEWAY", threaded_target)

    def call(*arguments: object) -> Outcome:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (8, 8), "red").save(path)
    return path


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


@pytest.mark.parametrize("form", ["npy", "json"])
def test_search_by_a_vector_file(cli: Cli, store: Any, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"vector.{form}"
    if form == "npy":
        np.save(file, np.array([1, 2], dtype=np.float32))
    else:
        file.write_text("[1, 2]")
    assert (cli("search", "--embedding", file)).code == 0
    assert list(store.requests[0].query.embedding.values) == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["search"], "exactly one of image, images, embedding and item_id (FIELD_MISSING)"),
        (
            ["search", "--image", "a.jpg", "--item-id", "a"],
            "exactly one of image, images, embedding and item_id (FIELD_INVALID)",
        ),
        (["search", "--image", "missing.jpg"], "'missing.jpg': No such file or directory"),
        (["search", "--item-id", "a", "-k", "0"], "k must be 1..1000, got 0 (FIELD_OUT_OF_RANGE)"),
        (["search", "--item-id", "a", "-k", "1000000"], "k must be 1..1000, got 1000000"),
        (["search", "--item-id", "a", "-k", "-1"], "k must not be negative"),
        (["search", "--item-id", "a", "-k", "ten"], "valid integer"),
        (["search", "--item-id", "a", "--collection", "ghost"], "'ghost' (COLLECTION_NOT_FOUND)"),
        (["search", "--embedding", "missing.npy"], "cannot read missing.npy"),
        (["search", "--item-id", "a", "--where", "brand"], "'brand' must be NAME=VALUE"),
        (
            ["search", "--item-id", "a", "--where", "price>=cheap"],
            "'price>=cheap' must compare with",
        ),
        (["search", "--item-id", "a", "--where", "price<=nan"], "'price<=nan' must compare with a number"),
        (["search", "--item-id", "a", "--in-category", "a > > b"], "'a > > b' has an empty name"),
        (["search", "--item-id", "a", "--effort", "0.5", "--probes", "3"], "probes or effort, not both"),
        (["search", "--item-id", "a", "--timeout", "inf"], "--timeout"),
        (["search", "--item-id", "a", "--timeout", "nan"], "--timeout"),
        (["search", "--item-id", "a", "--timeout", "-1"], "--timeout"),
        (
            ["model", "switch", "--to", "a", "--served", "b", "--embedder", "a:1", "--timeout", "inf"],
            "--timeout",
        ),
        (["search", "--nonsense"], "nonsense"),
        (["nonsense"], "nonsense"),
        (["collection", "get", "ghost"], "ghost"),
        (["collection", "repair", "ghost"], "no collection 'ghost' (COLLECTION_NOT_FOUND)"),
        (["collection", "create", "a", "--rerank", "int4"], "must be one of int8, f16, f32, not 'int4'"),
        (["collection", "alias", "delete", "ghost"], "ghost"),
        (["index", "--catalog", "missing.csv"], "missing.csv"),
        (["evaluate", "--catalog", "missing.csv"], "missing.csv"),
        (["train", "--catalog", "missing.csv", "--out", "bundle"], "missing.csv"),
        (["serve", "all", "--bundle", "missing"], "no model bundle missing"),
        (["serve", "hasher", "--shard", "many"], "shard"),
        (["serve", "gateway", "--prot", "1"], "there is no setting '--prot'"),
        (["synth", "--out", "x", "--products", "0"], "products"),
        (["demo", "--catalog", "missing.csv"], "missing.csv"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli(*arguments)
    assert outcome.code == 2
    *before, line = outcome.err.splitlines()
    assert problem in line
    assert re.search(r"[^.] \([A-Z_]+\)$", line)
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    assert not before or arguments[0] == "demo"


NOT_UNICODE = "caf\udce9"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["search", "--item-id", NOT_UNICODE], r"query.item_id must be Unicode text, not 'caf\udce9'"),
        (["search", "--item-id", "a", "--collection", NOT_UNICODE], "collection must be Unicode text"),
        (
            ["search", "--item-id", "a", "--where", f"a={NOT_UNICODE}"],
            r"--where 'a=caf\udce9' is not Unicode",
        ),
        (["search", "--item-id", "a", "--where", f"{NOT_UNICODE}>=1"], r"--where 'caf\udce9>=1' is not Uni"),
        (["search", "--item-id", "a", "--in-category", NOT_UNICODE], r"--in-category 'caf\udce9' is not"),
        (["search", "--item-id", "a", "--gateway", NOT_UNICODE], r"'caf\udce9' must be host:port"),
        (["search", "--item-id", "a", "--timeout", NOT_UNICODE], "--timeout"),
        (["search", "--image", NOT_UNICODE], r"cannot read the photo 'caf\udce9': No such file"),
        (["search", "--embedding", f"{NOT_UNICODE}.npy"], r"cannot read caf\udce9.npy"),
        ([NOT_UNICODE], "No such command"),
        (["collection", "create", NOT_UNICODE], "name must be Unicode text"),
        (["collection", "create", "a", "--rerank", NOT_UNICODE], "spec.rerank must be Unicode text"),
        (["collection", "get", NOT_UNICODE], "name must be Unicode text"),
        (["collection", "delete", "--yes", NOT_UNICODE], "name must be Unicode text"),
        (["collection", "repair", NOT_UNICODE], r"no collection 'caf\udce9'"),
        (["collection", "alias", "set", NOT_UNICODE, "a"], "name must be Unicode text"),
        (["collection", "alias", "set", "a", NOT_UNICODE], "collection must be Unicode text"),
        (["collection", "alias", "delete", NOT_UNICODE], "name must be Unicode text"),
        (["index", "--catalog", NOT_UNICODE], r"cannot read the catalogue caf\udce9: No such file"),
        (["export", "--bundle", "x", "--model", NOT_UNICODE], r"'caf\udce9' cannot be a model's name"),
        (["model", "list", "--triton-url", NOT_UNICODE], r"'caf\udce9' must be host:port"),
        (["serve", "gateway", "--data-folder", "x", "--embedder", NOT_UNICODE], "must be host:port"),
    ],
)
def test_text_that_is_not_unicode_is_one_line(cli: Cli, arguments: list[str], problem: str) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert problem in line
    assert "unexpected" not in line


def test_a_photo_may_have_a_name_that_is_not_unicode(cli: Cli, photo: Path, store: Any) -> None:
    assert cli("search", "--image", photo.rename(photo.with_name(f"{NOT_UNICODE}.jpg"))).code == 0
    assert store.requests[0].query.image.content


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_every_text_can_be_printed(encoding: str) -> None:
    code = (
        "from lookalike.cli import console; console.escape_what_cannot_be_printed();"
        r"console.print_json({'a': 'é😀\udce9'}); console.note('é😀\udce9')"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert json.loads(outcome.stdout.decode(encoding)) == {"a": "é😀\udce9"}
    assert rb"\udce9" in outcome.stderr


def test_bad_files_are_refused_before_anything_is_sent(cli: Cli, tmp_path: Path, store: Any) -> None:
    for name, content in {"a.npy": b"text", "a.json": b"{", "a.txt": b"1"}.items():
        (tmp_path / name).write_bytes(content)
        outcome = cli("search", "--embedding", tmp_path / name)
        assert outcome.code == 2
        assert len(outcome.err.splitlines()) == 1
    assert store.requests == []


def test_a_folder_that_cannot_be_made_is_one_line(cli: Cli, photo: Path) -> None:
    for arguments in (
        ["synth", "--out", photo],
        ["serve", "all", "--bundle", photo.parent, "--data", photo, "--port", 0],
    ):
        outcome = cli(*arguments)
        assert outcome.code == 2
        (line,) = outcome.err.splitlines()
        assert line.startswith(f"error: cannot use {photo}")


def test_an_unreachable_gateway_is_exit_code_1(cli: Cli) -> None:
    outcome = cli("search", "--item-id", "a", "--gateway", "127.0.0.1:1", "--timeout", 5)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1


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


def test_collections(cli: Cli, store: Any) -> None:
    assert (cli("collection", "create", "shoes", "--bits", 512, "--rerank", "int8")).code == 0
    assert "int8" in (cli("collection", "list")).out
    assert json.loads((cli("collection", "repair", "shoes", "--json")).out)["rerank"] == "int8"
    first, again = store.requests
    assert (first.repair, again.repair, again.spec.bits) == (False, True, 256)
    listed = json.loads((cli("collection", "list", "--json")).out)
    assert [entry["name"] for entry in listed] == ["default", "shoes"]
    assert "shoes" in (cli("collection", "list")).out
    assert json.loads((cli("collection", "get", "shoes", "--json")).out)["item_count"] == 0
    assert (cli("collection", "alias", "set", "live", "shoes")).err == "live -> shoes\n"
    assert (cli("collection", "alias", "list")).out == "live -> shoes\n"
    assert (cli("collection", "alias", "delete", "live")).code == 0
    assert (cli("collection", "delete", "shoes", "--yes")).code == 0
    assert "shoes" not in store.collections


def test_repair_says_what_it_did(cli: Cli, store: Any) -> None:
    unchanged = cli("collection", "repair", "default")
    assert unchanged.err == "Every shard has default: nothing was changed.\n"
    store.lost_shards = [1, 3]
    repaired = cli("collection", "repair", "default")
    assert repaired.err == "Created default again, empty, on shard 1, 3: load the catalogue again.\n"
    assert json.loads(cli("collection", "repair", "default", "--json").out)["repaired_shards"] == [1, 3]


def test_repair_of_an_alias_names_the_collection(cli: Cli, store: Any) -> None:
    store.aliases["shop"] = "default"
    outcome = cli("collection", "repair", "shop")
    assert outcome.code == 2
    assert "'shop' is an alias; to repair its collection, name that: 'default'" in outcome.err
    assert store.requests == []


@pytest.mark.parametrize("answer", ["n\n", "", None])
def test_a_collection_is_not_deleted_without_a_yes(
    cli: Cli, store: Any, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    monkeypatch.setattr("sys.stdin", None if answer is None else io.StringIO(answer))
    outcome = cli("collection", "delete", "default")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == "not deleted; --yes deletes without asking"
    assert "default" in store.collections


def test_a_collection_is_deleted_after_a_yes(cli: Cli, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    outcome = cli("collection", "delete", "default")
    assert outcome.code == 0
    assert "Deleted the collection default with 0 items." in outcome.err
    assert store.collections == {}


def test_a_collection_that_has_lost_data_can_be_deleted(cli: Cli, store: Any) -> None:
    store.lost_shards = [1]
    outcome = cli("collection", "delete", "default", "--yes")
    assert outcome.err == "Deleted the collection default with what is left of its items.\n"
    assert store.collections == {}


def test_ctrl_c_at_the_question(cli: Cli, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(io.StringIO):
        def readline(self, *arguments: Any) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Interrupted())
    assert cli("collection", "delete", "default").code == 130
    assert "default" in store.collections


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

"""`lookalike collection`: what it asks of a gateway, asks its caller, and prints."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.lookalike.cli.conftest import Cli


def test_collections(cli: Cli, store: Any) -> None:
    created = cli("collection", "create", "shoes", "--bits", 512, "--rerank", "int8")
    assert created.code == 0
    assert "shoes" in created.out
    assert "repaired_shards" not in created.out
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

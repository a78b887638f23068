"""Bad input is one line on standard error, and exit code 2."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lookalike.cli.conftest import Cli


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

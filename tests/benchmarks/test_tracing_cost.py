"""The benchmark of tracing: what it compares, not what that costs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.tracing_cost import OFF, REMOVED, SERVICES, Options, run
from benchmarks.without_tracing import TRACING, LeftOverError, without_tracing
from deploy.local.process import ROOT


def test_tracing_is_compared_with_code_that_has_none(tiny_bundle: Path, tmp_path: Path) -> None:
    options = Options(
        tiny_bundle, items=50, searches=4, rounds=1, starts=2, variants=(OFF, REMOVED, "ratio 1")
    )
    figures, received_bytes = run(options, tmp_path)
    rows = {(row["search"], row["service"], row["tracing"]): row for row in figures.summary()}
    assert len(rows) == 3 * (len(SERVICES) + len(SERVICES) - 1)
    assert all(row["cpu_us"] > 0 for row in rows.values())
    assert rows["photo", "gateway", OFF]["ratio"] == 1
    assert received_bytes > 0


def test_nothing_of_tracing_is_left() -> None:
    users = 0
    for package in ("lookalike", "gateway", "hasher", "embedder"):
        for file in (ROOT / package).rglob("*.py"):
            source = file.read_text()
            tree = ast.parse(source)
            names = {
                alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.module == TRACING
                for alias in node.names
                if alias.name.islower()
            }
            if not names:
                continue
            users += 1
            left = ast.walk(without_tracing(source, str(file)))
            used = {node.id for node in left if isinstance(node, ast.Name)} & names
            assert used <= {"open_tracing"}, file
    assert users >= 6


def test_a_call_that_cannot_be_removed_is_an_error() -> None:
    with pytest.raises(LeftOverError, match="still calls outgoing"):
        without_tracing("context = outgoing('x')", "m.py")

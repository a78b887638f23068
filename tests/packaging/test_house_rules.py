"""Sizes that keep the code readable: modules of at most 400 lines, functions of at most 60."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lookalike", "embedder", "hasher", "gateway")
OTHERS = ("benchmarks", "deploy", "scripts", "tests")
GENERATED = ROOT / "lookalike" / "v1"
MODULES = sorted(
    path
    for folder in (*PACKAGES, *OTHERS)
    for path in (ROOT / folder).rglob("*.py")
    if GENERATED not in path.parents and "node_modules" not in path.parts
)
RUST = sorted(path for path in (ROOT / "native").rglob("*.rs") if "target" not in path.parts)


@pytest.mark.parametrize("path", [*MODULES, *RUST], ids=lambda path: str(path.relative_to(ROOT)))
def test_module_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_have_at_most_60_lines(path: Path) -> None:
    long = [
        f"{node.name} has {length} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > 60
    ]
    assert not long


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()

"""One voice: docstrings that describe, and error messages that fit into a sentence of the caller's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lookalike", "embedder", "hasher", "gateway")
GENERATED = ROOT / "lookalike" / "v1"
COMMANDS = ROOT / "lookalike" / "cli"
"""Their docstrings are the help texts of commands, which are imperative everywhere."""
MODULES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if GENERATED not in path.parents
)
MAKERS = ("problem", "damaged", "_damaged", "_failed", "_invalid")
"""Functions that make errors."""
NAMES = ("Triton", "SQLite", "True")
"""Words that have a capital wherever they stand."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def docstrings(path: Path) -> Iterator[str]:
    """Those of functions and methods."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
            yield text


def bare(verb: str) -> set[str]:
    """What a verb in the third person may be in the imperative."""
    forms = {verb.removesuffix("s"), verb.removesuffix("es")}
    return forms | {verb.removesuffix("ies") + "y"} if verb.endswith("ies") else forms


@pytest.fixture(scope="module")
def imperatives() -> set[str]:
    """The imperatives of all verbs that docstrings begin with in the third person."""
    first = {text.split()[0] for path in MODULES for text in docstrings(path)}
    verbs = {word for word in first if re.fullmatch("[A-Z][a-z-]*s", word)}
    return set.union(*map(bare, verbs)) - verbs - {"A", "Thi"}


@pytest.mark.parametrize("path", [path for path in MODULES if COMMANDS not in path.parents], ids=name_of)
def test_docstrings_say_what_is_done_and_not_what_to_do(path: Path, imperatives: set[str]) -> None:
    wrong = []
    for text in docstrings(path):
        first, second = [*text.split(), ""][:2]
        if first.strip(",") in imperatives and second not in ("of", "in"):  # those are nouns
            wrong.append(text.splitlines()[0])
    assert not wrong


def text_of(node: ast.expr) -> str:
    """A message as far as it is written down."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(value) if isinstance(value, ast.Constant) else "{}" for value in values)
        case ast.BinOp(left=left, right=right):
            return text_of(left) + text_of(right)
    return "{}"


def messages(path: Path) -> Iterator[str]:
    """What errors are made with, here or by a function that makes them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args:
            function = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if function.endswith("Error") or function in (
                "problem",
                "damaged",
                "_damaged",
                "_failed",
                "_invalid",
            ):
                yield text_of(node.args[0])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_messages_begin_small_and_end_without_a_full_stop(path: Path) -> None:
    for message in messages(path):
        assert not re.match("[A-Z][a-z]", message) or message.startswith(NAMES), message
        assert not re.search(r"[^.]\.$", message), message

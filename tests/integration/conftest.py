"""Real processes on free ports: an embedder, two hasher shards and a gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deploy.local.process import ROOT
from deploy.local.stack import Server, Stack
from lookalike import synth
from lookalike.catalogue.catalog import Catalog, read_catalog
from lookalike.client import Item

__all__ = ["Server", "Stack"]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model: the one that `make setup` exported, or one exported now."""
    built = ROOT / "build" / "bundles" / "efficientnet-lite0"
    if not (built / "bundle.json").exists():
        built = tmp_path_factory.mktemp("bundle") / "efficientnet-lite0"
        subprocess.run(
            [sys.executable, "-m", "embedder.export", "default", "--out", str(built)], cwd=ROOT, check=True
        )
    return built


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A few hundred simulated photos."""
    out = tmp_path_factory.mktemp("catalog")
    return read_catalog(synth.generate(out, products=80, views=4, seed=11))


@pytest.fixture(scope="session")
def items(catalog: Catalog) -> list[Item]:
    """The index rows of the catalogue, ready to be written."""
    return [
        Item(
            item_id=row.item_id,
            product_id=row.product_id,
            title=row.title,
            category=row.categories,
            attributes=row.attributes,
            image=row.image_path,
        )
        for row in catalog.index_items()
    ]


@pytest.fixture(scope="module")
def stack(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running installation, empty, shared by the tests of one module."""
    running = Stack(tmp_path_factory.mktemp("stack"), bundle)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def make_stack(bundle: Path, tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Starts an installation of the test's own, with the default model unless another one is given."""
    stacks: list[Stack] = []

    def make(model: Path = bundle, **flags: Sequence[str]) -> Stack:
        stacks.append(Stack(tmp_path, model, flags=flags))
        return stacks[-1].start()

    yield make
    for made in stacks:
        made.stop()


@pytest.fixture
def run_cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `lookalike` as a user would, in a process of its own."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lookalike.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
            timeout=120,
        )

    return run

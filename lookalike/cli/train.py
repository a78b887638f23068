"""``lookalike train``: a model bundle from a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.catalog import read_catalog
from lookalike.cli.options import AsJson, CatalogFile


def train(
    catalog: CatalogFile,
    out: Annotated[Path, typer.Option(help="Folder to write the model bundle to.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model on a catalogue: its train rows, else those to be indexed."""
    rows = read_catalog(catalog)
    raise NotImplementedError

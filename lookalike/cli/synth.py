"""``lookalike synth``: photos of made-up products."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.console import note, print_json, progress
from lookalike.cli.options import AsJson


def synth(
    out: Annotated[Path, typer.Option(help="Folder to write catalog.csv and the photos to.")],
    products: Annotated[int, typer.Option(min=1, help="How many products.")] = 1000,
    views: Annotated[int, typer.Option(min=2, help="Photos of each product.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same photos.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Simulate a catalogue: photos of made-up products in three levels of categories."""
    from lookalike.synth import generate

    start = time.monotonic()
    with progress("Simulating photos") as update:
        catalog = generate(out, products=products, views=views, seed=seed, workers=workers, progress=update)
    seconds = time.monotonic() - start
    if as_json:
        print_json({"catalog": str(catalog), "photos": products * views, "seconds": round(seconds, 2)})
    else:
        note(f"Wrote {products * views:,} photos of {products:,} products to {catalog} in {seconds:.1f} s.")

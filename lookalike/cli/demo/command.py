"""The command line of ``lookalike demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.catalogue.catalog import read_catalog
from lookalike.cli.console import note
from lookalike.cli.processes import ServiceProcesses
from lookalike.cli.termination import termination_as_interrupt

DEMO_PRODUCTS = 1000
DEMO_VIEWS = 6
DEMO_SEED = 7


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the report; do not keep serving.")] = False,
    catalog: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Use this catalogue; default: simulate one.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for all that the demo writes.")] = Path("lookalike-demo"),
    products: Annotated[int, typer.Option(min=2, help="Products to simulate.")] = DEMO_PRODUCTS,
    views: Annotated[int, typer.Option(min=2, help="Photos of each product to simulate.")] = DEMO_VIEWS,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation and the training.")] = DEMO_SEED,
) -> None:
    """Simulate, train, serve, index, search and report: Lookalike end to end.

    Writes report.json, report.html and contact-sheet.png. Then keeps serving until Ctrl-C.
    """
    from lookalike.cli.demo.folder import DemoFolder
    from lookalike.cli.demo.run import Demo

    given = read_catalog(catalog) if catalog else None
    with (
        termination_as_interrupt(),
        DemoFolder(out) as folder,
        ServiceProcesses(folder.logs, folder.logs) as services,
    ):
        run = Demo(folder, services, catalog=given, products=products, views=views, seed=seed)
        problems = run.run()
        for problem in problems:
            note(f"FAILED: {problem}")
        if not (once or problems):
            run.keep_serving()
    if problems:
        raise typer.Exit(1)

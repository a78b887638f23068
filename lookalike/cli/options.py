"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.addresses import check_address


def checked_addresses(value: str | list[str]) -> str | list[str]:
    """Returns addresses in gRPC's form, or refuses them; the callback of options that take one or several."""
    try:
        return check_address(value) if isinstance(value, str) else [check_address(one) for one in value]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Gateway = Annotated[
    str,
    typer.Option(
        "--gateway",
        metavar="HOST:PORT",
        envvar="LOOKALIKE_GATEWAY",
        help="Address of the gateway.",
        callback=checked_addresses,
    ),
]
CollectionName = Annotated[str, typer.Option("--collection", help="Name of the collection, or an alias.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
CatalogFile = Annotated[
    Path, typer.Option("--catalog", metavar="CSV", help="The catalogue: item_id, product_id, image_path, ...")
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, max=60.0, help="Seconds for one call.")]

DEFAULT_COLLECTION = "default"


def help_without_command(context: typer.Context) -> None:
    """Shows the help of a group of commands that is called without any of them."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)

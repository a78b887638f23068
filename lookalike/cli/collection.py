"""``lookalike collection``: create, look at and delete collections and aliases."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lookalike.addresses import DEFAULT_GATEWAY
from lookalike.cli.console import counted, note, print_json, stdout
from lookalike.cli.options import AsJson, Gateway, help_without_command
from lookalike.errors import DataLossError, NotFoundError, Reason, shown

if TYPE_CHECKING:
    from lookalike.client import Alias, Client, Collection

app = typer.Typer(help="Create, show and delete collections and aliases.")
alias_app = typer.Typer(help="Second names that can be moved at once.")
app.add_typer(alias_app, name="alias")
app.callback(invoke_without_command=True)(help_without_command)
alias_app.callback(invoke_without_command=True)(help_without_command)

Name = Annotated[str, typer.Argument(help="Name of the collection.")]
AliasName = Annotated[str, typer.Argument(help="Name of the alias.")]


@app.command("create")
def create(
    name: Name,
    bits: Annotated[int, typer.Option(help="Code length: a multiple of 64 up to 2048; 0: the default.")] = 0,
    rerank: Annotated[
        str,
        typer.Option(
            metavar="PRECISION",
            help="How exactly the index keeps vectors: int8 in a quarter of float32's memory, f16 in half of"
            " it, or f32; default: f16.",
        ),
    ] = "",
    gateway: Gateway = DEFAULT_GATEWAY,
    as_json: AsJson = False,
) -> None:
    """Create a collection for the embedder's current model."""
    with _client(gateway) as client:
        _show_one(client.create_collection(name, bits=bits, rerank=rerank), as_json)


@app.command("repair")
def repair(name: Name, gateway: Gateway = DEFAULT_GATEWAY, as_json: AsJson = False) -> None:
    """Create a collection again, empty, on shards that have lost its data; then load the catalogue again."""
    with _client(gateway) as client:
        found = next((kept for kept in client.list_collections() if kept.name == name), None)
        if found is None:
            raise _no_collection(name, client.list_aliases())
        repaired = client.create_collection(name, repair=True, **found.options)
    _show_one(repaired, as_json)
    if repaired.repaired_shards:
        shards = ", ".join(map(str, repaired.repaired_shards))
        note(f"Created {name} again, empty, on shard {shards}: load the catalogue again.")
    else:
        note(f"Every shard has {name}: nothing was changed.")


@app.command("get")
def get(name: Name, gateway: Gateway = DEFAULT_GATEWAY, as_json: AsJson = False) -> None:
    """Show a collection and its number of items."""
    with _client(gateway) as client:
        _show_one(client.get_collection(name), as_json)


@app.command("list")
def list_all(gateway: Gateway = DEFAULT_GATEWAY, as_json: AsJson = False) -> None:
    """List all collections."""
    with _client(gateway) as client:
        collections = client.list_collections()
    if as_json:
        print_json([_as_dict(collection) for collection in collections])
        return
    table = Table(
        "name",
        "model",
        "dimension",
        "bits",
        "rerank",
        "created",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for collection in collections:
        created = f"{collection.create_time:%Y-%m-%d %H:%M:%S}"
        numbers = (str(collection.dimension), str(collection.bits))
        table.add_row(collection.name, collection.model_version, *numbers, collection.rerank, created)
    stdout.print(table)


@app.command("delete")
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    gateway: Gateway = DEFAULT_GATEWAY,
) -> None:
    """Delete a collection with all its items, for good."""
    with _client(gateway) as client:
        items = _items_of(client, name)
        if not yes:
            _ask(f"Delete the collection {name} with {items} for good?")
        client.delete_collection(name)
    note(f"Deleted the collection {name} with {items}.")


@alias_app.command("set")
def set_alias(
    name: AliasName,
    collection: Annotated[str, typer.Argument(help="The collection to point to.")],
    gateway: Gateway = DEFAULT_GATEWAY,
) -> None:
    """Point an alias to a collection, at once; creates the alias if it is new."""
    with _client(gateway) as client:
        previous = client.set_alias(name, collection)
    note(f"{name} -> {collection}" + (f" (was {previous})" if previous else ""))


@alias_app.command("list")
def list_aliases(gateway: Gateway = DEFAULT_GATEWAY, as_json: AsJson = False) -> None:
    """List all aliases."""
    with _client(gateway) as client:
        aliases = client.list_aliases()
    if as_json:
        print_json([asdict(alias) for alias in aliases])
        return
    for alias in aliases:
        print(f"{alias.name} -> {alias.collection}")


@alias_app.command("delete")
def delete_alias(name: AliasName, gateway: Gateway = DEFAULT_GATEWAY) -> None:
    """Delete an alias; its collection stays."""
    with _client(gateway) as client:
        client.delete_alias(name)
    note(f"Deleted the alias {name}.")


def _items_of(client: Client, name: str) -> str:
    try:
        return counted(client.get_collection(name).item_count or 0, "item")
    except DataLossError:
        return "what is left of its items"


def _ask(question: str) -> None:
    """Ends the command unless the answer is yes."""
    terminal = line_ended = bool(sys.stdin and sys.stdin.isatty())  # what is typed there ends the line
    try:
        agreed = bool(sys.stdin) and typer.confirm(question, err=True)
    except typer.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise
        agreed = line_ended = False
    if not agreed:
        advice = "" if terminal else "; --yes deletes without asking"
        note(("" if line_ended else "\n") + f"not deleted{advice}")
        raise typer.Exit(1)


def _no_collection(name: str, aliases: Sequence[Alias]) -> NotFoundError:
    target = next((alias.collection for alias in aliases if alias.name == name), "")
    problem = f"there is no collection {shown(name)}"
    if target:
        problem = f"{shown(name)} is an alias; to repair its collection, name that: {shown(target)}"
    return NotFoundError(problem, reason=Reason.COLLECTION_NOT_FOUND, field="name")


def _client(gateway: str) -> Client:
    from lookalike.client import Client

    return Client(gateway)


def _as_dict(collection: Collection) -> dict[str, Any]:
    return {**asdict(collection), "create_time": collection.create_time.isoformat()}


def _show_one(collection: Collection, as_json: bool) -> None:
    if as_json:
        print_json(_as_dict(collection))
        return
    for name, value in _as_dict(collection).items():
        if value not in (None, ()):
            print(f"{name:16} {value}")

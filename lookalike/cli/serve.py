"""``lookalike serve``: one service, or a whole installation on this machine."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from lookalike.addresses import GATEWAY_PORT
from lookalike.cli.console import note
from lookalike.cli.installation import Installation, settings_class
from lookalike.cli.options import help_without_command
from lookalike.cli.processes import ServiceProcesses
from lookalike.cli.termination import termination_as_interrupt
from lookalike.errors import InvalidInputError, Reason

app = typer.Typer(help="Serve one service, or all of them on this machine.")
app.callback(invoke_without_command=True)(help_without_command)

# Every setting of a service is a flag; the service itself reads and explains them.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _one(service: str) -> Callable[..., None]:
    def serve(
        context: typer.Context,
        exit_with_stdin: Annotated[bool, typer.Option("--exit-with-stdin", hidden=True)] = False,
        failure_file: Annotated[Path | None, typer.Option("--failure-file", hidden=True)] = None,
    ) -> None:
        from lookalike.runtime.entry import serve_main

        if exit_with_stdin:
            threading.Thread(target=_stop_when_stdin_closes, daemon=True).start()
        run = importlib.import_module(f"{service}.server").run
        if code := serve_main(service, settings_class(service), run, context.args, failure_file):
            raise typer.Exit(code)

    serve.__doc__ = f"Serve the {service}; `lookalike serve {service} --help` lists its settings."
    return serve


for _service in ("embedder", "hasher", "gateway"):
    app.command(_service, context_settings=_PASS_ON)(_one(_service))


@app.command("all")
def serve_all(
    bundle: Annotated[Path, typer.Option(help="Folder of the model bundle.")],
    data: Annotated[Path, typer.Option(help="Folder for all data.")] = Path("lookalike-data"),
    shards: Annotated[int, typer.Option(min=1, max=64, help="How many hashers.")] = 2,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the gateway; 0: free ports for everything.")
    ] = GATEWAY_PORT,
    host: Annotated[str, typer.Option(help="Name or address for the gateway to bind.")] = "127.0.0.1",
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Allow a host that other machines reach, unprotected."),
    ] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with a section for each service.")] = None,
) -> None:
    """Serve an embedder, hashers and a gateway until Ctrl-C."""
    if not bundle.is_dir():
        raise InvalidInputError(
            f"there is no model bundle {bundle}; `lookalike train` makes one", reason=Reason.BUNDLE_INVALID
        )
    installation = Installation(
        bundle=bundle,
        data=data,
        shards=shards,
        port=port,
        host=host,
        config=config,
        extra=("--insecure",) if insecure else (),
    )
    with (
        termination_as_interrupt(),
        tempfile.TemporaryDirectory(prefix="lookalike-") as scratch,
        ServiceProcesses(Path(scratch)) as services,
    ):
        try:
            address = installation.start(services)
            note(f"The gateway serves at {address}; Ctrl-C stops everything.")
            services.watch()
        except KeyboardInterrupt:
            note("Stopping ...")


def _stop_when_stdin_closes() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

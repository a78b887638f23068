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

from lookalike.addresses import (
    EMBEDDER_PORT,
    FIRST_HASHER_PORT,
    GATEWAY_PORT,
    METRICS_PORT_OFFSET,
    bare_host,
    join_address,
)
from lookalike.cli.console import note
from lookalike.cli.options import help_without_command
from lookalike.cli.processes import ServiceProcesses
from lookalike.cli.termination import termination_as_interrupt
from lookalike.errors import InvalidInputError, Reason

app = typer.Typer(help="Serve one service, or all of them on this machine.")
app.callback(invoke_without_command=True)(help_without_command)

_START_SECONDS = 60.0
_READY_SECONDS = 600.0
"""A hasher that rebuilds a large index is loading for minutes."""
# Every setting of a service is a flag; the service itself reads and explains them.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _one(service: str) -> Callable[..., None]:
    def serve(
        context: typer.Context,
        exit_with_stdin: Annotated[bool, typer.Option("--exit-with-stdin", hidden=True)] = False,
    ) -> None:
        from lookalike.runtime.entry import serve_main

        if exit_with_stdin:
            threading.Thread(target=_stop_when_stdin_closes, daemon=True).start()
        config = importlib.import_module(f"{service}.config")
        settings_class = getattr(config, f"{service.capitalize()}Settings")
        run = importlib.import_module(f"{service}.server").run
        if code := serve_main(service, settings_class, run, context.args):
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
    data.mkdir(parents=True, exist_ok=True)
    with (
        termination_as_interrupt(),
        tempfile.TemporaryDirectory(prefix="lookalike-") as scratch,
        ServiceProcesses(Path(scratch)) as services,
    ):
        try:
            extra = ("--insecure",) if insecure else ()
            address = start_all(
                services, bundle, data, shards=shards, port=port, host=host, config=config, extra=extra
            )
            note(f"The gateway serves at {address}; Ctrl-C stops everything.")
            services.watch()
        except KeyboardInterrupt:
            note("Stopping ...")


def start_all(
    services: ServiceProcesses,
    bundle: Path,
    data: Path,
    *,
    shards: int,
    port: int,
    host: str = "127.0.0.1",
    config: Path | None = None,
    extra: tuple[str, ...] = (),
) -> str:
    """Starts an installation and waits until it answers searches.

    Args:
        services: Gets the new processes.
        bundle: Folder of the model bundle.
        data: Folder for the data of hashers and gateway.
        shards: How many hashers.
        port: Of the gateway; 0 takes free ports for everything.
        host: For the gateway to bind.
        config: TOML file of settings.
        extra: Further flags for every service.

    Returns:
        The gateway's address.

    Raises:
        LookalikeError: A service ended, or was not ready in time.
    """
    common = [*(("--config", str(config)) if config else ()), *extra]
    free = ["--port", "0", "--metrics-port", "0"] if port == 0 else []
    embedder = services.start("embedder", [*common, *(free or _ports(EMBEDDER_PORT)), f"--bundle={bundle}"])
    hashers = [
        services.start(
            "hasher",
            [
                *common,
                *(free or _ports(FIRST_HASHER_PORT + shard)),
                *("--shard", str(shard), "--shard-count", str(shards)),
                *("--data-folder", str(data / f"hasher-{shard}")),
            ],
            name=f"hasher-{shard}",
        )
        for shard in range(shards)
    ]
    behind = [f"127.0.0.1:{port}" for port in services.wait_for_ports([embedder, *hashers], _START_SECONDS)]
    gateway = services.start(
        "gateway",
        [
            *common,
            *(free or _ports(port)),
            *("--host", host, "--embedder", behind[0], "--hashers", ",".join(behind[1:])),
            *("--data-folder", str(data / "gateway")),
        ],
    )
    (bound,) = services.wait_for_ports([gateway], _START_SECONDS)
    address = join_address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bare_host(host), host), bound)
    _wait_until_serving(services, address)
    return address


def _ports(port: int) -> list[str]:
    return ["--port", str(port), "--metrics-port", str(port + METRICS_PORT_OFFSET)]


def _wait_until_serving(services: ServiceProcesses, address: str) -> None:
    from lookalike.client.health import wait_until_serving

    wait_until_serving(address, timeout_seconds=_READY_SECONDS, while_waiting=services.check)


def _stop_when_stdin_closes() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

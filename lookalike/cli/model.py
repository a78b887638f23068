"""``lookalike model``: change the model that is served, without a failed request."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import grpc
import typer

from lookalike.addresses import DEFAULT_TRITON
from lookalike.cli.console import note, print_json
from lookalike.cli.export import (
    DEFAULT_MODEL,
    BundleFolder,
    Device,
    Instances,
    MaxBatch,
    ModelName,
    Threads,
    TritonBackend,
    repository_options,
)
from lookalike.cli.options import AsJson, help_without_command
from lookalike.errors import InvalidInputError, UnavailableError
from lookalike.runtime.channel import channel_options
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc

app = typer.Typer(help="Load, list, switch and retire the models that are served.")
app.callback(invoke_without_command=True)(help_without_command)

_POLL_SECONDS = 0.2

Repository = Annotated[Path, typer.Option("--triton", help="The model repository that Triton reads.")]
Url = Annotated[str, typer.Option("--triton-url", metavar="HOST:PORT", help="Triton's gRPC address.")]


@app.command("list")
def list_all(url: Url = DEFAULT_TRITON, model: ModelName = DEFAULT_MODEL, as_json: AsJson = False) -> None:
    """List the versions of a model in Triton, and which bundle each is."""
    from embedder.triton import control

    found = asyncio.run(control.versions(url, model))
    if as_json:
        print_json([asdict(version) for version in found])
        return
    for version in found:
        print(f"{version.number:4}  {version.model_version or '-':16}  {version.state}")


@app.command("load")
def load(
    bundle: BundleFolder,
    triton: Repository,
    url: Url = DEFAULT_TRITON,
    backend: TritonBackend = "onnxruntime",
    model: ModelName = DEFAULT_MODEL,
    device: Device = "cpu",
    instances: Instances = 1,
    max_batch: MaxBatch = 16,
    threads: Threads = 0,
) -> None:
    """Load a bundle into Triton beside what it serves, and prove it on the golden images."""
    from embedder.bundle import load_bundle
    from embedder.triton import control

    options = repository_options(backend, model, device, instances, max_batch, threads)
    loaded = load_bundle(bundle)
    number, distance = asyncio.run(control.load(triton, loaded, url, options))
    note(f"Version {number} of {model} is {loaded.model_version}; golden images within {distance:.1e}.")


@app.command("retire")
def retire(
    keep: Annotated[int, typer.Option(min=1, help="Number of the version that stays.")],
    triton: Repository,
    url: Url = DEFAULT_TRITON,
    model: ModelName = DEFAULT_MODEL,
) -> None:
    """Unload all versions but one from Triton and delete their files."""
    from embedder.triton import control

    dropped = asyncio.run(control.retire(triton, model, keep, url))
    note(f"Unloaded: {', '.join(map(str, dropped)) or 'nothing'}; version {keep} of {model} stays.")


@app.command("switch")
def switch(
    to: Annotated[Path, typer.Option("--to", help="Folder of the bundle to serve from now on.")],
    served: Annotated[Path, typer.Option(help="Folder of the bundle that the embedders serve and follow.")],
    embedder: Annotated[
        list[str], typer.Option(metavar="HOST:PORT", help="Address of an embedder; once for each of them.")
    ],
    triton: Annotated[
        Path | None, typer.Option("--triton", help="The model repository, if the embedders use Triton.")
    ] = None,
    url: Url = DEFAULT_TRITON,
    backend: TritonBackend = "onnxruntime",
    model: ModelName = DEFAULT_MODEL,
    device: Device = "cpu",
    instances: Instances = 1,
    max_batch: MaxBatch = 16,
    threads: Threads = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for the embedders to follow.")] = 120.0,
) -> None:
    """Serve another bundle: load and prove it, have the embedders move over, unload the old one.

    A bundle that fails its checks, or that not every embedder takes, changes nothing for callers.
    """
    from embedder.bundle import copy_bundle, load_bundle

    new = load_bundle(to)
    load_bundle(served)
    number = 0
    if triton is not None:
        from embedder.triton import control

        options = repository_options(backend, model, device, instances, max_batch, threads)
        number, distance = asyncio.run(control.load(triton, new, url, options))
        note(f"Triton has {new.model_version} as version {number}; golden images within {distance:.1e}.")
    with tempfile.TemporaryDirectory(prefix="lookalike-") as scratch:
        old = Path(scratch) / "old"
        shutil.copytree(served, old)
        copy_bundle(new, served)
        try:
            _wait_until_served(embedder, new.model_version, timeout)
        except UnavailableError:
            copy_bundle(load_bundle(old), served)
            raise
    note(f"Every embedder serves {new.model_version}.")
    if triton is not None:
        dropped = asyncio.run(control.retire(triton, model, number, url))
        note(f"Triton unloaded: {', '.join(map(str, dropped)) or 'nothing'}.")


def _wait_until_served(embedders: list[str], model_version: str, timeout_seconds: float) -> None:
    if not embedders:
        raise InvalidInputError("name every embedder with --embedder", field="--embedder")
    deadline = time.monotonic() + timeout_seconds
    for address in embedders:
        with grpc.insecure_channel(address, options=channel_options()) as channel:
            stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
            while (answer := _served(stub)) != model_version:
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"the embedder at {address} still answers {answer}, not {model_version}; its log "
                        "says why. The old bundle is back in its place"
                    )
                time.sleep(_POLL_SECONDS)


def _served(stub: embedder_pb2_grpc.EmbedderServiceStub) -> str:
    """Returns the version that an embedder serves, or the status it answers with."""
    try:
        return str(stub.GetModel(embedder_pb2.GetModelRequest(), timeout=2.0).model_version)
    except grpc.RpcError as error:
        return str(error.code().name)

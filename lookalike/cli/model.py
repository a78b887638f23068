"""``lookalike model``: change the model that is served, without a failed request."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedder.triton.naming import DEFAULT_MODEL
from lookalike.addresses import DEFAULT_TRITON
from lookalike.cli.console import note, print_json
from lookalike.cli.export import (
    BundleFolder,
    Device,
    Instances,
    MaxBatch,
    ModelName,
    Threads,
    TritonBackend,
    repository_options,
)
from lookalike.cli.options import AsJson, checked_addresses, help_without_command
from lookalike.cli.termination import termination_as_interrupt
from lookalike.errors import InvalidInputError, Reason, UnavailableError
from lookalike.files.locks import one_at_a_time

if TYPE_CHECKING:
    from embedder.bundle import Bundle
    from lookalike.v1.embedder_pb2 import GetModelResponse
    from lookalike.v1.embedder_pb2_grpc import EmbedderServiceStub

app = typer.Typer(help="Load, list, switch and retire the models that are served.")
app.callback(invoke_without_command=True)(help_without_command)

_FOLLOW_SECONDS = 5.0
_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 2.0

Repository = Annotated[Path, typer.Option("--triton", help="The model repository that Triton reads.")]
Url = Annotated[
    str,
    typer.Option(
        "--triton-url", metavar="HOST:PORT", help="Triton's gRPC address.", callback=checked_addresses
    ),
]

Embedders = Annotated[
    list[str],
    typer.Option(
        metavar="HOST:PORT",
        help="Address of an embedder; once for each of them.",
        callback=checked_addresses,
    ),
]


FollowSeconds = Annotated[
    float, typer.Option("--timeout", min=1, max=86_400, help="Seconds for the embedders to follow.")
]


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
@termination_as_interrupt()
def load(
    bundle: BundleFolder,
    triton: Repository,
    url: Url = DEFAULT_TRITON,
    backend: TritonBackend = None,
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    instances: Instances = None,
    max_batch: MaxBatch = None,
    threads: Threads = None,
) -> None:
    """Load a bundle into Triton in addition to what it serves, and prove it on the golden images."""
    from embedder.bundle import load_bundle
    from embedder.triton import control

    options = repository_options(
        backend=backend, model=model, device=device, instances=instances, max_batch=max_batch, threads=threads
    )
    loaded = load_bundle(bundle)
    number, distance = asyncio.run(control.load(triton, loaded, url, options))
    note(f"Version {number} of {model} is {loaded.model_version}; golden images within {distance:.1e}.")


@app.command("retire")
@termination_as_interrupt()
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
@termination_as_interrupt()
def switch(
    to: Annotated[Path, typer.Option("--to", help="Folder of the bundle to serve from now on.")],
    served: Annotated[Path, typer.Option(help="Folder of the bundle that the embedders serve and follow.")],
    embedder: Embedders,
    triton: Annotated[
        Path | None, typer.Option("--triton", help="The model repository, if the embedders use Triton.")
    ] = None,
    url: Url = DEFAULT_TRITON,
    model: ModelName = DEFAULT_MODEL,
    timeout: FollowSeconds = 120.0,
) -> None:
    """Serve another bundle: load and prove it, have the embedders move over, unload the old one.

    A bundle that fails its checks, or that not every embedder takes in time, changes nothing for callers:
    the old one is restored, also on Ctrl-C and SIGTERM. Once every embedder serves the new one it stays,
    and the old one is unloaded when no call is under way with it.
    """
    from embedder.bundle import check_replaceable, copy_bundle, load_bundle

    new = load_bundle(to)
    load_bundle(served)
    # Next to the folder, which is itself replaced.
    alone = one_at_a_time(served.parent.resolve() / f".{served.name}.switch-lock", f"switch of {served}")
    with alone, tempfile.TemporaryDirectory(prefix="lookalike-") as scratch:
        check_replaceable(served)
        _check_followed(embedder, load_bundle(served))
        old = copy_bundle(load_bundle(served), Path(scratch) / "old")
        by_hand = f"`lookalike model retire --model {model} --triton {triton} --triton-url {url} --keep"
        number = 0
        if triton is not None:
            from embedder.triton import control

            options = repository_options(model=model)
            number, distance = asyncio.run(control.load(triton, new, url, options))
        try:
            if triton is not None:
                note(f"Triton: version {number} is {new.model_version}; golden images within {distance:.1e}.")
            copy_bundle(new, served)
            _wait_for(embedder, timeout, _answers(new.model_version))
            note(f"Every embedder serves {new.model_version}.")
        except BaseException:
            try:
                if triton is not None and old.model_version != new.model_version:
                    note(f"Triton has both; {by_hand} N` unloads all versions but number N.")
            finally:
                _put_back(old, new, served)
            raise
        if triton is None or old.model_version == new.model_version:
            return
        try:
            _wait_for(embedder, timeout, _has_drained)
            dropped = asyncio.run(control.drop(triton, model, old.model_version, url))
        except BaseException:
            note(
                "The new bundle stays, and so does the old one in Triton; "
                f"{by_hand} {number}` unloads all versions but that one."
            )
            raise
        note(f"Triton unloaded: {', '.join(map(str, dropped)) or 'nothing'}.")


def _check_followed(embedders: list[str], served: Bundle) -> None:
    """Refuses a folder whose bundle is not the one that the embedders serve: they hardly follow it.

    Raises:
        UnavailableError: One of them serves another bundle, or does not answer.
    """

    def problem(answer: GetModelResponse) -> str:
        if answer.model_version == served.model_version:
            return ""
        return (
            f"serves {answer.model_version}, but {served.path} holds {served.model_version}: name the folder"
            " that it follows, or, if it refused that bundle, put one there that it takes, by a rename"
        )

    try:
        _wait_for(embedders, _FOLLOW_SECONDS, problem)
    except UnavailableError as error:
        error.message += "; nothing was changed"
        raise


def _put_back(old: Bundle, new: Bundle, served: Path) -> None:
    """Restores the old bundle to its folder, unless that holds it, or by now a third one."""
    try:
        note(_put_back_in(old, new, served))
    except BaseException:
        kept = old.path.rename(tempfile.mkdtemp(prefix="lookalike-old-"))
        note(f"The old bundle {old.model_version} could not be put back into {served}; it is in {kept}.")
        raise


def _put_back_in(old: Bundle, new: Bundle, served: Path) -> str:
    """Does as :func:`_put_back`; returns what the folder holds now, in a sentence."""
    from embedder.bundle import copy_bundle, load_bundle

    try:
        present = load_bundle(served).model_version
    except InvalidInputError:
        present = ""
    if present == old.model_version:
        return f"{served} holds the old bundle {present} as before."
    if present not in ("", new.model_version):
        return f"{served} holds {present} by now, which stays."
    copy_bundle(old, served)
    return f"The old bundle {old.model_version} is back in {served}."


def _answers(model_version: str) -> Callable[[GetModelResponse], str]:
    def problem(served: GetModelResponse) -> str:
        if served.model_version == model_version:
            return ""
        return f"still serves {served.model_version}, not {model_version}; its log says why"

    return problem


def _has_drained(served: GetModelResponse) -> str:
    old = served.draining_model_version
    return f"still has calls under way with {old}" if old else ""


def _wait_for(
    embedders: list[str], timeout_seconds: float, problem_of: Callable[[GetModelResponse], str]
) -> None:
    """Waits until no embedder has a problem any more.

    Raises:
        UnavailableError: One still has when the time is up.
    """
    import grpc

    from lookalike.v1.embedder_pb2_grpc import EmbedderServiceStub
    from lookalike.wire.channel import channel_options

    deadline = time.monotonic() + timeout_seconds
    for address in embedders:
        with grpc.insecure_channel(address, options=channel_options()) as channel:
            stub = EmbedderServiceStub(channel)
            while problem := _asked(stub, problem_of):
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"the embedder at {address} {problem}", reason=Reason.EMBEDDER_UNAVAILABLE
                    )
                time.sleep(_POLL_SECONDS)


def _asked(stub: EmbedderServiceStub, problem_of: Callable[[GetModelResponse], str]) -> str:
    import grpc

    from lookalike.v1.embedder_pb2 import GetModelRequest

    try:
        return problem_of(stub.GetModel(GetModelRequest(), timeout=_ANSWER_SECONDS))
    except grpc.RpcError as error:
        return f"answers {error.code().name}"

"""Loads, proves and unloads versions of a model in a running Triton (KServe model repository API).

Triton must run with ``--model-control-mode=explicit`` and read the same repository. Reloading a model swaps
its versions without refusing a request: those under way end where they began.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from embedder.bundle import Bundle
from embedder.golden import GoldenImages, mismatch
from embedder.metrics import TritonMetrics
from embedder.triton import naming, repository
from embedder.triton.client import CHANNEL_OPTIONS, TritonEncoder, TritonTarget
from embedder.triton.repository import RepositoryOptions
from lookalike.errors import (
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    Reason,
    UnavailableError,
)
from lookalike.runtime.metrics import Metrics

LOAD_SECONDS = 300.0
"""How long Triton may take to load and warm up a model."""
SEEN_SECONDS = 5.0
"""How long a version may be missing after Triton said that it has loaded the model."""
_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class LoadedVersion:
    """A version of the model in Triton.

    Attributes:
        number: Its number.
        model_version: The bundle that it is; empty if the configuration does not say.
        state: ``READY``, ``LOADING``, ``UNLOADING`` or ``UNAVAILABLE``.
    """

    number: int
    model_version: str
    state: str


async def load(folder: Path, bundle: Bundle, url: str, options: RepositoryOptions) -> tuple[int, float]:
    """Loads a bundle next to those that Triton serves, and proves that it reproduces its golden images.

    Args:
        folder: The model repository that Triton reads.
        bundle: The bundle to add.
        url: ``host:port`` of Triton's gRPC.
        options: How Triton shall run it.

    Returns:
        The version's number, and the largest cosine distance from the golden embeddings.

    Raises:
        InvalidInputError: Triton serves the model from another folder.
        FailedPreconditionError: It does not reproduce them, or the bundle has none, or another change of the
            model is under way. Triton serves what it served before, which may be nothing, and as it did; the
            repository holds no more.
        UnavailableError: Triton cannot be reached or cannot load it; likewise.
    """
    golden = bundle.golden()
    if golden is None:
        raise FailedPreconditionError(
            f"{bundle.path.name} has no golden images to check it by; export or train it again",
            reason=Reason.MODEL_PARITY_FAILED,
        )
    if not folder.exists():  # a mistyped name is to leave nothing behind
        await _check_unknown(folder, options.model, url)
    repository.make_repository(folder)
    with repository.changing(folder, options.model):
        before = repository.read_config(folder, options.model)
        if before is None:
            await _check_unknown(folder, options.model, url)
        known = before is not None and naming.version_of(before, bundle.model_version) is not None
        number = repository.add_version(folder, bundle, options)
        try:
            await reload(url, options.model)
            await _check_read(folder, options.model, url)
            return number, await verify(bundle, golden, url, options.model)
        except BaseException:
            await _take_back(folder, options.model, before, None if known else number, url)
            raise


async def retire(folder: Path, model: str, number: int, url: str) -> list[int]:
    """Unloads every version but one, and deletes their files.

    Returns:
        The numbers of the versions that are gone.

    Raises:
        InvalidInputError: There is no such model or version, or Triton reads another folder; nothing changed.
        FailedPreconditionError: Another change of the model is under way.
        UnavailableError: Triton cannot be reached.
    """
    with repository.changing(folder, model):
        dropped = repository.all_but(folder, model, number)
        await _drop(folder, model, dropped, url)
    return dropped


async def drop(folder: Path, model: str, model_version: str, url: str) -> list[int]:
    """Unloads a bundle's version and deletes its files; other versions stay.

    Returns:
        The numbers of the versions that are gone; none if the model has no version of this bundle.

    Raises:
        LookalikeError: As :func:`retire`.
    """
    with repository.changing(folder, model):
        number = repository.number_of(folder, model, model_version)
        dropped = [] if number is None else [number]
        await _drop(folder, model, dropped, url)
    return dropped


async def verify(bundle: Bundle, golden: GoldenImages, url: str, model: str) -> float:
    """Returns how far Triton's answers are from the golden embeddings, as a cosine distance.

    Raises:
        FailedPreconditionError: Too far (``MODEL_PARITY_FAILED``).
    """
    encoder = TritonEncoder(bundle, TritonTarget(url, model), TritonMetrics(Metrics()))
    try:
        await _until_open(encoder)
        pictures = golden.prepare(bundle.preprocess)
        rows = [(await encoder.encode(picture[None])).embedding for picture in pictures]
        distance = golden.distance(np.concatenate(rows))
    finally:
        await encoder.close()
    if problem := mismatch(distance, golden.tolerance):
        raise FailedPreconditionError(
            f"model {bundle.model_version} must not serve: {problem}", reason=Reason.MODEL_PARITY_FAILED
        )
    return distance


async def reload(url: str, model: str) -> None:
    """Has Triton read the model's configuration again, and load and unload what changed.

    Raises:
        UnavailableError: Triton cannot be reached or refuses.
    """
    async with InferenceServerClient(url, channel_args=CHANNEL_OPTIONS) as client:
        try:
            await client.load_model(model, client_timeout=LOAD_SECONDS)
        except InferenceServerException as error:
            raise _failed(f"cannot load {model}", error) from error


async def versions(url: str, model: str) -> list[LoadedVersion]:
    """Returns the model's versions in Triton, in rising order.

    Raises:
        UnavailableError: Triton cannot be reached.
    """
    async with InferenceServerClient(url, channel_args=CHANNEL_OPTIONS) as client:
        try:
            index = await client.get_model_repository_index(client_timeout=_ANSWER_SECONDS)
            entries = [entry for entry in index.models if entry.name == model and entry.version]
            ready = any(entry.state == "READY" for entry in entries)
            answer = await client.get_model_config(model, client_timeout=_ANSWER_SECONDS) if ready else None
        except InferenceServerException as error:
            raise _failed("cannot list its models", error) from error
    bundles = naming.versions(answer.config) if answer else {}
    found = [
        LoadedVersion(int(entry.version), bundles.get(entry.version, ""), entry.state) for entry in entries
    ]
    return sorted(found, key=lambda version: version.number)


async def _check_unknown(folder: Path, model: str, url: str) -> None:
    """Refuses a model that Triton has from elsewhere: undoing a failed first load would unload it."""
    if any(version.state == "READY" for version in await versions(url, model)):
        raise InvalidInputError(
            f"Triton serves {model}, which {folder} does not have; is --triton the folder that it reads?",
            reason=Reason.CONFIG_INVALID,
        )


async def _until_open(encoder: TritonEncoder) -> None:
    """Waits until the version that was just loaded is there."""
    deadline = time.monotonic() + SEEN_SECONDS
    while True:
        try:
            return await encoder.open()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_POLL_SECONDS)


async def _drop(folder: Path, model: str, numbers: list[int], url: str) -> None:
    before = repository.existing(folder, model)
    repository.drop_versions(folder, model, numbers)
    try:
        await reload(url, model)
        await _check_read(folder, model, url)
    except BaseException:
        await _take_back(folder, model, before, None, url)
        raise
    for number in numbers:
        repository.delete_version(folder, model, number)


async def _check_read(folder: Path, model: str, url: str) -> None:
    """Refuses a folder that Triton does not read: nothing that is done there would change what it serves."""
    async with InferenceServerClient(url, channel_args=CHANNEL_OPTIONS) as client:
        try:
            answer = await client.get_model_config(model, client_timeout=_ANSWER_SECONDS)
        except InferenceServerException as error:
            raise _failed(f"cannot find out how {model} is configured", error) from error
    if naming.change_of(answer.config) != naming.change_of(repository.existing(folder, model)):
        raise InvalidInputError(
            f"Triton does not read {folder}: it has {model} from elsewhere; is --triton the folder that it"
            " reads?",
            reason=Reason.CONFIG_INVALID,
        )


async def _take_back(folder: Path, model: str, before: Any | None, added: int | None, url: str) -> None:
    """Undoes a change that failed: whatever becomes of Triton, the model is configured as before.

    Args:
        folder: The model repository.
        model: The model's name.
        before: Its configuration from before the change; None if it had none.
        added: Number of the version that the change added; None if it added none.
        url: ``host:port`` of Triton's gRPC.
    """
    if before is None:
        await _unload(url, model)
        repository.delete_model(folder, model)
        return
    repository.write_config(folder, model, before)
    try:
        await reload(url, model)
    except LookalikeError:
        return  # the files may be in use; nothing names them any more
    if added is not None:
        repository.delete_version(folder, model, added)


async def _unload(url: str, model: str) -> None:
    """Has Triton forget a model; one that cannot be reached finds none when it is back."""
    async with InferenceServerClient(url, channel_args=CHANNEL_OPTIONS) as client:
        with suppress(InferenceServerException):
            await client.unload_model(model, client_timeout=LOAD_SECONDS)


def _failed(what: str, error: InferenceServerException) -> UnavailableError:
    words = (error.message() or "no reason given").splitlines()[0][:300]
    return UnavailableError(f"Triton {what}: {words}", reason=Reason.MODEL_SERVER_UNAVAILABLE)

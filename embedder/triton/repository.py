"""Writes model bundles as versions of a model in a Triton model repository.

DIR/<model>/config.pbtxt     shapes, batching, warm-up, instances, and which bundle each version is
DIR/<model>/<n>/model.onnx   the network of version n, for Triton's ONNX Runtime backend
DIR/<model>/<n>/model.py     what runs it, for Triton's Python backend alone
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from embedder.bundle import NETWORK_NAME, Bundle, sha256_of
from embedder.triton import naming
from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason

CONFIG_NAME = "config.pbtxt"
_MODEL_PY = Path(__file__).with_name("python_model.py")


@dataclass(frozen=True)
class RepositoryOptions:
    """How Triton shall run the model.

    Attributes:
        backend: ``onnxruntime`` for Triton's ONNX Runtime backend, which the official images have;
            ``python`` for servers with no other than the Python backend.
        model: The model's name in Triton.
        device: What its instances run on.
        instances: How many there are, per GPU if on GPUs.
        max_batch: Pictures that Triton merges at most; warm-up runs every number of them up to it.
        threads: CPU threads of one instance; 0 takes one per core.
    """

    backend: Literal["onnxruntime", "python"] = "onnxruntime"
    model: str = naming.DEFAULT_MODEL
    device: Literal["cpu", "gpu"] = "cpu"
    instances: int = 1
    max_batch: int = 16
    threads: int = 0


def write_version(repository: Path, bundle: Bundle, options: RepositoryOptions) -> int:
    """Add a bundle to a model repository as the model's next version, beside those that are there.

    The configuration is written last and in one step, so that a Triton that loads meanwhile sees either the
    old versions or the new one too. A bundle that has a version already is not written again.

    Args:
        repository: The repository's folder; made if absent.
        bundle: The verified bundle.
        options: How Triton shall run it; they replace those of an earlier export.

    Returns:
        The version's number.

    Raises:
        InvalidInputError: The folder of the model holds something else.
        FailedPreconditionError: The model has versions of other widths, and one configuration for all.
    """
    folder = repository / options.model
    present = read_config(repository, options.model)
    config = _config(bundle, options)
    if present is not None:
        _check_same_widths(present, config, options.model)
        for version, model_version in naming.versions(present).items():
            naming.set_version(config, int(version), model_version)
    numbers = set(map(int, naming.versions(config)))
    known = naming.version_of(config, bundle.model_version)
    number = int(known) if known else 1 + max(numbers, default=0)
    folder.mkdir(parents=True, exist_ok=True)
    _write_files(folder, number, bundle, options)
    naming.set_version(config, number, bundle.model_version)
    _serve(config, numbers | {number})
    _write_config(folder, config)
    return number


def keep_only(repository: Path, model: str, number: int) -> list[int]:
    """Take all versions but one out of the configuration; their files stay until :func:`delete_version`.

    Returns:
        The numbers of the versions that were taken out, now or earlier, and whose files are still there.

    Raises:
        InvalidInputError: The model has no such version.
    """
    config = _existing(repository, model)
    if str(number) not in naming.versions(config):
        raise InvalidInputError(f"{model} has no version {number}", reason=Reason.CONFIG_INVALID)
    written = {int(entry.name) for entry in (repository / model).iterdir() if entry.name.isdecimal()}
    dropped = sorted((written | set(map(int, naming.versions(config)))) - {number})
    for other in dropped:
        naming.drop_version(config, other)
    _serve(config, {number})
    _write_config(repository / model, config)
    return dropped


def remove_version(repository: Path, model: str, number: int) -> None:
    """Take one version out of the configuration."""
    config = _existing(repository, model)
    naming.drop_version(config, number)
    _serve(config, set(map(int, naming.versions(config))))
    _write_config(repository / model, config)


def delete_version(repository: Path, model: str, number: int) -> None:
    """Delete the files of a version that no configuration names any more."""
    shutil.rmtree(repository / model / str(number), ignore_errors=True)


def delete_model(repository: Path, model: str) -> None:
    """Delete a model with its configuration and all versions."""
    shutil.rmtree(repository / model, ignore_errors=True)


def read_config(repository: Path, model: str) -> Any | None:
    """Return the ``inference.ModelConfig`` of a model; None if the repository has no such model.

    Raises:
        InvalidInputError: The configuration is damaged, or not one of ours.
    """
    folder = repository / model
    if not folder.exists():
        return None
    try:
        config = text_format.Parse((folder / CONFIG_NAME).read_text(encoding="utf-8"), pb.ModelConfig())
    except (OSError, text_format.ParseError, UnicodeDecodeError) as error:
        raise _not_ours(folder) from error
    if not naming.versions(config):
        raise _not_ours(folder)
    return config


def _config(bundle: Bundle, options: RepositoryOptions) -> Any:
    size = bundle.preprocess.size
    config = pb.ModelConfig(name=options.model, backend=options.backend, max_batch_size=options.max_batch)
    config.input.add(name="images", data_type=pb.TYPE_FP32, dims=[3, size, size])
    for name, width in bundle.outputs.items():
        config.output.add(name=name, data_type=pb.TYPE_FP32, dims=[width])
    kind = pb.ModelInstanceGroup.KIND_GPU if options.device == "gpu" else pb.ModelInstanceGroup.KIND_CPU
    config.instance_group.add(count=options.instances, kind=kind)
    # No default_queue_policy and no delay: a policy stalls single instances for half a second at random
    # (triton-inference-server/server#8870), a delay is added to every lone request. Clients set deadlines.
    config.dynamic_batching.preferred_batch_size.extend(_preferred_sizes(options.max_batch))
    # Without a delay any size comes up, and engines prepare each anew: cuDNN looks for its algorithms.
    for batch in range(1, options.max_batch + 1):
        warm_up = config.model_warmup.add(name=f"batch-{batch}", batch_size=batch)
        tensor = warm_up.inputs["images"]
        tensor.data_type, tensor.random_data = pb.TYPE_FP32, True
        tensor.dims.extend([3, size, size])
    if options.threads:
        config.parameters["intra_op_thread_count"].string_value = str(options.threads)
    return config


def _preferred_sizes(max_batch: int) -> list[int]:
    """Return the powers of two up to ``max_batch``, and itself, without 1."""
    return sorted({2**power for power in range(max_batch.bit_length())} | {max_batch})[1:]


def _check_same_widths(present: Any, config: Any, model: str) -> None:
    for field in ("input", "output"):
        one = {tensor.name: list(tensor.dims) for tensor in getattr(present, field)}
        other = {tensor.name: list(tensor.dims) for tensor in getattr(config, field)}
        if one != other:
            raise FailedPreconditionError(
                f"the versions of {model} have {field}s {one}, this bundle has {other}; a model in Triton "
                "has one shape: export this bundle under another --model",
                reason=Reason.MODEL_VERSION_MISMATCH,
            )


def _write_files(folder: Path, number: int, bundle: Bundle, options: RepositoryOptions) -> None:
    target = folder / str(number)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as scratch:
        fresh = Path(scratch) / "version"
        fresh.mkdir()
        shutil.copyfile(bundle.network_path, fresh / NETWORK_NAME)
        if sha256_of(fresh / NETWORK_NAME) != bundle.manifest.network_sha256:
            raise InvalidInputError(
                f"{NETWORK_NAME} changed while it was copied; export again", reason=Reason.BUNDLE_INVALID
            )
        if options.backend == "python":
            shutil.copyfile(_MODEL_PY, fresh / "model.py")
        if target.exists():
            target.rename(Path(scratch) / "old")
        fresh.rename(target)


def _serve(config: Any, numbers: set[int]) -> None:
    del config.version_policy.specific.versions[:]
    config.version_policy.specific.versions.extend(sorted(numbers))


def _write_config(folder: Path, config: Any) -> None:
    part = folder / f".{CONFIG_NAME}.part"
    part.write_text(text_format.MessageToString(config), encoding="utf-8")
    os.replace(part, folder / CONFIG_NAME)


def _existing(repository: Path, model: str) -> Any:
    config = read_config(repository, model)
    if config is None:
        raise InvalidInputError(f"{repository} has no model {model}", reason=Reason.CONFIG_INVALID)
    return config


def _not_ours(folder: Path) -> InvalidInputError:
    return InvalidInputError(
        f"{folder} exists and was not written by `lookalike export`; choose another folder or --model",
        reason=Reason.CONFIG_INVALID,
    )

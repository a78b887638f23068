"""Writes model bundles as versions of a model in a Triton model repository.

DIR/<model>/config.pbtxt     shapes, batching, warm-up, instances, and which bundle each version is
DIR/<model>/<n>/model.onnx   the network of version n, for Triton's ONNX Runtime backend
DIR/<model>/<n>/model.py     what runs it, for Triton's Python backend alone
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from embedder.bundle import NETWORK_NAME, Bundle, sha256_of
from embedder.triton import naming
from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason
from lookalike.files.disk import part_of, replace_file, replace_folder, writing
from lookalike.files.locks import one_at_a_time

CONFIG_NAME = "config.pbtxt"
_PART_NAME = part_of(Path(CONFIG_NAME)).name
_SCRATCH_PREFIX = ".new-"
_MODEL_PY = Path(__file__).with_name("python_model.py")
_MAX_BATCH = 16
_THREADS = "intra_op_thread_count"
_KINDS = {"cpu": pb.ModelInstanceGroup.KIND_CPU, "gpu": pb.ModelInstanceGroup.KIND_GPU}


@dataclass(frozen=True)
class RepositoryOptions:
    """How Triton shall run the model.

    None leaves what the model's configuration has; a new model then gets ``onnxruntime``, ``cpu``, one
    instance, batches of up to 16, and one thread per core.

    Attributes:
        backend: ``onnxruntime`` for Triton's ONNX Runtime backend, which the official images have;
            ``python`` for servers with no other than the Python backend.
        model: The model's name in Triton.
        device: What its instances run on.
        instances: How many there are, per GPU if on GPUs.
        max_batch: Pictures that Triton merges at most; warm-up runs every number of them up to it.
        threads: CPU threads of one instance; 0 takes one per core.

    Raises:
        InvalidInputError: The name cannot be a model's.
    """

    backend: Literal["onnxruntime", "python"] | None = None
    model: str = naming.DEFAULT_MODEL
    device: Literal["cpu", "gpu"] | None = None
    instances: int | None = None
    max_batch: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        naming.check_model(self.model)


def write_version(repository: Path, bundle: Bundle, options: RepositoryOptions) -> int:
    """Adds a bundle to a model repository as the model's next version, next to those that are there.

    The configuration is written last and in one step, so that a Triton that loads meanwhile sees either the
    old versions or the new one too. A bundle that has a version already keeps its number; its files are
    written again. Where that fails, the model is as before.

    Args:
        repository: The repository's folder; made if absent.
        bundle: The verified bundle.
        options: How Triton shall run the model, all its versions alike.

    Returns:
        The version's number.

    Raises:
        InvalidInputError: The folder of the model holds something else.
        FailedPreconditionError: The model has versions of other widths or for another backend, and one
            configuration for all; or another change of it is under way.
        OSError: It cannot be written; where the disk is full, the model's folder is the error's file name.
    """
    make_repository(repository)
    with changing(repository, options.model):
        return add_version(repository, bundle, options)


def make_repository(repository: Path) -> None:
    """Makes the folder if it is missing.

    Raises:
        OSError: It cannot be made.
    """
    with writing(repository):
        repository.mkdir(parents=True, exist_ok=True)


def changing(repository: Path, model: str) -> AbstractContextManager[None]:
    """Keeps other changes of a model out: each would overwrite or take back what the other has half done.

    Raises:
        FailedPreconditionError: One is under way.
        InvalidInputError: The repository's folder is missing or cannot be written.
    """
    return one_at_a_time(repository / f".{model}.change-lock", f"change of {model} in {repository}")


def add_version(repository: Path, bundle: Bundle, options: RepositoryOptions) -> int:
    """Does as :func:`write_version` for a caller who keeps other changes out."""
    folder = repository / options.model
    before = read_config(repository, options.model)
    if before is None:
        config = _new_config(bundle, options.model)
    else:
        config = before
        _check_fits(config, bundle, options)
    _apply(config, options)
    numbers = set(map(int, naming.versions(config)))
    known = naming.version_of(config, bundle.model_version)
    number = int(known) if known else 1 + max(numbers, default=0)
    naming.set_version(config, number, bundle.model_version, bundle.match_calibration)
    naming.mark_change(config)
    _serve(config, numbers | {number})
    if before is None:
        delete_model(repository, options.model)  # what an interrupted first export left
    try:
        with writing(folder):
            folder.mkdir(exist_ok=True)
            with _version_files(folder, number, bundle, config.backend):
                write_config(repository, options.model, config)
    except BaseException:
        if before is None:
            delete_model(repository, options.model)
        raise
    return number


def all_but(repository: Path, model: str, number: int) -> list[int]:
    """Returns the numbers of the other versions, those included whose files an interrupted retirement left.

    Raises:
        InvalidInputError: The model has no such version.
    """
    present = naming.versions(existing(repository, model))
    if str(number) not in present:
        raise InvalidInputError(f"{model} has no version {number}", reason=Reason.CONFIG_INVALID)
    written = {int(entry.name) for entry in (repository / model).iterdir() if entry.name.isdecimal()}
    return sorted((written | set(map(int, present))) - {number})


def number_of(repository: Path, model: str, model_version: str) -> int | None:
    """Returns the number of a bundle's version; None if it has none.

    Raises:
        InvalidInputError: The repository has no such model.
    """
    known = naming.version_of(existing(repository, model), model_version)
    return int(known) if known else None


def drop_versions(repository: Path, model: str, numbers: Collection[int]) -> None:
    """Removes versions from the configuration; their files stay until :func:`delete_version`.

    Raises:
        InvalidInputError: The repository has no such model.
    """
    config = existing(repository, model)
    for number in numbers:
        naming.drop_version(config, number)
    _serve(config, set(map(int, naming.versions(config))))
    naming.mark_change(config)
    write_config(repository, model, config)


def delete_version(repository: Path, model: str, number: int) -> None:
    """Deletes the files of a version that no configuration names any more."""
    shutil.rmtree(repository / model / str(number), ignore_errors=True)


def delete_model(repository: Path, model: str) -> None:
    """Deletes a model with its configuration and all versions."""
    folder = repository / model
    # The configuration last: by it a folder is known as ours after an interruption.
    for version in folder.glob("[0-9]*"):
        shutil.rmtree(version, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def read_config(repository: Path, model: str) -> Any | None:
    """Returns the ``inference.ModelConfig`` of a model; None if the repository has no such model.

    A folder that an interrupted first export left does not count.

    Raises:
        InvalidInputError: The configuration is damaged, or not one of ours.
    """
    folder = repository / model
    if not folder.exists() or _is_unfinished(folder):
        return None
    try:
        config = text_format.Parse((folder / CONFIG_NAME).read_text(encoding="utf-8"), pb.ModelConfig())
    except (OSError, text_format.ParseError, UnicodeDecodeError) as error:
        raise _not_ours(folder) from error
    if not naming.versions(config):
        raise _not_ours(folder)
    return config


def write_config(repository: Path, model: str, config: Any) -> None:
    """Puts a configuration in the place of the one that the model has, in one step."""
    replace_file(repository / model / CONFIG_NAME, text_format.MessageToString(config).encode())


def _new_config(bundle: Bundle, model: str) -> Any:
    size = bundle.preprocess.size
    config = pb.ModelConfig(name=model, backend="onnxruntime")
    config.input.add(name="images", data_type=pb.TYPE_FP32, dims=[3, size, size])
    for name, width in bundle.outputs.items():
        config.output.add(name=name, data_type=pb.TYPE_FP32, dims=[width])
    config.instance_group.add(count=1, kind=pb.ModelInstanceGroup.KIND_CPU)
    _set_max_batch(config, _MAX_BATCH)
    return config


def _apply(config: Any, options: RepositoryOptions) -> None:
    """Changes what the options name, and nothing else: an earlier call or a person may have set the rest."""
    if options.backend is not None:
        config.backend = options.backend
    for group in config.instance_group:
        if options.device is not None:
            group.kind = _KINDS[options.device]
        if options.instances is not None:
            group.count = options.instances
    if options.max_batch is not None:
        _set_max_batch(config, options.max_batch)
    if options.threads is not None:
        config.parameters.pop(_THREADS, None)
        if options.threads:
            config.parameters[_THREADS].string_value = str(options.threads)


def _set_max_batch(config: Any, max_batch: int) -> None:
    config.max_batch_size = max_batch
    # No default_queue_policy and no delay: a policy stalls single instances for half a second at random
    # (triton-inference-server/server#8870), a delay is added to every lone request. Clients set deadlines.
    config.dynamic_batching.preferred_batch_size[:] = _preferred_sizes(max_batch)
    # Without a delay any size comes up, and backends prepare each again: cuDNN looks for its algorithms.
    del config.model_warmup[:]
    for batch in range(1, max_batch + 1):
        warm_up = config.model_warmup.add(name=f"batch-{batch}", batch_size=batch)
        tensor = warm_up.inputs["images"]
        tensor.data_type, tensor.random_data = pb.TYPE_FP32, True
        tensor.dims.extend(config.input[0].dims)


def _preferred_sizes(max_batch: int) -> list[int]:
    """Returns the powers of two up to ``max_batch``, and itself, without 1."""
    return sorted({2**power for power in range(max_batch.bit_length())} | {max_batch})[1:]


def _check_fits(config: Any, bundle: Bundle, options: RepositoryOptions) -> None:
    """Refuses what the model's other versions do not share: one configuration is for all of them."""
    new = _new_config(bundle, options.model)
    for field in ("input", "output"):
        one = {tensor.name: list(tensor.dims) for tensor in getattr(config, field)}
        other = {tensor.name: list(tensor.dims) for tensor in getattr(new, field)}
        if one != other:
            raise FailedPreconditionError(
                f"the versions of {options.model} have {field}s {one}, this bundle has {other}; a model in "
                "Triton has one shape: export this bundle under another --model",
                reason=Reason.MODEL_VERSION_MISMATCH,
            )
    if options.backend not in (None, config.backend):
        raise FailedPreconditionError(
            f"the versions of {options.model} are for Triton's {config.backend} backend, and a model has "
            f"one: leave --backend out, or export for {options.backend} under another --model",
            reason=Reason.MODEL_VERSION_MISMATCH,
        )


@contextmanager
def _version_files(folder: Path, number: int, bundle: Bundle, backend: str) -> Iterator[None]:
    """Puts the files of a version in place; what was there before comes back if the caller fails.

    The scratch folder stays until the caller is done: by it a folder without a configuration is known as
    ours after an interruption.
    """
    target = folder / str(number)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=folder) as scratch:
        fresh, old = Path(scratch) / "version", Path(scratch) / "old"
        fresh.mkdir()
        shutil.copyfile(bundle.network_path, fresh / NETWORK_NAME)
        if sha256_of(fresh / NETWORK_NAME) != bundle.manifest.network_sha256:
            raise InvalidInputError(
                f"{NETWORK_NAME} changed while it was copied; export again", reason=Reason.BUNDLE_INVALID
            )
        if backend == "python":
            shutil.copyfile(_MODEL_PY, fresh / "model.py")
        try:
            replace_folder(fresh, target, old)
            yield
        except BaseException:
            if not fresh.exists():
                target.rename(fresh)
            if old.exists():
                old.rename(target)
            raise


def _is_unfinished(folder: Path) -> bool:
    """Returns whether a folder holds nothing but what an interrupted first export left.

    Version folders alone do not prove that: models of other people need not have a configuration.
    """
    if not folder.is_dir():
        return False
    names = {entry.name for entry in folder.iterdir()}
    scratch = {name for name in names if name.startswith(_SCRATCH_PREFIX)}
    return not names or (bool(scratch) and all(map(str.isdecimal, names - scratch - {_PART_NAME})))


def _serve(config: Any, numbers: set[int]) -> None:
    del config.version_policy.specific.versions[:]
    config.version_policy.specific.versions.extend(sorted(numbers))


def existing(repository: Path, model: str) -> Any:
    """Returns the ``inference.ModelConfig`` of a model.

    Raises:
        InvalidInputError: The repository has no such model, or not one of ours.
    """
    config = read_config(repository, model)
    if config is None:
        raise InvalidInputError(f"{repository} has no model {model}", reason=Reason.CONFIG_INVALID)
    return config


def _not_ours(folder: Path) -> InvalidInputError:
    return InvalidInputError(
        f"{folder} exists and was not written by `lookalike export`; choose another folder or --model",
        reason=Reason.CONFIG_INVALID,
    )

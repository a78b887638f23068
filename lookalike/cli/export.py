"""``lookalike export``: a model bundle for Triton, and as int8 for CPUs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from embedder.triton.naming import DEFAULT_MODEL, check_model
from lookalike.catalogue.catalog import Catalog, read_catalog
from lookalike.cli.console import note, print_json
from lookalike.cli.options import AsJson
from lookalike.errors import InvalidInputError, Reason

if TYPE_CHECKING:
    from embedder.bundle import Bundle
    from embedder.triton.repository import RepositoryOptions

_CALIBRATION_PHOTOS = 128
_SIMULATED_PRODUCTS = 32

BundleFolder = Annotated[Path, typer.Option("--bundle", help="Folder of the model bundle.")]
# Where one is not given, the model stays as it is; each help ends with what a new model gets.
TritonBackend = Annotated[
    Literal["onnxruntime", "python"] | None,
    typer.Option(
        "--backend",
        help="Triton's ONNX Runtime backend, which the official images have, or its Python backend; "
        "new models: onnxruntime.",
    ),
]
ModelName = Annotated[str, typer.Option("--model", help="Name of the model in Triton.", callback=check_model)]
Device = Annotated[
    Literal["cpu", "gpu"] | None, typer.Option(help="What the model's instances run on; new models: cpu.")
]
Instances = Annotated[
    int | None, typer.Option(min=1, max=64, help="Instances, per GPU if on GPUs; new models: 1.")
]
MaxBatch = Annotated[
    int | None, typer.Option(min=1, max=256, help="Pictures that Triton merges at most; new models: 16.")
]
Threads = Annotated[
    int | None, typer.Option(min=0, help="CPU threads of an instance, 0: one per core; new models: 0.")
]


def export(
    bundle: BundleFolder,
    triton: Annotated[Path | None, typer.Option(help="Folder of a Triton model repository.")] = None,
    backend: TritonBackend = None,
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    instances: Instances = None,
    max_batch: MaxBatch = None,
    threads: Threads = None,
    int8: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write an int8 bundle here, and export that one.")
    ] = None,
    catalog: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Calibrates int8 and measures its cost; default: simulated photos."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a bundle to a Triton model repository as the model's next version, or make it int8, or both."""
    from embedder.bundle import load_bundle

    if triton is None and int8 is None:
        raise InvalidInputError("name what to write: --triton DIR, --int8 OUT, or both", field="--triton")
    loaded = load_bundle(bundle)
    report: dict[str, Any] = {"bundle": str(bundle), "model_version": loaded.model_version}
    if int8 is not None:
        loaded, figures = _quantise(loaded, int8, read_catalog(catalog) if catalog else None)
        report |= {"int8": str(int8), "model_version": loaded.model_version, **figures}
    if triton is not None:
        from embedder.triton.repository import write_version

        options = repository_options(
            backend=backend,
            model=model,
            device=device,
            instances=instances,
            max_batch=max_batch,
            threads=threads,
        )
        report |= {
            "repository": str(triton),
            "model": model,
            "version": write_version(triton, loaded, options),
        }
    if as_json:
        print_json(report)
        return
    for name, value in report.items():
        print(f"{name:20} {value:.5f}" if isinstance(value, float) else f"{name:20} {value}")


def repository_options(**flags: Any) -> RepositoryOptions:
    """Makes options of the flags that say how Triton shall run a model.

    Raises:
        InvalidInputError: The packages for Triton are not installed.
    """
    try:
        from embedder.triton.repository import RepositoryOptions
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"Triton needs the package {error.name}; install lookalike[serve-embedder]",
            reason=Reason.CONFIG_INVALID,
        ) from error
    return RepositoryOptions(**flags)


def _quantise(bundle: Bundle, out: Path, catalogue: Catalog | None) -> tuple[Bundle, dict[str, float]]:
    try:
        from embedder.quantise import check_quantisable, quantise
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"int8 needs the package {error.name}; install lookalike[train]", reason=Reason.CONFIG_INVALID
        ) from error
    check_quantisable(bundle, out)
    with tempfile.TemporaryDirectory(prefix="lookalike-") as scratch:
        if catalogue is None:
            note("Simulating photos to calibrate int8 with ...")
        photos = _photos(catalogue) if catalogue else _photos(_simulate(Path(scratch)))
        note(f"Calibrating int8 on {len(photos) // 2} photos ...")
        written, _ = quantise(bundle, out, photos, catalogue)
    figures = written.manifest.metrics
    return written, {name: value for name, value in figures.items() if name.startswith("int8_")}


def _simulate(folder: Path) -> Catalog:
    from lookalike.synth import generate

    return read_catalog(generate(folder, products=_SIMULATED_PRODUCTS, views=4, seed=1, image_size=256))


def _photos(catalogue: Catalog) -> Sequence[Path]:
    """Returns photos spread over the training rows."""
    items, _ = catalogue.training_items()
    step = max(1, len(items) // _CALIBRATION_PHOTOS)
    return [item.image_path for item in items[::step]][:_CALIBRATION_PHOTOS]

"""``lookalike train``: a model bundle from a catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.catalog import read_catalog
from lookalike.cli.console import Update, note, plain, print_json, progress
from lookalike.cli.options import AsJson, CatalogFile

if TYPE_CHECKING:
    from embedder.training.train import TrainResult

_STAGES = {"features": "Backbone features", "train": "Training epochs", "export": "Exporting"}
_BAD_PHOTOS_SHOWN = 20


def train(
    catalog: CatalogFile,
    out: Annotated[Path, typer.Option(help="Folder to write the model bundle to.")],
    backbone: Annotated[
        str | None, typer.Option(help="Name of a timm architecture; default: EfficientNet-Lite0.")
    ] = None,
    backbone_weights: Annotated[
        Path | None, typer.Option(help="File with the backbone's weights; default: pretrained ones.")
    ] = None,
    dimension: Annotated[int | None, typer.Option(min=1, help="Width of the embedding.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the photos.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps backbone features.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a catalogue: on its train rows, else on those to be indexed."""
    rows = read_catalog(catalog)

    from embedder.model.backbone import DEFAULT_ARCHITECTURE, BackboneSpec
    from embedder.training.config import TrainConfig
    from embedder.training.train import train as run_training

    given: dict[str, Any] = {"embedding_dim": dimension, "epochs": epochs, "cache_folder": cache}
    config = TrainConfig(
        backbone=BackboneSpec(backbone or DEFAULT_ARCHITECTURE, backbone_weights),
        seed=seed,
        **{name: value for name, value in given.items() if value is not None},
    )
    start = time.monotonic()
    with training_progress() as on_progress:
        result = run_training(rows, out, config, on_progress)
    seconds = time.monotonic() - start
    if as_json:
        print_json(
            {
                "bundle": str(out),
                "model_version": result.bundle.model_version,
                "dimension": result.bundle.dim,
                "trained_on": result.trained_on,
                "rows": result.rows,
                "bad_photos": {str(photo): problem for photo, problem in result.bad_photos.items()},
                "metrics": result.metrics,
                "seconds": round(seconds, 2),
            }
        )
    else:
        note(f"Wrote {out} in {seconds:.1f} s.")
        describe_training(result)


@contextmanager
def training_progress(label: str = "") -> Iterator[Callable[[str, int, int, Mapping[str, float]], None]]:
    """Shows a training run; yields what the run reports to. Each of its stages gets its own bar."""
    with ExitStack() as stack:
        shown = ""
        update: Update | None = None

        def on_progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            nonlocal shown, update
            del figures
            if stage != shown or update is None:
                stack.close()
                shown = stage
                update = stack.enter_context(progress(f"{label} {_STAGES.get(stage, stage)}".strip()))
            update(done, total)

        yield on_progress


def describe_training(result: TrainResult) -> None:
    """Prints what a training run did: one line, and one for each photo that was left out."""
    accuracies = ", ".join(
        f"{name.replace('_accuracy_', ' ')} {value:.3f}"
        for name, value in result.metrics.items()
        if "_accuracy_" in name and not name.endswith("_macro")
    )
    note(
        f"model {result.bundle.model_version}: {result.bundle.dim} dimensions, trained on {result.rows:,}"
        f" {result.trained_on} photos" + (f"; accuracy: {accuracies}" if accuracies else "")
    )
    for photo, problem in list(result.bad_photos.items())[:_BAD_PHOTOS_SHOWN]:
        note(f"left out: {photo.name}: {plain(problem)}")

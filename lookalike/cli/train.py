"""``lookalike train``: a model bundle from a catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lookalike.catalog import read_catalog
from lookalike.cli.console import SECONDS_BETWEEN_LINES, note, plain, print_json, stderr
from lookalike.cli.options import AsJson, CatalogFile

if TYPE_CHECKING:
    from embedder.training.train import TrainResult

_STAGES = {
    "features": "Backbone features",
    "train": "Training the head",
    "fine-tune": "Fine-tuning",
    "export": "Exporting",
}
_BAD_PHOTOS_SHOWN = 20

_MODEL, _LOSSES, _LOOP, _MACHINE = "Model", "Losses", "Training", "Machine and files"


def train(
    catalog: CatalogFile,
    out: Annotated[Path, typer.Option(help="Folder to write the model bundle to.")],
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Name of a timm architecture; default: EfficientNet-Lite0.", rich_help_panel=_MODEL
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(
            help="File with the backbone's weights; default: pretrained ones.", rich_help_panel=_MODEL
        ),
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(min=1, help="Width of the embedding.", rich_help_panel=_MODEL)
    ] = None,
    head: Annotated[
        Literal["hierarchical", "flat", "none"] | None,
        typer.Option(
            help="Deep hierarchical classifier; or a baseline: one softmax over the leaves, or the plain"
            " backbone.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    whitening: Annotated[
        bool,
        typer.Option("--whitening", help="With --head none: whiten the features.", rich_help_panel=_MODEL),
    ] = False,
    beta: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Weight of the dependence loss.", rich_help_panel=_LOSSES),
    ] = None,
    class_balance: Annotated[
        float | None,
        typer.Option(
            min=0, help="Beta of the effective number of samples, below 1; 0: off.", rich_help_panel=_LOSSES
        ),
    ] = None,
    metric_loss: Annotated[
        Literal["proxy_anchor", "arcface", "supcon", "himulcon", "none"] | None,
        typer.Option(help="Loss on product ids.", rich_help_panel=_LOSSES),
    ] = None,
    hard_negatives: Annotated[
        bool,
        typer.Option(
            "--hard-negatives", help="Mine hard pairs for the metric loss.", rich_help_panel=_LOSSES
        ),
    ] = False,
    identity: Annotated[
        Literal["product", "pseudo"] | None,
        typer.Option(
            help="One product: one product id; or near-equal photos and equal titles of a category.",
            rich_help_panel=_LOSSES,
        ),
    ] = None,
    title_loss: Annotated[
        Literal["softmax", "bce", "none"] | None,
        typer.Option(help="Words of the titles as further targets.", rich_help_panel=_LOSSES),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the cached features.", rich_help_panel=_LOOP)
    ] = None,
    sampler: Annotated[
        Literal["shuffle", "class", "product"] | None,
        typer.Option(help="How batches are drawn.", rich_help_panel=_LOOP),
    ] = None,
    fine_tune: Annotated[
        bool,
        typer.Option(
            "--fine-tune", help="Then train the backbone too, on altered pictures.", rich_help_panel=_LOOP
        ),
    ] = False,
    fine_tune_epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes while fine-tuning.", rich_help_panel=_LOOP)
    ] = None,
    fine_tune_stages: Annotated[
        int | None,
        typer.Option(min=1, help="Only that many last stages of the backbone.", rich_help_panel=_LOOP),
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            min=0, help="Share of products to validate on where there are no val rows.", rich_help_panel=_LOOP
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1, help="Stop after so many epochs without a better validation.", rich_help_panel=_LOOP
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed gives the same model.", rich_help_panel=_LOOP)
    ] = 0,
    max_bad_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Unreadable photos to put up with; 0.01.", rich_help_panel=_LOOP),
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="GPUs to train on.", rich_help_panel=_MACHINE)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that prepare pictures.", rich_help_panel=_MACHINE),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps backbone features.", rich_help_panel=_MACHINE)
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of checkpoints, TensorBoard logs and the report; default: OUT.training.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    checkpoint_seconds: Annotated[
        float | None, typer.Option(min=0, help="Time between checkpoints; 60.", rich_help_panel=_MACHINE)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the stopped run of this folder.", rich_help_panel=_MACHINE),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on a catalogue: on its train rows, else on those to be indexed."""
    rows = read_catalog(catalog)

    from embedder.model.backbone import DEFAULT_ARCHITECTURE, BackboneSpec
    from embedder.training.config import TrainConfig
    from embedder.training.train import train as run_training

    given: dict[str, Any] = {
        "embedding_dim": dimension,
        "head": head,
        "dependence_weight": beta,
        "class_balance": class_balance,
        "metric_loss": metric_loss,
        "identity": identity,
        "title_loss": title_loss,
        "epochs": epochs,
        "sampler": sampler,
        "fine_tune_epochs": fine_tune_epochs,
        "fine_tune_stages": fine_tune_stages,
        "hold_out": hold_out,
        "patience": patience,
        "max_bad_share": max_bad_share,
        "devices": devices,
        "workers": workers,
        "cache_folder": cache,
        "checkpoint_seconds": checkpoint_seconds,
    }
    for name, value in (("class_balance", class_balance), ("hold_out", hold_out)):
        if value is not None and value >= 1:
            raise typer.BadParameter(f"{value} is not below 1", param_hint=f"--{name.replace('_', '-')}")
    config = TrainConfig(
        backbone=BackboneSpec(backbone or DEFAULT_ARCHITECTURE, backbone_weights),
        seed=seed,
        whitening=whitening,
        hard_negatives=hard_negatives,
        fine_tune=fine_tune,
        run_folder=run or out.with_name(f"{out.name}.training"),
        **{name: value for name, value in given.items() if value is not None},
    )
    start = time.monotonic()
    with training_progress() as on_progress:
        result = run_training(rows, out, config, on_progress, resume=resume)
    seconds = time.monotonic() - start
    if as_json:
        print_json(_as_json(result, out, seconds))
    else:
        note(f"Wrote {out} in {seconds:.1f} s.")
        describe_training(result)


def _as_json(result: TrainResult, out: Path, seconds: float) -> dict[str, Any]:
    return {
        "bundle": str(out),
        "model_version": result.bundle.model_version,
        "dimension": result.bundle.dim,
        "trained_on": result.trained_on,
        "rows": result.rows,
        "bad_photos": {str(photo): problem for photo, problem in result.bad_photos.items()},
        "metrics": result.metrics,
        "report": str(result.report) if result.report else None,
        "seconds": round(seconds, 2),
    }


@contextmanager
def training_progress(label: str = "") -> Iterator[Callable[[str, int, int, Mapping[str, float]], None]]:
    """Shows a training run; yields what the run reports to. Each of its stages gets its own bar."""
    with ExitStack() as stack:
        shown = ""
        update: Callable[[int, int, str], None] | None = None

        def on_progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            nonlocal shown, update
            if stage != shown or update is None:
                stack.close()
                shown = stage
                update = stack.enter_context(_bar(f"{label} {_STAGES.get(stage, stage)}".strip()))
            update(done, total, _remark(figures))

        yield on_progress


def _remark(figures: Mapping[str, float]) -> str:
    """Tells the loss and how fast training is, as far as they are known."""
    parts = []
    if "loss" in figures:
        parts.append(f"loss {figures['loss']:.3f}")
    if "photos_per_second" in figures:
        parts.append(f"{figures['photos_per_second']:,.0f} photos/s")
    return ", ".join(parts)


@contextmanager
def _bar(description: str) -> Iterator[Callable[[int, int, str], None]]:
    """Shows steps done, time left and a remark: a bar on a terminal, else a line now and then."""
    if not stderr.is_terminal:
        yield _lines(description)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(description, total=None, remark="")

        def update(done: int, total: int, remark: str) -> None:
            bar.update(task, completed=done, total=total or None, remark=remark)

        yield update


def _lines(description: str) -> Callable[[int, int, str], None]:
    start = last = time.monotonic()
    first = -1

    def update(done: int, total: int, remark: str) -> None:
        nonlocal last, first
        first = done if first < 0 else first
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        left = (total - done) * (now - start) / (done - first) if done > first else None
        eta = f", about {left:.0f} s left" if left is not None else ""
        note(
            f"{description}: {done:,} of {total:,} after {now - start:.0f} s{eta}"
            + (f" ({remark})" if remark else "")
        )

    return update


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
    if result.report:
        note(f"report: {result.report}")
    if result.bad_photos:
        note(f"{len(result.bad_photos)} photos could not be read")
    for photo, problem in list(result.bad_photos.items())[:_BAD_PHOTOS_SHOWN]:
        note(f"left out: {photo.name}: {plain(problem)}")

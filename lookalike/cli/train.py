"""``lookalike train``: a model bundle from a catalogue."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lookalike.cli.catalogs import CatalogFormat, Format, SplitByProduct, open_catalog
from lookalike.cli.console import Progressing, counted, note, plain, print_json, progress
from lookalike.cli.options import AsJson, CatalogFile
from lookalike.cli.training_options import (
    BackboneName,
    BackboneWeights,
    Beta,
    CacheFolder,
    CheckpointSeconds,
    ClassBalance,
    CropToObject,
    Devices,
    Dimension,
    Epochs,
    FeatureStages,
    FineTune,
    FineTuneEpochs,
    FineTuneStages,
    Fit,
    HardNegatives,
    Head,
    HoldOut,
    Identity,
    InputSize,
    MaxBadShare,
    MetricLoss,
    Mirror,
    OutBundle,
    Patience,
    Pooling,
    Resume,
    RunFolder,
    Sampler,
    Seed,
    Settings,
    TitleLoss,
    Whitening,
    Workers,
)
from lookalike.errors import shown

if TYPE_CHECKING:
    from embedder.training.config import TrainConfig
    from embedder.training.train import TrainResult

_STAGES = {
    "features": "Backbone features",
    "train": "Training the head",
    "guard": "Heads of half the products",
    "activations": "Altered copies",
    "fine-tune": "Fine-tuning",
    "calibrate": "Calibrating",
    "export": "Exporting",
}
_BAD_PHOTOS_SHOWN = 20

# Options whose settings have another name, then those that are called like them.
_SETTINGS = {"dimension": "embedding_dim", "beta": "dependence_weight", "cache": "cache_folder"} | {
    name: name
    for name in (
        *("head", "whitening", "class_balance", "metric_loss", "hard_negatives", "identity", "title_loss"),
        *("epochs", "sampler", "fine_tune", "fine_tune_epochs", "fine_tune_stages", "hold_out", "patience"),
        *("seed", "max_bad_share", "devices", "workers", "checkpoint_seconds"),
    )
}

_OF_THE_BACKBONE = ("input_size", "fit", "crop_to_object", "mirror", "pooling", "feature_stages")


def train(
    catalog: CatalogFile,
    out: OutBundle,
    backbone: BackboneName = None,
    backbone_weights: BackboneWeights = None,
    input_size: InputSize = 0,
    fit: Fit = "pad_white",
    crop_to_object: CropToObject = False,
    mirror: Mirror = False,
    pooling: Pooling = "own",
    feature_stages: FeatureStages = 1,
    dimension: Dimension = None,
    head: Head = None,
    whitening: Whitening = False,
    beta: Beta = None,
    class_balance: ClassBalance = None,
    metric_loss: MetricLoss = None,
    hard_negatives: HardNegatives = False,
    identity: Identity = None,
    title_loss: TitleLoss = None,
    epochs: Epochs = None,
    sampler: Sampler = None,
    fine_tune: FineTune = False,
    fine_tune_epochs: FineTuneEpochs = None,
    fine_tune_stages: FineTuneStages = None,
    hold_out: HoldOut = None,
    patience: Patience = None,
    seed: Seed = None,
    max_bad_share: MaxBadShare = None,
    devices: Devices = None,
    workers: Workers = None,
    cache: CacheFolder = None,
    run: RunFolder = None,
    checkpoint_seconds: CheckpointSeconds = None,
    settings: Settings = None,
    resume: Resume = False,
    catalog_format: Format = CatalogFormat.CSV,
    split_by_product: SplitByProduct = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a catalogue: on its train rows, else on those to be indexed."""
    given = dict(locals())
    # Photos that are not there count among the bad ones, of which some may be allowed.
    rows = open_catalog(catalog, catalog_format, split_by_product, check_images=False)

    from embedder.bundle import check_replaceable
    from embedder.training.train import train as run_training

    check_replaceable(out)  # before its name becomes the run folder's
    config = _config(given, run or out.with_name(f"{out.name}.training"))
    start = time.monotonic()
    try:
        with training_progress() as on_progress:
            result = run_training(rows, out, config, on_progress, resume=resume)
    except KeyboardInterrupt:
        note("Stopped; the same command with --resume goes on with this run.")
        raise
    _say(result, out, time.monotonic() - start, as_json=as_json)


def _say(result: TrainResult, out: Path, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(result, out, seconds))
    else:
        note(f"Wrote {out} in {seconds:.1f} s.")
        describe_training(result)


def _config(given: Mapping[str, Any], run_folder: Path) -> TrainConfig:
    """Turns the options that were given into settings; the others keep their defaults."""
    from embedder.model.backbone import DEFAULT_ARCHITECTURE, BackboneSpec
    from embedder.training.config import make_config

    # A switch that is off was not given, and says no more than its setting's default.
    settings = {
        setting: given[option]
        for option, setting in _SETTINGS.items()
        if given[option] is not None and given[option] is not False
    }
    settings["backbone"] = BackboneSpec(
        given["backbone"] or DEFAULT_ARCHITECTURE,
        given["backbone_weights"],
        **{name: given[name] for name in _OF_THE_BACKBONE},
    )
    settings["run_folder"] = run_folder
    for name, value in map(_named_value, given["settings"] or ()):
        if name in settings:
            raise typer.BadParameter(f"{name} has a value already", param_hint="--set")
        settings[name] = value
    return make_config(settings)


def _named_value(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{shown(text)} is not NAME=VALUE", param_hint="--set")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _as_json(result: TrainResult, out: Path, seconds: float) -> dict[str, Any]:
    return {
        "bundle": str(out),
        "model_version": result.bundle.model_version,
        "dimension": result.bundle.dim,
        "trained_on": result.trained_on,
        "rows": result.rows,
        "bad_photos": {str(photo): problem for photo, problem in result.bad_photos.items()},
        "metrics": result.metrics,
        "match_calibration": result.matching,
        "report": str(result.report) if result.report else None,
        "seconds": round(seconds, 2),
    }


@contextmanager
def training_progress(label: str = "") -> Iterator[Callable[[str, int, int, Mapping[str, float]], None]]:
    """Shows a training run; yields what the run reports to. Each of its stages gets its own bar."""
    with ExitStack() as stack:
        shown = ""
        update: Progressing | None = None

        def on_progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            nonlocal shown, update
            if stage != shown or update is None:
                stack.close()
                shown = stage
                update = stack.enter_context(progress(f"{label} {_STAGES.get(stage, stage)}".strip()))
            update(done, total, _remark(figures))

        yield on_progress


def _remark(figures: Mapping[str, float]) -> str:
    """Names the loss and the speed of training, as far as they are known."""
    parts = []
    if "loss" in figures:
        parts.append(f"loss {figures['loss']:.3f}")
    if "photos_per_second" in figures:
        parts.append(f"{figures['photos_per_second']:,.0f} photos/s")
    return ", ".join(parts)


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
    calibrated = result.bundle.match_calibration is not None
    error = f", error {result.metrics['match_ece']:.3f}" if calibrated else ""
    note(f"match probabilities: {'' if calibrated else 'none: '}{result.matching}{error}")
    if result.report:
        note(f"report: {result.report}")
    if result.bad_photos:
        note(f"{counted(len(result.bad_photos), 'photo')} could not be read")
    for photo, problem in list(result.bad_photos.items())[:_BAD_PHOTOS_SHOWN]:
        note(f"left out: {photo}: {plain(problem)}")

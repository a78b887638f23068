"""Train a model on a catalogue: cached features, the head, optionally the whole network, then export."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from embedder.bundle import Bundle, check_replaceable
from embedder.export import export_bundle
from embedder.model.network import EmbeddingNetwork
from embedder.training.callbacks import Figures
from embedder.training.config import TrainConfig
from embedder.training.devices import check_hardware, end_parallel_training, is_first_process
from embedder.training.matching import calibrate_matches
from embedder.training.report import write_report
from embedder.training.run import Progress, TrainingRun
from embedder.training.run_folder import check_apart, check_run_folder, open_run_folder, run_folder_locked
from lookalike.catalogue.catalog import Catalog
from lookalike.files.disk import writing


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run did.

    Attributes:
        bundle: The written model.
        rows: Photos trained on.
        trained_on: The split that they come from: ``train``, or ``index`` where there is none.
        bad_photos: Photos that could not be read, with the reason; left out.
        metrics: Accuracy per level on the training rows and, where there are, on the validation rows; where
            probabilities were calibrated, their error ``match_ece``.
        history: By stage, each epoch's mean losses, gradient norms and validation figures.
        report: The report; None without a run folder.
        matching: What calibrates the probabilities of its hits, or why nothing does.
    """

    bundle: Bundle
    rows: int
    trained_on: str
    bad_photos: dict[Path, str]
    metrics: dict[str, float]
    history: dict[str, list[Figures]] = field(default_factory=dict)
    report: Path | None = None
    matching: str = ""


def train(
    catalog: Catalog, out_bundle: Path, config: TrainConfig, progress: Progress, *, resume: bool = False
) -> TrainResult:
    """Trains on a catalogue's ``train`` rows (else its ``index`` rows) and writes a model bundle.

    Args:
        catalog: The catalogue.
        out_bundle: Folder of the bundle; an existing bundle there is replaced at the end.
        config: The settings.
        progress: Called at each stage.
        resume: Go on with the run of the same settings that the run folder holds; the result is the
            one that it would have had without the stop.

    Raises:
        InvalidInputError: Fewer than two photos to train on, too many unreadable ones, unfit settings,
            a run folder of another run, damaged checkpoints, training that diverges, or
            ``out_bundle`` holds something other than a bundle.
        FailedPreconditionError: Another process trains in the run folder, or the cache cannot be used.
        OSError: The disk is full; its file name is the folder or file that could not be written.
        KeyboardInterrupt: Ctrl-C; while steps are done after the current one, which is kept for ``resume``.
        SystemExit: With status 0, in the further processes that Lightning starts for ``devices`` > 1, once
            they have done their part.
    """
    check_replaceable(out_bundle)
    check_hardware(config)
    first = is_first_process()
    if config.run_folder:
        check_apart(config.run_folder, out_bundle)
        check_run_folder(config.run_folder)
    # The further processes train in the folder that the first one has locked.
    with run_folder_locked(config.run_folder) if config.run_folder and first else nullcontext():
        return _train(catalog, out_bundle, config, progress, resume=resume, first=first)


def _train(
    catalog: Catalog, out_bundle: Path, config: TrainConfig, progress: Progress, *, resume: bool, first: bool
) -> TrainResult:
    run = TrainingRun(catalog, config, progress if first else _silent)
    provenance = run.provenance()
    if config.run_folder:
        # The first process has opened the folder before it starts the others.
        open_run_folder(config.run_folder, provenance, resume=resume or not first)
    # Checkpoints and TensorBoard's logs; the latter does not name what it could not write.
    with writing(config.run_folder) if config.run_folder else nullcontext():
        head, history = run.train()
    end_parallel_training()
    if not first:
        raise SystemExit(0)  # one process writes the model; the others have done their part
    outcomes = run.outcomes(head)
    metrics = {
        f"{name}_{figure}": value
        for name, outcome in outcomes.items()
        for figure, value in (outcome.accuracies() if name == "train" else outcome.figures()).items()
    }
    if run.guarded:
        metrics |= {
            "guard_backbone_recall@1": run.guarded.backbone,
            "guard_recall@1": run.guarded.recalls[run.guarded.share],
            "guard_share": run.guarded.share,
        }
    matched = calibrate_matches(run, head, progress)
    if matched.calibration:
        metrics["match_ece"] = matched.figures()["ece"]
    progress("export", 0, 1, metrics)
    bundle = export_bundle(
        EmbeddingNetwork(
            run.backbone.module,
            None if config.is_backbone_alone else head,
            mirror=run.backbone.mirror,
        ),
        out_bundle,
        dim=run.backbone.dim if config.is_backbone_alone else config.embedding_dim,
        taxonomy=run.taxonomy,
        preprocess=run.backbone.preprocess,
        provenance=provenance,
        metrics=metrics,
        match_calibration=matched.calibration,
    )
    report = None
    if config.run_folder:
        folder = config.run_folder / "report"
        with writing(folder):
            report = write_report(folder, outcomes, history, metrics, matched, run.bad_photos, provenance)
    progress("export", 1, 1, metrics)
    rows, bad_photos = len(run.rows.items), run.bad_photos
    return TrainResult(bundle, rows, run.split, bad_photos, metrics, history, report, matched.how)


def _silent(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """Keeps a further process quiet about what the first one reports."""

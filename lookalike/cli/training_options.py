"""The options of ``lookalike train``, each as the type of a parameter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_MODEL, _LOSSES, _LOOP, _MACHINE = "Model", "Losses", "Training", "Machine and files"

OutBundle = Annotated[Path, typer.Option(help="Folder to write the model bundle to.")]
BackboneName = Annotated[
    str | None,
    typer.Option(
        help="Name of a timm model, hf-hub:REPOSITORY or local-dir:FOLDER; default: EfficientNet-Lite0."
        " docs/backbones.md has some to choose from.",
        rich_help_panel=_MODEL,
    ),
]
BackboneWeights = Annotated[
    Path | None,
    typer.Option(
        help="File with its weights (.pth, .safetensors), of timm, open_clip, transformers or its own"
        " repository; default: EfficientNet-Lite's are at hand, others downloaded.",
        rich_help_panel=_MODEL,
    ),
]
InputSize = Annotated[
    int,
    typer.Option(
        min=0,
        help="Side of the backbone's pictures in pixels; 0, the default: its own.",
        rich_help_panel=_MODEL,
    ),
]
Fit = Annotated[
    Literal["pad_white", "stretch", "crop", "own"],
    typer.Option(
        help="How a photo becomes a square: white on two sides, stretched, its middle, or as the backbone's"
        " authors evaluated it.",
        rich_help_panel=_MODEL,
    ),
]
CropToObject = Annotated[
    bool,
    typer.Option(
        "--crop-to-object",
        help="Cut photos with a border of one colour to what they show.",
        rich_help_panel=_MODEL,
    ),
]
Mirror = Annotated[
    bool,
    typer.Option(
        "--mirror",
        help="Encode each photo's mirror image too, and take the mean; twice the work.",
        rich_help_panel=_MODEL,
    ),
]
Pooling = Annotated[
    Literal["own", "avg", "max", "avgmax", "token", "map"],
    typer.Option(
        help="What of the backbone's last layer becomes the feature; own: what it was trained with.",
        rich_help_panel=_MODEL,
    ),
]
FeatureStages = Annotated[
    int,
    typer.Option(
        min=1,
        help="Parts of the backbone that give the feature: 1, its end; 2, the stage before it as well.",
        rich_help_panel=_MODEL,
    ),
]
Dimension = Annotated[
    int | None, typer.Option(min=1, help="Width of the embedding; default: 256.", rich_help_panel=_MODEL)
]
Head = Annotated[
    Literal["hierarchical", "flat", "none"] | None,
    typer.Option(
        help="Deep hierarchical classifier (default); or a baseline: one softmax over the leaves, or the"
        " plain backbone.",
        rich_help_panel=_MODEL,
    ),
]
Whitening = Annotated[
    bool,
    typer.Option("--whitening", help="With --head none: whiten the features.", rich_help_panel=_MODEL),
]
Beta = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Weight of the dependence loss, against classes that are not children of those above;"
        " default: 0.8.",
        rich_help_panel=_LOSSES,
    ),
]
ClassBalance = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Weigh rare classes more: 0, the default, not at all; towards 1 (0.999) by 1 / their number.",
        rich_help_panel=_LOSSES,
    ),
]
MetricLoss = Annotated[
    Literal["proxy_anchor", "arcface", "supcon", "himulcon", "none"] | None,
    typer.Option(
        help="Loss that pulls photos of one product together; default: proxy_anchor.", rich_help_panel=_LOSSES
    ),
]
HardNegatives = Annotated[
    bool,
    typer.Option("--hard-negatives", help="Mine hard pairs for the metric loss.", rich_help_panel=_LOSSES),
]
Identity = Annotated[
    Literal["product", "pseudo"] | None,
    typer.Option(
        help="What is one product: its product id (default); or pseudo: near-equal photos or equal"
        " titles of a category.",
        rich_help_panel=_LOSSES,
    ),
]
TitleLoss = Annotated[
    Literal["softmax", "bce", "none"] | None,
    typer.Option(help="Words of the titles as further targets; default: none.", rich_help_panel=_LOSSES),
]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, help="Passes over the cached features; default: 20.", rich_help_panel=_LOOP),
]
Sampler = Annotated[
    Literal["shuffle", "class", "product"] | None,
    typer.Option(
        help="Batches by chance (default), by class evenly, or photos of a product side by side (for"
        " supcon, himulcon).",
        rich_help_panel=_LOOP,
    ),
]
FineTune = Annotated[
    bool,
    typer.Option(
        "--fine-tune", help="Then train the backbone too, on altered pictures.", rich_help_panel=_LOOP
    ),
]
FineTuneEpochs = Annotated[
    int | None, typer.Option(min=1, help="Passes while fine-tuning; default: 10.", rich_help_panel=_LOOP)
]
FineTuneStages = Annotated[
    int | None,
    typer.Option(min=1, help="Fine-tune only that many last stages of the backbone.", rich_help_panel=_LOOP),
]
HoldOut = Annotated[
    float | None,
    typer.Option(
        min=0, help="Share of products to validate on where there are no val rows.", rich_help_panel=_LOOP
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(min=1, help="Stop after so many epochs without a better validation.", rich_help_panel=_LOOP),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="Of initialisation, order and augmentation; default: 0.", rich_help_panel=_LOOP),
]
MaxBadShare = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Share of unreadable photos to tolerate; default: 0.01.", rich_help_panel=_LOOP
    ),
]
Devices = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="GPUs to train on; without a GPU, processes on the CPU; default: 1.",
        rich_help_panel=_MACHINE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="With --fine-tune: processes that prepare pictures; 0, the default: none, in the main process.",
        rich_help_panel=_MACHINE,
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder that keeps backbone features; default: ~/.cache/lookalike.", rich_help_panel=_MACHINE
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder of checkpoints, TensorBoard logs and the report; default: OUT.training.",
        rich_help_panel=_MACHINE,
    ),
]
CheckpointSeconds = Annotated[
    float | None,
    typer.Option(min=0, help="Seconds between checkpoints; default: 60.", rich_help_panel=_MACHINE),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any further setting, such as dropout=0 or level_weights=[1,1,2]; may be repeated."
        " docs/training.md lists them.",
        rich_help_panel=_LOOP,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the stopped run in --run; give the same options again.",
        rich_help_panel=_MACHINE,
    ),
]

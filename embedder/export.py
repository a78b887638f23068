"""Write networks as ONNX model bundles, and refuse those whose ONNX form disagrees with the original.

``python -m embedder.export default --out DIR`` writes the offline default: EfficientNet-Lite0 with
ImageNet weights, without categories.
"""

from __future__ import annotations

import tempfile
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from torch import nn

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, check_replaceable, load_bundle, write_bundle
from embedder.encoder import Encoded
from embedder.golden import GoldenImages, cosine_distance
from embedder.model.backbone import Backbone, BackboneSpec, load_backbone
from embedder.model.network import EmbeddingNetwork
from embedder.model.taxonomy import Taxonomy
from embedder.preprocess import PreprocessParams
from lookalike.catalogue.catalog import LEVELS
from lookalike.errors import InvalidInputError
from lookalike.matching import MatchCalibration

MAX_COSINE_DISTANCE = 1e-4
MAX_PROBABILITY_DIFFERENCE = 1e-3

_PARITY_BATCHES = (1, 5)
_OF_OTHERS = ("quantised_from", "mirror", "pooling", "feature_stages")
"""What a bundle says of itself that is not the default model's, though weights and preprocessing are."""


def export_bundle(
    network: EmbeddingNetwork,
    out: Path,
    *,
    dim: int,
    taxonomy: Taxonomy,
    preprocess: PreprocessParams,
    provenance: dict[str, Any],
    metrics: dict[str, float],
    match_calibration: MatchCalibration | None = None,
) -> Bundle:
    """Converts a network to ONNX, compares the two, and writes the bundle.

    Args:
        network: The network; switched to evaluation mode.
        out: The bundle's folder; see :func:`embedder.bundle.write_bundle` for this and the rest.
        dim: Width of the embedding.
        taxonomy: The category tree.
        preprocess: How pictures must be prepared.
        provenance: How the model came about; the library versions are added.
        metrics: Figures to store with it.
        match_calibration: Makes probabilities of its scores.

    Raises:
        InvalidInputError: ``out`` holds something other than a bundle.
        RuntimeError: The ONNX network's results differ from the original's.
    """
    check_replaceable(out)
    network.eval()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        _to_onnx(network, file, preprocess.size, ["embedding", *LEVELS[: len(taxonomy.paths)]])
        write = partial(
            write_bundle,
            network=file,
            dim=dim,
            taxonomy=taxonomy,
            preprocess=preprocess,
            provenance={**provenance, "versions": _versions()},
            metrics=metrics,
            match_calibration=match_calibration,
        )
        trial = write(Path(scratch) / "bundle")
        check_parity(network, trial)
        return write(out, golden=GoldenImages.of(OnnxEncoder(trial), preprocess))


def check_parity(network: nn.Module, bundle: Bundle) -> float:
    """Compares a bundle with the network it was made from, on seeded noise and several batch sizes.

    Returns:
        The largest cosine distance between the two embeddings of one picture.

    Raises:
        RuntimeError: That is more than :data:`MAX_COSINE_DISTANCE`, or a probability differs by more
            than :data:`MAX_PROBABILITY_DIFFERENCE`.
    """
    encoder = OnnxEncoder(bundle)
    random = np.random.default_rng(0)
    worst = 0.0
    for batch in _PARITY_BATCHES:
        shape = (batch, 3, bundle.preprocess.size, bundle.preprocess.size)
        images = random.normal(size=shape).astype(np.float32)
        with torch.inference_mode():
            expected = [output.numpy() for output in network(torch.from_numpy(images))]
        actual: Encoded = encoder.encode(images)
        distance = cosine_distance(expected[0], actual.embedding)
        # NumPy's maximum: Python's passes over a NaN that is not the first.
        differences = [np.abs(a - b).max() for a, b in zip(expected[1:], actual.probabilities, strict=True)]
        difference = float(np.max(differences, initial=0.0))
        if not (distance <= MAX_COSINE_DISTANCE and difference <= MAX_PROBABILITY_DIFFERENCE):
            raise RuntimeError(
                f"the exported network differs from the original: cosine distance {distance:.2e}, "
                f"probabilities by {difference:.2e}"
            )
        worst = max(worst, distance)
    return worst


def export_backbone_bundle(spec: BackboneSpec, out: Path) -> Bundle:
    """Writes a backbone as a model without categories: its embedding is the unit-norm pooled feature."""
    return export_backbone(load_backbone(spec), spec, out)


def export_backbone(backbone: Backbone, spec: BackboneSpec, out: Path) -> Bundle:
    """Writes a loaded backbone as :func:`export_backbone_bundle` does."""
    return export_bundle(
        EmbeddingNetwork(backbone.module, mirror=backbone.mirror),
        out,
        dim=backbone.dim,
        taxonomy=Taxonomy(),
        preprocess=backbone.preprocess,
        provenance={
            "kind": "backbone",
            "architecture": spec.architecture,
            "weights_sha256": backbone.weights_sha256,
            **spec.choices(),
        },
        metrics={},
    )


def export_default_bundle(out: Path) -> Bundle:
    """Writes the offline default model, unless a valid bundle of it is there already.

    Args:
        out: The bundle's folder.

    Raises:
        InvalidInputError: ``out`` holds something other than a bundle.
    """
    spec = BackboneSpec()
    backbone = load_backbone(spec)
    try:
        present = load_bundle(out)
    except InvalidInputError:
        return export_backbone(backbone, spec, out)
    made_of = present.manifest.provenance
    # A trained model has these weights in it too, and an int8 copy says all that its original says.
    same_kind = made_of.get("kind") == "backbone" and made_of.keys().isdisjoint(_OF_OTHERS)
    same_weights = made_of.get("weights_sha256") == backbone.weights_sha256
    same_input = present.preprocess == backbone.preprocess
    if same_kind and same_weights and same_input and present.manifest.golden_sha256:
        return present
    return export_backbone(backbone, spec, out)


def _to_onnx(network: nn.Module, file: Path, size: int, outputs: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, size, size),),
            str(file),
            input_names=["images"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            # Its graphs run a quarter faster than those of the exporter on TorchScript.
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _strip_traces(file)


def _strip_traces(file: Path) -> None:
    """Removes the exporter's notes on each node: they name source files of the machine that exported.

    A bundle would reveal where it was made, and the same model made elsewhere would have another version.
    """
    model = onnx.load(str(file))
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, str(file))


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "timm", "onnxruntime", "pillow", "numpy")}


app = typer.Typer(add_completion=False, help="Write model bundles.")


@app.callback()
def _group() -> None:
    """Writes model bundles."""


@app.command()
def default(out: Annotated[Path, typer.Option(help="Folder of the bundle.")]) -> None:
    """Writes the offline default model (EfficientNet-Lite0, ImageNet weights)."""
    bundle = export_default_bundle(out)
    typer.echo(f"{bundle.path}: model {bundle.model_version}, {bundle.dim} dimensions")


if __name__ == "__main__":
    app()

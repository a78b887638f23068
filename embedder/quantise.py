"""Eight-bit models for CPUs: weights and activations as int8, calibrated on pictures.

The result is a bundle of its own with its own ``model_version``: its vectors are not quite the float32
model's, and no collection may mix the two. What that costs is measured and kept in its ``metrics``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import NETWORK_NAME, Bundle, check_replaceable, write_bundle
from embedder.encoder import Encoder
from embedder.evaluation.embedding import embed_photos
from embedder.evaluation.measures import first_hits, mean_over_queries
from embedder.evaluation.offline import rank_items
from embedder.golden import GoldenImages
from embedder.photos import read_photo
from embedder.preprocess import PreprocessParams, preprocess
from lookalike.catalogue.catalog import Catalog
from lookalike.catalogue.questions import all_questions
from lookalike.errors import InvalidInputError, Reason

GOLDEN_TOLERANCE = 1e-2
"""Processors with and without VNNI round 8-bit sums differently."""
MIN_PICTURES = 8
_FIRST_KEPT = 2


@dataclass(frozen=True)
class QuantisationCost:
    """What int8 costs in quality.

    Attributes:
        cosine_min: Smallest cosine between a picture's float32 and int8 embedding, over held-out pictures.
        cosine_mean: Their mean.
        recall_at_1_float32: R@1 of a catalogue's queries as ``lookalike evaluate`` has it; None without a
            catalogue, or where no query has a right answer.
        recall_at_1_int8: The same with int8 queries on an int8 index.
    """

    cosine_min: float
    cosine_mean: float
    recall_at_1_float32: float | None = None
    recall_at_1_int8: float | None = None


def quantise(
    bundle: Bundle, out: Path, photos: Sequence[Path], catalogue: Catalog | None = None
) -> tuple[Bundle, QuantisationCost]:
    """Writes an int8 form of a bundle.

    Args:
        bundle: The float32 bundle.
        out: Folder of the new one; see :func:`embedder.bundle.write_bundle`.
        photos: At least :data:`MIN_PICTURES`; every second one calibrates, the others measure the cost.
        catalogue: To measure recall on: rows of split index/both are searched with those of query/both.

    Raises:
        InvalidInputError: There are too few photos, one to calibrate with or to compare is damaged, or
            :func:`check_quantisable` refuses.
    """
    check_quantisable(bundle, out)
    if len(photos) < MIN_PICTURES:
        raise InvalidInputError(
            f"{len(photos)} photos are too few to calibrate int8; give {MIN_PICTURES} or more",
            reason=Reason.CATALOG_INVALID,
        )
    params = bundle.preprocess
    with tempfile.TemporaryDirectory() as scratch:
        prepared, network = Path(scratch) / "prepared.onnx", Path(scratch) / NETWORK_NAME
        quant_pre_process(str(bundle.network_path), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(network),
            _Pictures(photos[::2], params),
            quant_format=QuantFormat.QDQ,
            # Unsigned activations run twice as fast as signed ones on AVX-512 VNNI.
            activation_type=QuantType.QUInt8,
            per_channel=True,
            nodes_to_exclude=_kept_in_float(prepared),
        )
        manifest = bundle.manifest
        parts: dict[str, Any] = {
            "network": network,
            "dim": bundle.dim,
            "taxonomy": bundle.taxonomy,
            "preprocess": params,
            "match_calibration": manifest.match_calibration,
            "provenance": {
                **manifest.provenance,
                "precision": "int8",
                "quantised_from": bundle.model_version,
            },
        }
        trial = write_bundle(Path(scratch) / "bundle", metrics={}, **parts)
        exact, encoder = OnnxEncoder(bundle), OnnxEncoder(trial)
        cost = _cost({"float32": (bundle, exact), "int8": (trial, encoder)}, photos[1::2], catalogue)
        figures = {f"int8_{name}": value for name, value in asdict(cost).items() if value is not None}
        written = write_bundle(
            out,
            metrics={**manifest.metrics, **figures},
            golden=GoldenImages.of(encoder, params, GOLDEN_TOLERANCE),
            **parts,
        )
    return written, cost


def check_quantisable(bundle: Bundle, out: Path) -> None:
    """Refuses a bundle that is int8 already, and a folder that it must not be written to.

    Raises:
        InvalidInputError: Either (``BUNDLE_INVALID``), or ``out`` holds something other than a bundle.
    """
    if "quantised_from" in bundle.manifest.provenance:
        raise InvalidInputError(
            f"{bundle.path} is an int8 bundle already; give the float32 bundle that it was made of",
            reason=Reason.BUNDLE_INVALID,
        )
    if out.resolve() == bundle.path.resolve():
        raise InvalidInputError(
            f"{out} is the float32 bundle itself, which int8 would replace; choose another folder for it",
            reason=Reason.BUNDLE_INVALID,
        )
    check_replaceable(out)


def _kept_in_float(network: Path) -> list[str]:
    """Names the operators that stay in float32: the first two convolutions, and all from the last one on.

    They cost little time, and half of what eight bits lose: measured on EfficientNet-Lite0, a mean cosine
    distance of 0.008 instead of 0.013.
    """
    nodes = onnx.load(str(network), load_external_data=False).graph.node
    convolutions = [position for position, node in enumerate(nodes) if node.op_type == "Conv"]
    kept = set(convolutions[:_FIRST_KEPT])
    if len(convolutions) > _FIRST_KEPT:
        kept.update(range(convolutions[-1], len(nodes)))
    return [nodes[position].name for position in sorted(kept)]


class _Pictures(CalibrationDataReader):
    """Feeds prepared pictures to the calibration, one at a time."""

    def __init__(self, photos: Sequence[Path], params: PreprocessParams) -> None:
        self._pictures: Iterator[npt.NDArray[np.float32]] = (
            preprocess(read_photo(photo), params)[None] for photo in photos
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """Returns the next input, None after the last."""
        picture = next(self._pictures, None)
        return None if picture is None else {"images": picture}


def _cost(
    models: Mapping[str, tuple[Bundle, Encoder]], photos: Sequence[Path], catalogue: Catalog | None
) -> QuantisationCost:
    one, other = (_embed(*model, photos) for model in models.values())
    cosines = (one.astype(np.float64) * other).sum(axis=1)
    recalls = {f"recall_at_1_{name}": _recall_at_1(*model, catalogue) for name, model in models.items()}
    return QuantisationCost(float(cosines.min()), float(cosines.mean()), **recalls)


def _embed(bundle: Bundle, encoder: Encoder, photos: Sequence[Path]) -> npt.NDArray[np.float32]:
    embedded = embed_photos(bundle, encoder, photos, lambda done, total: None)
    for number, problem in embedded.problems.items():
        raise InvalidInputError(f"{photos[number]}: {problem}", reason=Reason.CATALOG_INVALID)
    return embedded.vectors


def _recall_at_1(bundle: Bundle, encoder: Encoder, catalogue: Catalog | None) -> float | None:
    questions = all_questions(catalogue) if catalogue else []
    if catalogue is None or not any(question.relevant for question in questions):
        return None
    indexed = catalogue.index_items()
    rows = {item.item_id: item.image_path for item in [*indexed, *(asked.item for asked in questions)]}
    embedded = embed_photos(bundle, encoder, list(rows.values()), lambda done, total: None)
    vectors = {
        item_id: embedded.vectors[row] for row, item_id in enumerate(rows) if row not in embedded.problems
    }
    outcomes = rank_items(questions, [item.item_id for item in indexed], vectors)
    return mean_over_queries(first_hits(outcomes))

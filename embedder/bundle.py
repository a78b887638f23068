"""The model bundle: a folder with ``model.onnx`` and ``bundle.json`` that says all there is to know about it.

``model.onnx`` maps ``images (B, 3, H, W)`` float32 to ``embedding (B, D)`` float32 of unit norm and, for
each level of the taxonomy, to probabilities ``meta``, ``level2``, ``leaf`` ``(B, C_l)`` float32.
``model_version`` is a hash over the network and the rest of the JSON: equal versions mean equal vectors.
``golden.npz`` holds photos with the embeddings that this network gives them; bundles made before it existed
have none, and are served without that check. It proves the version and is not part of it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, model_validator

from embedder.golden import GoldenImages
from embedder.model.taxonomy import Taxonomy
from embedder.preprocess import PreprocessParams
from lookalike.catalogue.catalog import LEVELS
from lookalike.errors import InvalidInputError, Reason
from lookalike.files.disk import replace_folder, writing
from lookalike.matching import MatchCalibration

SCHEMA = 1
MANIFEST_NAME = "bundle.json"
NETWORK_NAME = "model.onnx"
GOLDEN_NAME = "golden.npz"
_NAMES = {MANIFEST_NAME, NETWORK_NAME, GOLDEN_NAME}
_VERSION_HEX_DIGITS = 16


class BundleManifest(BaseModel):
    """The contents of ``bundle.json``.

    Attributes:
        schema_number: Version of this format (``schema`` in the file).
        dim: Width of the embedding.
        taxonomy: The category tree; without levels if the model does not classify.
        preprocess: Parameters that pictures must be prepared with.
        preprocess_hash: Their hash.
        network_sha256: SHA-256 of ``model.onnx``.
        provenance: How the model came about: catalogue, settings, seed, library versions.
        metrics: Figures measured when it was made.
        golden_sha256: SHA-256 of ``golden.npz``; empty if the bundle has none.
        match_calibration: Makes probabilities of this model's scores; None if it was not calibrated, as are
            bundles made before calibrations existed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_number: int = Field(default=SCHEMA, alias="schema", ge=SCHEMA, le=SCHEMA)
    dim: int = Field(ge=1)
    taxonomy: Taxonomy
    preprocess: PreprocessParams
    preprocess_hash: str
    network_sha256: str
    provenance: dict[str, Any]
    metrics: dict[str, float]
    golden_sha256: str = ""
    match_calibration: MatchCalibration | None = None

    @field_serializer("preprocess")
    def _as_stored(self, params: PreprocessParams) -> dict[str, Any]:
        return params.stored()

    @model_validator(mode="after")
    def _check_preprocess(self) -> BundleManifest:
        self.preprocess.check()
        if self.preprocess_hash != self.preprocess.hash():
            raise ValueError("preprocess_hash does not belong to the preprocessing parameters")
        return self

    def content(self) -> dict[str, Any]:
        """Returns what is written to the file; without the calibration if there is none."""
        absent = set() if self.match_calibration else {"match_calibration"}
        return self.model_dump(mode="json", by_alias=True, exclude=absent)

    def version(self) -> str:
        """Returns the content hash that names this model."""
        identity = {name: value for name, value in self.content().items() if name != "golden_sha256"}
        content = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:_VERSION_HEX_DIGITS]


class Bundle(BaseModel):
    """A verified model on disk."""

    model_config = ConfigDict(frozen=True)

    path: Path
    model_version: str
    manifest: BundleManifest

    @property
    def network_path(self) -> Path:
        """The ONNX file."""
        return self.path / NETWORK_NAME

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.manifest.dim

    def golden(self) -> GoldenImages | None:
        """Reads the golden images; None if the bundle has none.

        Raises:
            InvalidInputError: The file is damaged (``BUNDLE_INVALID``).
        """
        return GoldenImages.load(self.path / GOLDEN_NAME) if self.manifest.golden_sha256 else None

    @property
    def match_calibration(self) -> MatchCalibration | None:
        """Makes probabilities of this model's scores; None if it was not calibrated."""
        return self.manifest.match_calibration

    @property
    def taxonomy(self) -> Taxonomy:
        """The category tree; without levels if the model does not classify."""
        return self.manifest.taxonomy

    @property
    def preprocess(self) -> PreprocessParams:
        """Parameters that pictures must be prepared with."""
        return self.manifest.preprocess

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels that the model classifies, from the root down."""
        return LEVELS[: len(self.taxonomy.paths)]

    @property
    def outputs(self) -> dict[str, int]:
        """The network's outputs in their order: name and width of each."""
        return {"embedding": self.dim, **dict(zip(self.levels, self.taxonomy.sizes, strict=True))}


def load_bundle(path: Path) -> Bundle:
    """Reads and verifies a model bundle.

    Args:
        path: The bundle's folder.

    Raises:
        InvalidInputError: Something is missing, damaged or of another schema (``BUNDLE_INVALID``).
    """
    try:
        stored = json.loads((path / MANIFEST_NAME).read_text(encoding="utf-8"))
        network_sha256 = sha256_of(path / NETWORK_NAME)
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise _invalid(path, f"it has no {missing}") from error
    except (OSError, ValueError) as error:
        raise _invalid(path, f"{MANIFEST_NAME} or {NETWORK_NAME} cannot be read") from error
    if not isinstance(stored, dict):
        raise _invalid(path, f"{MANIFEST_NAME} must hold one JSON object")
    version = stored.pop("model_version", None)
    try:
        manifest = BundleManifest.model_validate(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its content"
        raise _invalid(
            path, f"in {MANIFEST_NAME}, {where}: {first['msg'].removeprefix('Value error, ')}"
        ) from error
    if manifest.network_sha256 != network_sha256:
        raise _invalid(path, f"{NETWORK_NAME} is not the file that {MANIFEST_NAME} describes")
    if manifest.golden_sha256 and not _is_file_of(path / GOLDEN_NAME, manifest.golden_sha256):
        raise _invalid(path, f"{GOLDEN_NAME} is not the file that {MANIFEST_NAME} describes")
    if manifest.version() != version:
        raise _invalid(path, f"{MANIFEST_NAME} was changed after it was written")
    return Bundle(path=path, model_version=manifest.version(), manifest=manifest)


def write_bundle(
    out: Path,
    network: Path,
    *,
    dim: int,
    taxonomy: Taxonomy,
    preprocess: PreprocessParams,
    provenance: dict[str, Any],
    metrics: dict[str, float],
    golden: GoldenImages | None = None,
    match_calibration: MatchCalibration | None = None,
) -> Bundle:
    """Writes a model bundle so that ``out`` is at any time either the old one, absent or the new one.

    Args:
        out: The bundle's folder. An existing bundle there is replaced; any other content is refused.
        network: The ONNX file to copy into it.
        dim: Width of the embedding.
        taxonomy: The category tree.
        preprocess: Parameters that pictures must be prepared with.
        provenance: How the model came about; JSON values only, nothing that changes between equal runs.
        metrics: Figures measured when it was made.
        golden: Photos with this network's embeddings.
        match_calibration: Makes probabilities of its scores.

    Raises:
        InvalidInputError: ``out`` is a file or a folder that holds something else.
        OSError: It cannot be written; where the disk is full, ``out`` is the error's file name.
    """
    with _replacing(out) as fresh:
        shutil.copyfile(network, fresh / NETWORK_NAME)
        if golden is not None:
            golden.save(fresh / GOLDEN_NAME)
        manifest = BundleManifest(
            dim=dim,
            taxonomy=taxonomy,
            preprocess=preprocess,
            preprocess_hash=preprocess.hash(),
            network_sha256=sha256_of(fresh / NETWORK_NAME),
            provenance=provenance,
            metrics=metrics,
            golden_sha256=sha256_of(fresh / GOLDEN_NAME) if golden is not None else "",
            match_calibration=match_calibration,
        )
        # Reading it back in makes the version that of the JSON's values, not of their Python originals.
        manifest = BundleManifest.model_validate_json(manifest.model_dump_json(by_alias=True))
        content = {"model_version": manifest.version(), **manifest.content()}
        (fresh / MANIFEST_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return load_bundle(out)


def copy_bundle(bundle: Bundle, out: Path) -> Bundle:
    """Copies a bundle so that ``out`` is at any time either the old one, absent or the new one.

    See :func:`write_bundle` for what may be there before.

    Raises:
        InvalidInputError: ``out`` is a file or a folder that holds something else.
        OSError: It cannot be written; where the disk is full, ``out`` is the error's file name.
    """
    with _replacing(out) as fresh:
        for name in _NAMES:  # whatever else lies there would make of `out` a folder that is never replaced
            if (bundle.path / name).exists():
                shutil.copyfile(bundle.path / name, fresh / name)
    return load_bundle(out)


def check_replaceable(out: Path) -> None:
    """Refuses a target that holds anything other than a bundle.

    Raises:
        InvalidInputError: ``out`` is a file or a folder with other content, a link to nothing, or a folder
            that cannot be renamed away.
    """
    if out.name in ("", ".."):
        raise InvalidInputError(
            f"{out} cannot be replaced by a model bundle; name a folder in it", reason=Reason.BUNDLE_INVALID
        )
    if out.is_symlink() and not out.exists():
        raise InvalidInputError(
            f"{out} is a link to nothing; remove it or choose another folder", reason=Reason.BUNDLE_INVALID
        )
    if not out.exists():
        return
    if not out.is_dir() or not {entry.name for entry in out.iterdir()} <= _NAMES:
        raise InvalidInputError(
            f"{out} exists and is not a model bundle; choose another folder", reason=Reason.BUNDLE_INVALID
        )


def sha256_of(file: Path) -> str:
    """Returns the SHA-256 (hex) of a file."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Lends an empty folder, and puts it, once it is filled, in the place of ``out``."""
    check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with writing(out), tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir()
        yield fresh
        replace_folder(fresh, out, Path(scratch) / "old")


def _is_file_of(file: Path, sha256: str) -> bool:
    return file.is_file() and sha256_of(file) == sha256


def _invalid(path: Path, problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path} is not a valid model bundle: {problem}; export or train it again",
        reason=Reason.BUNDLE_INVALID,
    )

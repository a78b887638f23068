from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, BundleManifest, copy_bundle, load_bundle, write_bundle
from embedder.model.taxonomy import Taxonomy
from embedder.preprocess import PreprocessParams
from lookalike.errors import InvalidInputError, Reason
from lookalike.matching import MatchCalibration


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def rewrite(folder: Path, bundle: Bundle, **changes: object) -> Bundle:
    parts = {
        "dim": bundle.dim,
        "taxonomy": bundle.taxonomy,
        "preprocess": bundle.preprocess,
        "provenance": {"seed": 1},
        "metrics": {"accuracy": 0.5},
        **changes,
    }
    return write_bundle(folder, bundle.network_path, **parts)  # type: ignore[arg-type]


def assert_refused(folder: Path, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        load_bundle(folder)
    assert caught.value.reason == Reason.BUNDLE_INVALID


def test_what_is_written_is_read_back(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    written = rewrite(tmp_path / "new", bundle)
    assert load_bundle(tmp_path / "new") == written
    assert written.manifest.provenance == {"seed": 1}
    assert written.manifest.metrics == {"accuracy": 0.5}
    assert (written.dim, written.taxonomy, written.preprocess) == (16, bundle.taxonomy, bundle.preprocess)
    assert written.levels == ("meta", "level2", "leaf")


def test_the_version_is_that_of_the_content(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    first = rewrite(tmp_path / "a", bundle)
    assert rewrite(tmp_path / "b", bundle).model_version == first.model_version
    assert rewrite(tmp_path / "c", bundle, provenance={"seed": 2}).model_version != first.model_version


def test_a_bundle_replaces_a_bundle_and_leaves_nothing_behind(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    rewrite(tmp_path / "new", bundle)
    written = rewrite(tmp_path / "new", bundle, metrics={})
    assert load_bundle(tmp_path / "new") == written
    assert [entry.name for entry in tmp_path.iterdir()] == ["new"]


def test_other_content_is_never_overwritten(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="not a model bundle"):
        rewrite(tmp_path / "mine", load_bundle(tiny_bundle))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_missing_parts_are_named(copy: Path, tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", "it has no bundle.json")
    (copy / "model.onnx").unlink()
    assert_refused(copy, "it has no model.onnx")


def test_a_damaged_network_is_refused(copy: Path) -> None:
    content = bytearray((copy / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.onnx").write_bytes(content)
    assert_refused(copy, "model.onnx is not the file")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("[]", "one JSON object"),
        ("{}", "dim: Field required"),
    ],
)
def test_a_damaged_manifest_is_refused(copy: Path, text: str, words: str) -> None:
    (copy / "bundle.json").write_text(text)
    assert_refused(copy, words)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("schema", 2, "schema"),
        ("dim", 17, "was changed"),
        ("metrics", {"mar": 1.0}, "was changed"),
        ("preprocess_hash", "0" * 64, "its content: preprocess_hash does not belong"),
        ("network_sha256", "0" * 64, "not the file"),
        ("taxonomy", {"paths": [[["a"]], [["b", "c"]]], "parents": [[], [0]]}, "parents"),
        ("surprise", 1, "surprise"),
    ],
)
def test_a_changed_manifest_is_refused(copy: Path, field: str, value: object, words: str) -> None:
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest[field] = value
    (copy / "bundle.json").write_text(json.dumps(manifest))
    assert_refused(copy, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "made by a newer release of Lookalike"),
        ({"version": 0}, "version 0; it must be 1"),
        ({"size": -5}, "size -5 are out of range; it must be 1 to 2048"),
        ({"size": 0}, "out of range"),
        ({"size": 60_000}, "out of range"),
        ({"std": (128.0, 0.0, 128.0)}, "std above 0"),
        ({"std": (128.0, -1.0, 128.0)}, "std above 0"),
        ({"std": (128.0, math.nan, 128.0)}, "finite"),
        ({"mean": (127.0, math.inf, 127.0)}, "finite"),
        ({"fit": "crop", "crop_share": 0.0}, "crop_share must be 0.1 to 1"),
        ({"fit": "crop", "crop_share": math.nan}, "crop_share must be 0.1 to 1"),
    ],
)
def test_preprocessing_that_cannot_be_done_is_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    bundle = load_bundle(copy)
    with monkeypatch.context() as unchecked:
        unchecked.setattr(PreprocessParams, "check", lambda params: None)
        params = replace(bundle.preprocess, **changes)
        manifest = bundle.manifest.model_copy(update={"preprocess": params, "preprocess_hash": params.hash()})
        content = {"model_version": manifest.version(), **manifest.model_dump(by_alias=True)}
        (copy / "bundle.json").write_text(json.dumps(content))
    assert_refused(copy, words)


CALIBRATION = MatchCalibration(20.0, 0.4, 0.5, 0.2, fitted_searches=90)


def test_a_calibration_is_part_of_the_model(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    written = rewrite(tmp_path / "new", bundle, match_calibration=CALIBRATION)
    assert load_bundle(tmp_path / "new").match_calibration == CALIBRATION
    without = rewrite(tmp_path / "without", bundle)
    assert without.match_calibration is None
    other = replace(CALIBRATION, slope=21.0)
    versions = {
        without.model_version,
        written.model_version,
        rewrite(tmp_path / "other", bundle, match_calibration=other).model_version,
    }
    assert len(versions) == 3


def test_a_bundle_without_one_is_what_it_was_before_there_were_any(tiny_bundle: Path) -> None:
    stored = json.loads((tiny_bundle / "bundle.json").read_text())
    assert "match_calibration" not in stored
    version = stored.pop("model_version")
    identity = {name: value for name, value in stored.items() if name != "golden_sha256"}
    content = json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(content).hexdigest()[:16] == version == load_bundle(tiny_bundle).model_version


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slope": -1.0}, "match_calibration: slope must be above 0"),
        ({"slope": math.nan}, "match_calibration: slope must be above 0"),
        ({"threshold": math.inf}, "match_calibration: threshold must be"),
        ({"density_weight": 2.0}, "match_calibration: density_weight must be"),
        ({"temperature": 2.0}, "match_calibration.temperature"),
        ({"slope": 19.0}, "was changed"),
        ({"slope": "steep"}, "match_calibration.slope"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(
    tiny_bundle: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    folder = tmp_path / "new"
    rewrite(folder, load_bundle(tiny_bundle), match_calibration=CALIBRATION)
    stored = json.loads((folder / "bundle.json").read_text())
    stored["match_calibration"] |= changes
    (folder / "bundle.json").write_text(json.dumps(stored))
    assert_refused(folder, words)


def test_what_the_first_models_say_of_themselves_is_still_their_version() -> None:
    """The manifest of a default model of before preprocessing had further parameters, and its version."""
    stored = {
        "schema": 1,
        "dim": 1280,
        "taxonomy": {"paths": [], "parents": []},
        "preprocess": {
            "size": 224,
            "mean": [127.0, 127.0, 127.0],
            "std": [128.0, 128.0, 128.0],
            "interpolation": "bicubic",
            "fit": "pad_white",
            "version": 1,
        },
        "preprocess_hash": "a45b40e714d5cf981d938b7375f2586b5d7fa4b8f6a345178a97bf98dd18030f",
        "network_sha256": "283f8bff61c953b9774f9f21b801af03d1fe03d55d4fe55501c7a0321c9ad039",
        "provenance": {
            "kind": "backbone",
            "architecture": "tf_efficientnet_lite0",
            "weights_sha256": "0e6eac3920806d21a31ff56e55b88b6ad15e51712b8619e1e8151d6bd00a24bc",
            "versions": {
                "torch": "2.15.0",
                "timm": "1.0.31",
                "onnxruntime": "1.32.0",
                "pillow": "13.0.0",
                "numpy": "2.4.6",
            },
        },
        "metrics": {},
        "golden_sha256": "49fe4bdfdcf16ae29df0b31a9deb3f3e3777a4a42d528c4ee28a7b7eb886b7f8",
    }
    manifest = BundleManifest.model_validate(stored)
    assert manifest.version() == "1712cd3123bf6d0d"
    assert manifest.content() == stored


def test_further_parameters_of_preprocessing_are_kept(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    params = replace(bundle.preprocess, fit="crop", crop_share=0.875, crop_to_object=True)
    written = rewrite(tmp_path / "new", bundle, preprocess=params)
    assert load_bundle(tmp_path / "new").preprocess == params
    assert written.model_version != rewrite(tmp_path / "other", bundle).model_version


def test_a_copy_is_the_bundle_and_nothing_else(copy: Path, tmp_path: Path) -> None:
    (copy / "notes.txt").touch()
    for _ in range(2):
        assert (
            copy_bundle(load_bundle(copy), tmp_path / "new").model_version == load_bundle(copy).model_version
        )
    assert {file.name for file in (tmp_path / "new").iterdir()} == {"bundle.json", "golden.npz", "model.onnx"}


def test_a_full_disk_is_reported_by_the_folder_that_cannot_be_written(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))

    monkeypatch.setattr("embedder.bundle.shutil.copyfile", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        copy_bundle(load_bundle(copy), tmp_path / "new")
    assert caught.value.filename == str(tmp_path / "new")
    assert {entry.name for entry in tmp_path.iterdir()} == {"bundle"}


def test_a_bundle_that_cannot_be_put_in_place_leaves_the_old_one(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(copy)
    written = rewrite(tmp_path / "new", bundle)
    rename = Path.rename

    def interrupted(source: Path, target: Path) -> Path:
        if source.name == "new" and target == tmp_path / "new":
            raise KeyboardInterrupt
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        copy_bundle(bundle, tmp_path / "new")
    assert load_bundle(tmp_path / "new") == written


def test_encodes_batches_of_any_size_alike(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    encoder = OnnxEncoder(bundle, threads=1)
    images = np.random.default_rng(0).normal(size=(5, 3, 32, 32)).astype(np.float32)
    together = encoder.encode(images)
    assert together.embedding.shape == (5, 16)
    np.testing.assert_allclose(np.linalg.norm(together.embedding, axis=1), 1, atol=1e-6)
    assert [level.shape[1] for level in together.probabilities] == list(bundle.taxonomy.sizes)
    for level in together.probabilities:
        np.testing.assert_allclose(level.sum(axis=1), 1, atol=1e-6)
    for row in range(5):
        alone = encoder.encode(images[row : row + 1])
        np.testing.assert_allclose(alone.embedding[0], together.embedding[row], atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (3, 32, 32), (1, 3, 32, 31), (1, 1, 32, 32)])
def test_wrong_shapes_are_refused(tiny_bundle: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="must be"):
        OnnxEncoder(load_bundle(tiny_bundle)).encode(np.zeros(shape, np.float32))


def test_a_network_other_than_described_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    for changes in ({"dim": 8}, {"taxonomy": Taxonomy.from_categories([("a", "b", "c")])}):
        with pytest.raises(InvalidInputError, match="describes another network"):
            OnnxEncoder(rewrite(tmp_path / "other", bundle, **changes))
    (tmp_path / "text.onnx").write_text("not a network")
    manifest = bundle.manifest
    broken = write_bundle(
        tmp_path / "broken",
        tmp_path / "text.onnx",
        dim=manifest.dim,
        taxonomy=manifest.taxonomy,
        preprocess=manifest.preprocess,
        provenance={},
        metrics={},
    )
    with pytest.raises(InvalidInputError, match="cannot load"):
        OnnxEncoder(broken)

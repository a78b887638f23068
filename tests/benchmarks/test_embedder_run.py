"""The embedder's benchmark on tiny networks: what it reports, not how fast it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from benchmarks.embedder import Options, markdown, measure
from deploy.local.triton import is_installed
from embedder.backends.openvino import BF16_TOLERANCE, has_bf16
from embedder.bundle import load_bundle
from embedder.export import export_backbone_bundle
from embedder.golden import FLOAT32_TOLERANCE
from embedder.model.backbone import BackboneSpec

BACKENDS = ("onnxruntime f32", "onnxruntime int8", "openvino f32", "openvino bf16", "torch f32", "triton")
ALLOWED = {"onnxruntime int8": 0.1, "openvino bf16": BF16_TOLERANCE}


def options(**more: Any) -> Options:
    given = {"batches": (1, 4), "seconds": 0.0, "rounds": 1, "threads": 1, "agree": 12, "sides": (80,)}
    return Options(**{**given, "backends": BACKENDS, **more})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run over every backend of this machine, on a small backbone with random weights."""
    folder = tmp_path_factory.mktemp("backbone")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), folder / "weights.pth")
    bundle = export_backbone_bundle(BackboneSpec("test_resnet", folder / "weights.pth"), folder / "bundle")
    return measure(bundle, options(weights=folder / "weights.pth"))


def absent() -> set[str]:
    return {*(() if is_installed() else ("triton",)), *(() if has_bf16() else ("openvino bf16",))}


def test_every_step_and_backend_is_reported(report: dict[str, Any]) -> None:
    assert set(report["left_out"]) == absent()
    sections = report["sections"]
    assert len(sections["Decoding and preprocessing, one thread"]) == 6
    measured = {(row["backend"], row["batch"]) for row in sections["Inference"]}
    assert measured == {(backend, batch) for backend in set(BACKENDS) - absent() for batch in (1, 4)}
    rows = [*sections["Inference"], *sections.get("Triton, several callers", [])]
    for row in rows:
        assert row["images_per_second"] > 0
        assert row["p50_ms"] <= row["p99_ms"]
    if is_installed():
        asked = {(row["callers"], row["batch"]) for row in sections["Triton, several callers"]}
        assert asked == {(callers, batch) for callers in (1, 2, 4, 8, 16) for batch in (1, 4)}
    text = markdown(report)
    assert "| openvino f32 | 4 |" in text
    assert "## Agreement of a model trained here" in text


@pytest.mark.parametrize("section", ["Agreement", "Agreement of a model trained here"])
def test_backends_agree_with_the_network_in_memory(report: dict[str, Any], section: str) -> None:
    rows = {row["backend"]: row for row in report["sections"][section]}
    expected = set(BACKENDS) - absent() - {"torch f32"}
    assert set(rows) == (expected - {"onnxruntime int8"} if "trained" in section else expected)
    for backend, row in rows.items():
        assert (row["against"], row["photos"]) == ("torch f32", 12)
        assert row["max_cosine_distance"] <= ALLOWED.get(backend, FLOAT32_TOLERANCE), backend


def test_what_cannot_be_measured_is_left_out_with_its_reason(tiny_bundle: Path) -> None:
    figures = measure(
        load_bundle(tiny_bundle), options(backends=("onnxruntime f32", "torch f32"), batches=(1,))
    )
    assert set(figures["left_out"]) == {"torch f32", "training"}
    assert "does not name its backbone" in figures["left_out"]["training"]
    assert "Left out: torch f32: " in markdown(figures)

"""The embedder's benchmark on a tiny network: what it reports, not how fast it is."""

from __future__ import annotations

from pathlib import Path

from benchmarks.embedder import Options, markdown, measure
from embedder.bundle import load_bundle


def test_a_small_run_reports_every_step_and_engine(tiny_bundle: Path) -> None:
    options = Options(
        batches=(1, 3),
        seconds=0.0,
        rounds=1,
        threads=1,
        agree=4,
        engines=("onnxruntime f32", "openvino f32", "torch f32"),
        sides=(80,),
    )
    report = measure(load_bundle(tiny_bundle), options)
    sections = report["sections"]
    assert set(report["left_out"]) == {"torch f32"}
    assert len(sections["Decoding and preprocessing, one thread"]) == 4
    measured = {(row["engine"], row["batch"]) for row in sections["Inference"]}
    assert measured == {(engine, batch) for engine in ("onnxruntime f32", "openvino f32") for batch in (1, 3)}
    for row in sections["Inference"]:
        assert row["images_per_second"] > 0
        assert row["p50_ms"] <= row["p99_ms"]
    (agreed,) = sections["Agreement"]
    assert agreed["photos"] == 4
    assert agreed["max_cosine_distance"] < 1e-5
    text = markdown(report)
    assert "| openvino f32 | 3 |" in text
    assert "Left out: torch f32" in text

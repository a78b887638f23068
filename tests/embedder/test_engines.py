"""Which engine an embedder takes by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedder.bundle import load_bundle
from embedder.config import EmbedderSettings
from embedder.engines import cpu_backend
from embedder.served import ServedModel
from lookalike.runtime.metrics import Metrics

WITH_AMX = "processor : 0\nflags\t\t: fpu avx512_bf16 amx_bf16 avx512_fp16 amx_tile\n"
WITHOUT = "processor : 0\nflags\t\t: fpu avx512_bf16 avx512_vnni\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [(WITH_AMX, "openvino"), (WITHOUT, "onnx"), ("Features : asimd bf16\n", "onnx"), (None, "onnx")],
)
def test_openvino_is_taken_where_the_processor_has_amx(
    tmp_path: Path, cpuinfo: str | None, expected: str
) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    assert cpu_backend(file) == expected


def test_without_openvino_onnx_runtime_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(WITH_AMX)
    monkeypatch.setattr("embedder.engines.find_spec", lambda name: None)
    assert cpu_backend(tmp_path / "cpuinfo") == "onnx"


@pytest.mark.parametrize("chosen", ["onnx", "openvino"])
async def test_auto_serves_and_proves_the_engine_it_took(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setattr("embedder.engines.cpu_backend", lambda: chosen)
    settings = EmbedderSettings(bundle=tiny_bundle, threads=1)
    assert settings.backend == "auto"
    model = ServedModel(load_bundle(tiny_bundle), settings, Metrics())
    assert model.backend == chosen
    await model.load()
    assert await model.check_ready() == ""
    await model.close()

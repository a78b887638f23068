"""Which backend an embedder takes by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from embedder.backends.choose import cpu_backend
from embedder.config import EmbedderSettings
from embedder.served_model import ServedModel
from lookalike.runtime.metrics import Metrics


@pytest.mark.parametrize(("bf16", "expected"), [(True, "openvino"), (False, "onnx")])
def test_openvino_is_taken_where_the_processor_has_bfloat16(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, expected: str
) -> None:
    monkeypatch.setattr("embedder.backends.openvino.has_bf16", lambda: bf16)
    assert cpu_backend() == expected


def test_without_openvino_onnx_runtime_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "embedder.backends.openvino", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert cpu_backend() == "onnx"


@pytest.mark.parametrize("chosen", ["onnx", "openvino"])
async def test_auto_serves_and_proves_the_backend_it_took(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setattr("embedder.backends.choose.cpu_backend", lambda: chosen)
    settings = EmbedderSettings(bundle=tiny_bundle, threads=1)
    assert settings.backend == "auto"
    model = ServedModel(settings, Metrics())
    assert model.backend == chosen
    await model.load()
    assert await model.check_ready() == ""
    await model.close()

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from embedder.backends import openvino
from embedder.backends.onnx import OnnxEncoder
from embedder.backends.openvino import BF16_TOLERANCE, OpenVinoEncoder, _is_faster, has_bf16
from embedder.bundle import Bundle, load_bundle, write_bundle
from embedder.golden import FLOAT32_TOLERANCE, cosine_distance
from lookalike.errors import InvalidInputError


def pictures(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, size, size)).astype(np.float32)


def broken(tiny: Bundle, out: Path, network: Path, dim: int) -> Bundle:
    parts = {"taxonomy": tiny.taxonomy, "preprocess": tiny.preprocess, "provenance": {}, "metrics": {}}
    return write_bundle(out, network, dim=dim, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("categories", [(("a", "b"), ("a", "c")), ()])
def test_float32_gives_what_onnx_runtime_gives(
    make_tiny_bundle: Callable[..., Path], categories: tuple[tuple[str, ...], ...]
) -> None:
    bundle = load_bundle(make_tiny_bundle(categories=categories))
    encoder = OpenVinoEncoder(bundle, 1, "f32")
    assert (encoder.precision, encoder.tolerance) == ("f32", FLOAT32_TOLERANCE)
    for batch in (1, 5, 3):
        images = pictures(batch)
        one, other = OnnxEncoder(bundle, 1).encode(images), encoder.encode(images)
        np.testing.assert_allclose(other.embedding, one.embedding, atol=1e-5)
        assert len(other.probabilities) == len(one.probabilities) == len(bundle.levels)
        for a, b in zip(one.probabilities, other.probabilities, strict=True):
            np.testing.assert_allclose(b, a, atol=1e-5)


def test_answers_are_not_overwritten_by_later_ones_and_threads_do_not_meet(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    encoder, images = OpenVinoEncoder(bundle, 1, "f32"), pictures(24)
    expected = OnnxEncoder(bundle, 1).encode(images).embedding
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: encoder.encode(images[i : i + 1]), range(24)))
    np.testing.assert_allclose(np.concatenate([a.embedding for a in answers]), expected, atol=1e-5)


def test_bfloat16_where_the_processor_has_it(default_bundle: Bundle) -> None:
    if not has_bf16():
        with pytest.raises(InvalidInputError, match="cannot compute in bfloat16"):
            OpenVinoEncoder(default_bundle, 1, "bf16")
        return
    encoder, golden = OpenVinoEncoder(default_bundle, 1, "bf16"), default_bundle.golden()
    assert golden is not None
    rows = encoder.encode(golden.prepare(default_bundle.preprocess)).embedding
    assert 0 < cosine_distance(golden.embeddings, rows) <= BF16_TOLERANCE == encoder.tolerance
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("f32_seconds", "bf16_seconds", "faster"),
    [(10e-3, 5e-3, True), (10e-3, 9.5e-3, False), (5e-3, 10e-3, False), (5e-5, 1e-5, False)],
)
def test_bfloat16_must_gain_a_tenth_and_more_than_noise(
    f32_seconds: float, bf16_seconds: float, faster: bool
) -> None:
    assert _is_faster(bf16_seconds, f32_seconds) is faster


@pytest.mark.parametrize(
    ("has_it", "faster", "golden", "taken"),
    [
        (True, True, "its own", "bf16"),
        (True, True, "a stranger's", "f32"),
        (True, True, "none", "f32"),
        (True, False, "its own", "f32"),
        (False, True, "its own", "f32"),
    ],
)
def test_auto_takes_bfloat16_where_it_can_be_had_is_faster_and_reproduces_the_golden_images(
    make_tiny_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_it: bool,
    faster: bool,
    golden: str,
    taken: str,
) -> None:
    """On any processor: what is called bfloat16 here computes in float32."""
    bundle, stranger = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (1, 2))
    images = {"its own": bundle.golden(), "a stranger's": stranger.golden(), "none": None}[golden]
    options = openvino._options
    monkeypatch.setattr(openvino, "has_bf16", lambda: has_it)
    monkeypatch.setattr(openvino, "_is_faster", lambda seconds, than_seconds: faster)
    monkeypatch.setattr(openvino, "_options", lambda precision, threads: options("f32", threads))
    parts = {"taxonomy": bundle.taxonomy, "preprocess": bundle.preprocess, "provenance": {}, "metrics": {}}
    rewritten = write_bundle(tmp_path / "bundle", bundle.network_path, dim=16, golden=images, **parts)  # type: ignore[arg-type]
    encoder = OpenVinoEncoder(rewritten, 1, "auto")
    assert encoder.precision == taken
    assert encoder.tolerance == (BF16_TOLERANCE if taken == "bf16" else FLOAT32_TOLERANCE)
    assert encoder.encode(pictures(2)).embedding.shape == (2, 16)


@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (3, 32, 32), (1, 3, 32, 31)])
def test_wrong_shapes_are_refused(tiny_bundle: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="must be"):
        OpenVinoEncoder(load_bundle(tiny_bundle), 1).encode(np.zeros(shape, np.float32))


def test_bad_networks_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    tiny = load_bundle(tiny_bundle)
    with pytest.raises(InvalidInputError, match="describes another network"):
        OpenVinoEncoder(broken(tiny, tmp_path / "other", tiny.network_path, dim=8), 1)
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(InvalidInputError, match="cannot load"):
        OpenVinoEncoder(broken(tiny, tmp_path / "broken", tmp_path / "text.onnx", dim=16), 1)


def test_it_forks_nothing_and_reports_to_nobody() -> None:
    code = (
        "import os, sys, threading\n"
        "forks = []\n"
        "os.register_at_fork(before=lambda: forks.append(1))\n"
        "import embedder.backends.openvino\n"
        "for thread in threading.enumerate():\n"
        "    thread is threading.main_thread() or thread.join()\n"
        "assert not forks, 'a process was forked'\n"
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry.')]\n"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_signals_are_handled_after_encoders_have_come_and_gone(tiny_bundle: Path) -> None:
    code = (
        "import gc, os, signal, sys\n"
        "from pathlib import Path\n"
        "from embedder.backends.openvino import OpenVinoEncoder\n"
        "from embedder.bundle import load_bundle\n"
        "bundle = load_bundle(Path(sys.argv[1]))\n"
        "first = OpenVinoEncoder(bundle, 1)\n"
        "second = OpenVinoEncoder(bundle, 1)\n"
        "del first\n"
        "gc.collect()\n"
        "del second\n"
        "gc.collect()\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    command = [sys.executable, "-X", "faulthandler", "-c", code, str(tiny_bundle)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stdout) == (0, "handled\n"), outcome.stderr

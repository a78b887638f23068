"""Features of the frozen backbone and the file that keeps them."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, load_bundle
from embedder.encoder import Encoded
from embedder.preparation import prepared_ahead
from embedder.training import feature_store
from embedder.training.augment import Augmentation
from embedder.training.feature_store import FeatureStore
from embedder.training.features import FeatureExtractor, Features
from embedder.training.torch_encoder import TorchEncoder
from lookalike.errors import FailedPreconditionError

FILE = "features.sqlite"


class CountingEncoder:
    """The bundle's own backend, which counts what it is asked and fails after a number of photos."""

    def __init__(self, bundle: Bundle, limit: int = 10_000) -> None:
        self._backend = OnnxEncoder(bundle, threads=1)
        self._limit = limit
        self.photos = 0

    def encode(self, images: np.ndarray) -> Encoded:
        if self.photos + len(images) > self._limit:
            raise KeyboardInterrupt
        self.photos += len(images)
        return self._backend.encode(images)


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number}.png" for number in range(48)]
    for number, file in enumerate(files):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return files


def extract(
    encoder: CountingEncoder,
    bundle: Bundle,
    photos: list[Path],
    cache: Path,
    copies: int = 1,
    seed: int = 0,
    augmentation: Augmentation = "mild",
) -> Features:
    return FeatureExtractor(bundle, encoder, cache, 2).extract(
        photos, copies, augmentation, seed, lambda done, total: None
    )


def test_only_what_is_not_there_is_computed(bundle: Bundle, photos: list[Path], tmp_path: Path) -> None:
    cache, encoder = tmp_path / "cache", CountingEncoder(bundle)
    first = extract(encoder, bundle, photos[:20], cache)
    assert encoder.photos == 40
    more = extract(encoder, bundle, photos[30:9:-1], cache)  # eleven new ones, in another order
    assert encoder.photos == 40 + 2 * 11
    np.testing.assert_array_equal(more.values[:, -10:][:, ::-1], first.values[:, 10:])
    again = extract(encoder, bundle, photos[:20], cache, copies=2)
    assert encoder.photos == 62 + 20
    np.testing.assert_array_equal(again.values[:2], first.values)
    extract(encoder, bundle, photos[:20], cache, seed=1)
    assert encoder.photos == 82 + 20  # the copies alone depend on the seed
    copy = tmp_path / "renamed.png"
    copy.write_bytes(photos[0].read_bytes())
    extract(encoder, bundle, [copy], cache)
    assert encoder.photos == 102


def test_another_model_or_preprocessing_has_features_of_its_own(
    bundle: Bundle, photos: list[Path], tmp_path: Path, make_tiny_bundle: Callable[..., Path]
) -> None:
    other = load_bundle(make_tiny_bundle(seed=7))
    one = extract(CountingEncoder(bundle), bundle, photos[:4], tmp_path / "cache", copies=0)
    encoder = CountingEncoder(other)
    two = extract(encoder, other, photos[:4], tmp_path / "cache", copies=0)
    assert encoder.photos == 4
    assert not np.allclose(one.values, two.values)


def test_a_bad_photo_costs_no_one_else_his_features(
    bundle: Bundle, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("not a photo")
    mixed = [*photos[:5], tmp_path / "text.png", tmp_path / "gone.png"]
    encoder = CountingEncoder(bundle)
    for _ in range(2):
        found = extract(encoder, bundle, mixed, tmp_path / "cache")
        assert sorted(found.problems) == [5, 6]
        assert found.readable.tolist() == [True] * 5 + [False] * 2
        assert np.isnan(found.values[:, 5:]).all()
        np.testing.assert_allclose(np.linalg.norm(found.values[:, :5], axis=2), 1, atol=1e-5)
    assert encoder.photos == 10


def test_a_photo_that_changes_while_it_is_read_does_not_poison_the_cache(
    bundle: Bundle, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = photos[1].read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("embedder.training.copies.read_photo", lambda photo: other)
        found = extract(CountingEncoder(bundle), bundle, photos[:1], tmp_path / "cache")
    assert found.problems == {0: "the file changed while it was read"}
    assert np.isnan(found.values).all()
    now = extract(CountingEncoder(bundle), bundle, photos[:1], tmp_path / "cache")
    fresh = extract(CountingEncoder(bundle), bundle, photos[:1], tmp_path / "fresh")
    np.testing.assert_array_equal(now.values, fresh.values)


def test_a_stopped_run_keeps_what_it_had(bundle: Bundle, photos: list[Path], tmp_path: Path) -> None:
    stopped = CountingEncoder(bundle, limit=40)
    with pytest.raises(KeyboardInterrupt):
        extract(stopped, bundle, photos, tmp_path / "cache", copies=0)
    resumed = CountingEncoder(bundle)
    extract(resumed, bundle, photos, tmp_path / "cache", copies=0)
    assert (stopped.photos, resumed.photos) == (32, 16)


def test_a_killed_run_keeps_what_it_had(bundle: Bundle, photos: list[Path], tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
from pathlib import Path
from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import load_bundle
from embedder.training import feature_store
from embedder.training.features import FeatureExtractor
feature_store._SECONDS_BETWEEN_COMMITS = 0.0
bundle = load_bundle(Path({str(bundle.path)!r}))
class Deadly(OnnxEncoder):
    calls = 0
    def encode(self, images):
        self.calls += 1
        if self.calls == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(images)
photos = [Path({str(tmp_path)!r}) / f"{{number}}.png" for number in range(48)]
extractor = FeatureExtractor(bundle, Deadly(bundle, 1), Path({str(tmp_path / "cache")!r}), 1)
extractor.extract(photos, 0, "mild", 0, lambda done, total: None)
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    resumed = CountingEncoder(bundle)
    extract(resumed, bundle, photos, tmp_path / "cache", copies=0)
    assert resumed.photos == 16


def test_runs_share_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "_SECONDS_BETWEEN_COMMITS", 0.0)
    vectors = np.random.default_rng(0).random((40, 8), dtype=np.float32)
    failed: list[BaseException] = []

    def write(order: list[int]) -> None:
        try:
            with FeatureStore(tmp_path / FILE, 8) as store:
                for number in order:
                    store.put(b"%d" % number, vectors[number])
        except BaseException as error:
            failed.append(error)

    rows = list(range(40))
    writers = [threading.Thread(target=write, args=(order,)) for order in (rows, rows[::-1], rows[20:])]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    with FeatureStore(tmp_path / FILE, 8) as store:
        found = store.find([b"%d" % number for number in rows] + [b"none"])
    assert found[-1] is None
    np.testing.assert_array_equal(np.stack([one for one in found if one is not None]), vectors)
    with sqlite3.connect(tmp_path / FILE) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(FailedPreconditionError, match=r"features\.sqlite cannot be used .*delete it"):
        FeatureStore(tmp_path / FILE, 8)


def test_a_full_disk_is_named_by_the_cache_and_not_taken_for_damage(tmp_path: Path) -> None:
    with FeatureStore(tmp_path / FILE, 8) as store:
        store._database.execute("PRAGMA max_page_count = 3")
        for number in range(1_000):
            store.put(number.to_bytes(32), np.zeros(8, np.float32))
        with pytest.raises(OSError, match="No space left") as caught:
            store._commit()
        assert caught.value.filename == str(tmp_path / FILE)
        store._database.execute("PRAGMA max_page_count = 10000")
    with FeatureStore(tmp_path / FILE, 8) as store:
        assert store.find([(999).to_bytes(32)])[0] is not None


def test_the_next_batch_is_prepared_while_the_present_one_is_used() -> None:
    begun = [threading.Event() for _ in range(5)]

    def prepare(number: int) -> int:
        begun[number].set()
        return 10 * number

    batches = prepared_ahead(range(5), prepare, batch_size=2, threads=1)
    assert next(batches) == (range(2), [0, 10])
    assert begun[3].wait(10)
    assert not begun[4].is_set()
    assert list(batches) == [(range(2, 4), [20, 30]), (range(4, 5), [40])]
    assert list(prepared_ahead([], prepare, batch_size=2, threads=1)) == []


def test_the_gpu_encoder_computes_in_full_precision_and_leaves_the_setting() -> None:
    seen = []

    class Watching(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
            return images.flatten(1)

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    encoder = TorchEncoder(Watching(), torch.device("cpu"))
    encoded = encoder.encode(np.ones((2, 3, 2, 2), dtype=np.float32))
    np.testing.assert_allclose(np.linalg.norm(encoded.embedding, axis=1), 1, atol=1e-6)
    assert seen == [(False, False)]
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before

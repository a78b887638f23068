"""The pipeline between bytes and vectors: order, fairness, overload, cancellation, self-check."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, load_bundle
from embedder.decoding.budget import PixelBudget
from embedder.decoding.png import Png
from embedder.encoder import Encoded, Encoder, ThreadEncoder
from embedder.metrics import EmbedderMetrics
from embedder.pipeline import EmbeddedPhoto, EmbedPipeline, Photo
from embedder.preprocess import preprocess
from lookalike.categories.tree import PathTree
from lookalike.errors import InvalidInputError, OverloadedError, Reason
from lookalike.runtime.metrics import Metrics

Array = npt.NDArray[np.float32]


def photo(red: int) -> Photo:
    out = io.BytesIO()
    picture = Image.new("RGB", (32, 32), (red, 90, 200))
    picture.paste((10, red, 60), (0, 0, 16, 20))
    picture.save(out, "PNG")
    return Photo(out.getvalue())


class Gate:
    """An encoder that encodes a batch only when a test lets it."""

    def __init__(self, inner: Encoder) -> None:
        self._inner = inner
        self._permits = threading.Semaphore(0)
        self.entered = threading.Event()
        self.photos = 0

    def open(self, batches: int) -> None:
        self._permits.release(batches)

    def encode(self, images: Array) -> Encoded:
        self.entered.set()
        self._permits.acquire()
        self.photos += len(images)
        return self._inner.encode(images)


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@asynccontextmanager
async def running(
    bundle: Bundle, encoder: Encoder, metrics: Metrics | None = None, **settings: Any
) -> AsyncIterator[EmbedPipeline]:
    in_thread = ThreadEncoder(encoder, 1e-4)
    watched = EmbedderMetrics(metrics or Metrics())
    pipeline = EmbedPipeline(bundle, in_thread, watched, preprocess_workers=2, **settings)
    pipeline.start()
    try:
        yield pipeline
    finally:
        await pipeline.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def test_results_come_in_the_order_of_the_photos(bundle: Bundle) -> None:
    encoder = OnnxEncoder(bundle, threads=1)
    photos = [photo(red) for red in range(0, 250, 5)]
    async with running(bundle, encoder, max_batch=4) as pipeline:
        together = (await pipeline.embed(photos)).outcomes
        alone = [(await pipeline.embed([one])).outcomes[0] for one in photos]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, EmbeddedPhoto)
        assert isinstance(other, EmbeddedPhoto)
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-6)
        assert one.belief is None


async def test_what_is_believed_are_paths_that_all_levels_agree_on(bundle: Bundle) -> None:
    encoder = OnnxEncoder(bundle, threads=1)
    async with running(bundle, encoder) as pipeline:
        (outcome,) = (await pipeline.embed([photo(200)], classify=True)).outcomes
    assert isinstance(outcome, EmbeddedPhoto)
    assert outcome.belief
    said = encoder.encode(preprocess(photo(200).content, bundle.preprocess)[None]).probabilities
    np.testing.assert_allclose(
        outcome.belief.posterior, PathTree(bundle.taxonomy.paths).posterior(said)[0], atol=1e-6
    )
    for depth, paths in enumerate(bundle.taxonomy.paths, start=1):
        level = [one for one in outcome.belief.predictions(100) if len(one.path) == depth]
        assert {one.path for one in level} == set(paths)


async def test_a_bad_photo_fails_alone(bundle: Bundle) -> None:
    metrics = Metrics()
    async with running(bundle, OnnxEncoder(bundle, threads=1), metrics) as pipeline:
        done = await pipeline.embed([photo(1), Photo(b"text"), Photo(photo(1).content, (0.5, 0, 0.5, 1))])
    reasons = [
        outcome.reason if isinstance(outcome, InvalidInputError) else None for outcome in done.outcomes
    ]
    assert reasons == [None, Reason.IMAGE_FORMAT_UNSUPPORTED, Reason.REGION_INVALID]
    total = "lookalike_embedder_images_total"
    assert metrics.registry.get_sample_value(total, {"result": "ok"}) == 1
    assert metrics.registry.get_sample_value(total, {"result": "rejected"}) == 2


async def test_stages_are_timed(bundle: Bundle) -> None:
    metrics = Metrics()
    async with running(bundle, OnnxEncoder(bundle, threads=1), metrics) as pipeline:
        times = (await pipeline.embed([photo(red) for red in range(20)])).times
    assert times.preprocess_seconds > 0
    assert times.queue_seconds > 0
    assert times.encode_seconds > 0
    for stage in ("preprocess", "queue"):
        name = "lookalike_embedder_stage_seconds_count"
        assert metrics.registry.get_sample_value(name, {"stage": stage}) == 20
    assert metrics.registry.get_sample_value("lookalike_embedder_batch_photos_sum") == 20


async def test_photos_that_wait_in_vain_are_timed_too(bundle: Bundle) -> None:
    metrics, gate = Metrics(), Gate(OnnxEncoder(bundle, threads=1))
    async with running(bundle, gate, metrics, max_batch=1) as pipeline:
        first = asyncio.create_task(pipeline.embed([photo(1)]))
        await asyncio.to_thread(gate.entered.wait)
        second = asyncio.create_task(pipeline.embed([photo(2)]))
        await asyncio.sleep(0.3)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        waited = partial(metrics.registry.get_sample_value, labels={"stage": "queue"})
        shown = [waited(f"lookalike_embedder_stage_seconds_{part}") for part in ("count", "sum")]
        gate.open(2)
        await first
    assert shown[0] == 1
    assert shown[1] > 0.2


async def test_batches_that_fail_are_timed_too(bundle: Bundle) -> None:
    class Failing(OnnxEncoder):
        def encode(self, images: np.ndarray) -> Any:
            raise RuntimeError("out of memory")

    metrics = Metrics()
    async with running(bundle, Failing(bundle, threads=1), metrics) as pipeline:
        with pytest.raises(RuntimeError):
            await pipeline.embed([photo(1)])
    labels = {"stage": "encode"}
    assert metrics.registry.get_sample_value("lookalike_embedder_stage_seconds_count", labels) == 1


async def test_a_single_photo_does_not_wait_for_a_large_call(bundle: Bundle) -> None:
    metrics = Metrics()
    preprocessed = partial(
        metrics.registry.get_sample_value,
        "lookalike_embedder_stage_seconds_count",
        {"stage": "preprocess"},
    )
    gate = Gate(OnnxEncoder(bundle, threads=1))
    async with running(bundle, gate, metrics, max_batch=4) as pipeline:
        large = asyncio.create_task(pipeline.embed([photo(i) for i in range(256)]))
        await until(lambda: preprocessed() == 6)
        single = asyncio.create_task(pipeline.embed([photo(77)]))
        await until(lambda: preprocessed() == 7)
        while not single.done():
            encoded_before = gate.photos
            gate.open(1)
            await until(lambda seen=encoded_before: gate.photos > seen)  # type: ignore[misc]
            await asyncio.sleep(0.005)
        encoded_before = gate.photos
        gate.open(256)
        await large
    assert encoded_before <= 20


async def test_a_full_embedder_refuses_whole_calls(bundle: Bundle) -> None:
    metrics = Metrics()
    gate = Gate(OnnxEncoder(bundle, threads=1))
    async with running(bundle, gate, metrics, max_batch=2, max_queue=5) as pipeline:
        first = asyncio.create_task(pipeline.embed([photo(i) for i in range(50)]))
        await asyncio.to_thread(gate.entered.wait)
        with pytest.raises(OverloadedError) as refused:
            await pipeline.embed([photo(1), photo(2)])
        assert refused.value.retry_after_seconds >= 0
        name = "lookalike_embedder_refused_calls_total"
        assert metrics.registry.get_sample_value(name, {"cause": "photos"}) == 1
        assert metrics.registry.get_sample_value("lookalike_embedder_queue_photos") == 4
        second = asyncio.create_task(pipeline.embed([photo(1)]))
        gate.open(60)
        assert len((await first).outcomes) == 50
        assert len((await second).outcomes) == 1
        assert metrics.registry.get_sample_value("lookalike_embedder_queue_photos") == 0
        assert gate.photos == 51


async def test_photos_under_way_are_limited_by_their_bytes(bundle: Bundle) -> None:
    metrics, gate = Metrics(), Gate(OnnxEncoder(bundle, threads=1))
    small, large = photo(1), Photo(photo(2).content + bytes(100_000))
    depth = partial(metrics.registry.get_sample_value, "lookalike_embedder_queue_photos")
    size = partial(metrics.registry.get_sample_value, "lookalike_embedder_queue_bytes")
    async with running(bundle, gate, metrics, max_queue_bytes=100_000) as pipeline:
        # Photos that wait behind others of their call count too.
        first = asyncio.create_task(pipeline.embed([small] * 20))
        await until(lambda: depth() == 4)
        assert size() == 20 * len(small.content)
        with pytest.raises(OverloadedError, match="bytes under way"):
            await pipeline.embed([large])
        second = asyncio.create_task(pipeline.embed([small]))
        gate.open(60)
        await asyncio.gather(first, second)
        # Alone, a call is never refused: it could not be repeated either.
        assert len((await pipeline.embed([large, large])).outcomes) == 2
        assert size() == depth() == 0


async def test_a_call_of_more_photos_than_the_queue_takes_is_served(bundle: Bundle) -> None:
    async with running(bundle, OnnxEncoder(bundle, threads=1), max_batch=4, max_queue=2) as pipeline:
        assert len((await pipeline.embed([photo(i) for i in range(9)])).outcomes) == 9


async def test_cancelled_photos_are_not_kept_for_busy_decoders(bundle: Bundle) -> None:
    """They would add up beyond the limit: their callers no longer count."""

    class Watched(Photo):
        """Unlike a photo, it can be referred to without being kept."""

    async with running(bundle, OnnxEncoder(bundle, threads=1), pixels=(pixels := PixelBudget(1))) as pipeline:
        with pixels.claim().held(1_000_000):
            busy = asyncio.create_task(pipeline.embed([photo(1), photo(2)]))
            await until(lambda: pixels.waiting == 2)
            calls = [asyncio.create_task(pipeline.embed([Watched(photo(i).content)])) for i in range(9)]
            await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            del call, calls
            await asyncio.sleep(0)  # the event loop keeps the last result for as long
            gc.collect()
            assert not [one for one in gc.get_objects() if type(one) is Watched]
        await busy


async def test_a_cancelled_call_leaves_the_queue(bundle: Bundle) -> None:
    metrics = Metrics()
    gate = Gate(OnnxEncoder(bundle, threads=1))
    async with running(bundle, gate, metrics, max_batch=4, max_queue=8) as pipeline:
        being_encoded = asyncio.create_task(pipeline.embed([photo(1)]))
        await asyncio.to_thread(gate.entered.wait)
        cancelled = asyncio.create_task(pipeline.embed([photo(i) for i in range(40)]))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert metrics.registry.get_sample_value("lookalike_embedder_queue_photos") == 1
        gate.open(10)
        await being_encoded
        assert len((await pipeline.embed([photo(2)])).outcomes) == 1
    assert gate.photos == 2


async def test_a_photo_of_a_cancelled_call_is_not_decoded(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the one that waits for its turn to be decoded, nor those behind it."""
    decoded, pixels = [], PixelBudget(1)
    decode = Png.decode
    monkeypatch.setattr(Png, "decode", lambda png: decoded.append(png.pixels) or decode(png))
    async with running(bundle, OnnxEncoder(bundle, threads=1), pixels=pixels) as pipeline:
        with pixels.claim().held(1_000_000):
            call = asyncio.create_task(pipeline.embed([photo(i) for i in range(20)]))
            await until(lambda: pixels.waiting == 2)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await until(lambda: not pixels.waiting)
        assert not decoded
        assert len((await pipeline.embed([photo(1)])).outcomes) == 1
    assert decoded == [32 * 32]


@pytest.mark.parametrize("stage", ["preprocess", "encode"])
async def test_closing_does_not_hold_the_event_loop(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """What a cancelled call leaves in a thread is waited for during the calls of the model that follows."""
    entered, gate, ticks = threading.Event(), threading.Event(), 0

    def held(*arguments: object) -> Array:
        entered.set()
        gate.wait()
        return np.zeros((3, 32, 32), np.float32)

    class Held:
        def encode(self, images: Array) -> Encoded:
            held()
            return Encoded(np.zeros((len(images), 16), np.float32))

    encoder = ThreadEncoder(Held(), 1e-4)
    pipeline = EmbedPipeline(bundle, encoder, EmbedderMetrics(Metrics()), preprocess_workers=1)
    pipeline.start()
    if stage == "preprocess":
        monkeypatch.setattr("embedder.pipeline.preprocess", held)
        call = asyncio.create_task(pipeline.embed([photo(1)]))
    else:
        call = asyncio.create_task(encoder.encode(np.zeros((1, 3, 32, 32), np.float32)))  # type: ignore[arg-type]
    await asyncio.to_thread(entered.wait)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await pipeline.drain()
    unblocking = threading.Timer(20, gate.set)
    unblocking.start()
    closing = asyncio.create_task(pipeline.close())
    while ticks < 5 and not gate.is_set():
        await asyncio.sleep(0.01)
        ticks += 1
    gate.set()
    await closing
    unblocking.cancel()
    assert ticks == 5


async def test_an_encoder_that_fails_fails_the_call(bundle: Bundle) -> None:
    class Broken:
        def encode(self, images: Array) -> Encoded:
            raise RuntimeError("out of order")

    async with running(bundle, Broken()) as pipeline:
        with pytest.raises(RuntimeError, match="out of order"):
            await pipeline.embed([photo(i) for i in range(5)])
        with pytest.raises(RuntimeError, match="out of order"):
            await pipeline.embed([photo(1)])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda _: np.full((1, 8), 8**-0.5), "8 dimensions instead of 16"),
        (lambda _: np.ones((1, 16)), "not of unit length"),
        (lambda _: np.full((1, 16), np.nan), "not of unit length"),
        (lambda i: np.roll(np.eye(1, 16), i), "different vectors"),
        (lambda _: 1 / 0, "cannot encode"),
    ],
)
async def test_the_self_check_finds_a_bad_model(
    bundle: Bundle, answer: Callable[[int], Array], problem: str
) -> None:
    class Wrong:
        calls = 0

        def encode(self, images: Array) -> Encoded:
            self.calls += 1
            return Encoded(np.asarray(answer(self.calls), dtype=np.float32))

    async with running(bundle, Wrong()) as pipeline:
        with pytest.raises(InvalidInputError, match=problem) as refused:
            await pipeline.self_check()
    assert refused.value.reason is Reason.BUNDLE_INVALID


async def test_the_self_check_passes_a_good_model(bundle: Bundle) -> None:
    async with running(bundle, OnnxEncoder(bundle)) as pipeline:
        await pipeline.self_check()

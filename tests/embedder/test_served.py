"""A model that is replaced while it serves."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np

from embedder.bundle import copy_bundle, load_bundle
from embedder.config import EmbedderSettings
from embedder.golden import golden_photos
from embedder.pipeline import EmbeddedPhoto, Photo
from embedder.served import ServedModel
from lookalike.runtime.metrics import Metrics

SWITCHES = "lookalike_embedder_model_switches_total"


@asynccontextmanager
async def following(folder: Path, metrics: Metrics) -> AsyncIterator[ServedModel]:
    settings = EmbedderSettings(bundle=folder, threads=1, preprocess_workers=2, follow_seconds=0.02)
    model = ServedModel(load_bundle(folder), settings, metrics)
    running = asyncio.create_task(model.run())
    while await model.check_ready():
        await asyncio.sleep(0.01)
    try:
        yield model
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await model.close()


async def until_switched(metrics: Metrics, result: str) -> None:
    while not metrics.registry.get_sample_value(SWITCHES, {"result": result}):
        await asyncio.sleep(0.01)


async def test_no_call_fails_while_the_model_is_replaced(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    old, new = load_bundle(make_tiny_bundle(seed=1)), load_bundle(make_tiny_bundle(seed=2))
    folder, metrics = tmp_path / "served", Metrics()
    copy_bundle(old, folder)
    photos = [Photo(photo) for photo in golden_photos()] * 3
    expected = {bundle.model_version: golden for bundle in (old, new) if (golden := bundle.golden())}
    answers: list[str] = []
    stop = asyncio.Event()

    async def ask(model: ServedModel) -> None:
        while not stop.is_set():
            pipeline = model.pipeline()
            done = await pipeline.embed(photos)
            golden = expected[pipeline.bundle.model_version]
            rows = np.stack([out.vector for out in done.outcomes if isinstance(out, EmbeddedPhoto)])
            assert golden.distance(rows[:4]) <= golden.tolerance
            answers.append(pipeline.bundle.model_version)

    async with following(folder, metrics) as model:
        callers = [asyncio.create_task(ask(model)) for _ in range(4)]
        await asyncio.sleep(0.1)
        copy_bundle(new, folder)
        await until_switched(metrics, "ok")
        await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*callers)
    assert {old.model_version, new.model_version} == set(answers)
    assert answers.index(new.model_version) > 0


async def test_a_bad_successor_changes_nothing(make_tiny_bundle: Callable[..., Path], tmp_path: Path) -> None:
    old, folder, metrics = load_bundle(make_tiny_bundle(seed=1)), tmp_path / "served", Metrics()
    copy_bundle(old, folder)
    async with following(folder, metrics) as model:
        damaged = shutil.copytree(make_tiny_bundle(seed=2), tmp_path / "damaged")
        (damaged / "model.onnx").write_bytes(b"damaged")
        (folder / "bundle.json").unlink()
        shutil.copytree(damaged, folder, dirs_exist_ok=True)
        await until_switched(metrics, "failed")
        assert model.pipeline().bundle.model_version == old.model_version
        assert await model.check_ready() == ""
        good = load_bundle(make_tiny_bundle(seed=3))
        copy_bundle(good, folder)
        await until_switched(metrics, "ok")
        assert model.pipeline().bundle.model_version == good.model_version


async def test_following_can_be_switched_off(tiny_bundle: Path) -> None:
    settings = EmbedderSettings(bundle=tiny_bundle, threads=1, follow_seconds=0)
    model = ServedModel(load_bundle(tiny_bundle), settings, Metrics())
    await asyncio.wait_for(model.run(), 30)
    await model.close()

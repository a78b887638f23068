"""A model that is replaced while it serves."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedder.backends.choose import Backends
from embedder.bundle import Bundle, copy_bundle, load_bundle, write_bundle
from embedder.config import EmbedderSettings
from embedder.encoder import AsyncEncoder
from embedder.golden import golden_photos
from embedder.pipeline import EmbeddedPhoto, Photo
from embedder.preprocess import preprocess
from embedder.served_model import ServedModel
from lookalike.errors import Reason, UnavailableError
from lookalike.runtime.metrics import Metrics

SWITCHES = "lookalike_embedder_model_switches_total"


@asynccontextmanager
async def following(folder: Path, metrics: Metrics) -> AsyncIterator[ServedModel]:
    settings = EmbedderSettings(
        bundle=folder, backend="onnx", threads=1, preprocess_workers=2, follow_seconds=0.02
    )
    model = ServedModel(settings, metrics)
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
    for version, shown in ((old.model_version, None), (new.model_version, 1)):
        labels = {"model_version": version, "backend": model.backend}
        assert metrics.registry.get_sample_value("lookalike_embedder_model_info", labels) == shown
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


async def test_the_model_before_is_named_while_calls_are_under_way_there(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = load_bundle(make_tiny_bundle(seed=1)), load_bundle(make_tiny_bundle(seed=2))
    folder, metrics, gate = tmp_path / "served", Metrics(), threading.Event()
    copy_bundle(old, folder)

    def held(*arguments: Any) -> Any:
        gate.wait()
        return preprocess(*arguments)

    async with following(folder, metrics) as model:
        monkeypatch.setattr("embedder.pipeline.preprocess", held)
        call = asyncio.create_task(model.pipeline().embed([Photo(golden_photos()[0])] * 8))
        await asyncio.sleep(0)
        assert model.draining() == ""
        copy_bundle(new, folder)
        await until_switched(metrics, "ok")
        assert model.pipeline().bundle.model_version == new.model_version
        assert model.draining() == old.model_version
        gate.set()
        assert all(isinstance(outcome, EmbeddedPhoto) for outcome in (await call).outcomes)
        while model.draining():
            await asyncio.sleep(0.01)


async def test_a_successor_that_fails_its_golden_images_is_tried_once(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    old, folder, metrics = load_bundle(make_tiny_bundle(seed=1)), tmp_path / "served", Metrics()
    copy_bundle(old, folder)
    async with following(folder, metrics) as model:
        other, stranger = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (2, 3))
        parts = {"dim": other.dim, "taxonomy": other.taxonomy, "preprocess": other.preprocess}
        wrong = {**parts, "provenance": {}, "metrics": {}, "golden": stranger.golden()}
        write_bundle(folder, other.network_path, **wrong)
        await until_switched(metrics, "failed")
        await asyncio.sleep(0.3)
        assert metrics.registry.get_sample_value(SWITCHES, {"result": "failed"}) == 1
        assert model.pipeline().bundle.model_version == old.model_version
        copy_bundle(other, folder)
        await until_switched(metrics, "ok")
        assert model.pipeline().bundle.model_version == other.model_version


@pytest.mark.parametrize("failure", [FileNotFoundError("swapped"), RuntimeError("a backend's own error")])
async def test_no_failure_to_load_a_successor_ends_the_embedder(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    old, new = load_bundle(make_tiny_bundle(seed=1)), load_bundle(make_tiny_bundle(seed=2))
    folder, metrics = tmp_path / "served", Metrics()
    copy_bundle(old, folder)
    async with following(folder, metrics) as model:
        with monkeypatch.context() as patched:
            patched.setattr("embedder.served_model.load_bundle", raising(failure))
            copy_bundle(new, folder)
            await until_switched(metrics, "failed")
        assert model.pipeline().bundle.model_version == old.model_version
        if not isinstance(failure, OSError):
            copy_bundle(new, folder)
        await until_switched(metrics, "ok")
        assert model.pipeline().bundle.model_version == new.model_version


async def test_a_bundle_replaced_while_it_is_loaded_is_not_served_under_its_name(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend reads the network after the bundle was verified; another may lie there by then."""
    old, middle, last = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (1, 2, 3))
    folder, metrics = tmp_path / "served", Metrics()
    copy_bundle(old, folder)
    backend_open = Backends.open

    async def after_a_swap(backends: Backends, bundle: Bundle) -> AsyncEncoder:
        if bundle.model_version == middle.model_version:
            copy_bundle(last, folder)
        return await backend_open(backends, bundle)

    async with following(folder, metrics) as model:
        monkeypatch.setattr(Backends, "open", after_a_swap)
        copy_bundle(middle, folder)
        await until_switched(metrics, "ok")
        assert metrics.registry.get_sample_value(SWITCHES, {"result": "failed"}) == 1
        assert model.pipeline().bundle.model_version == last.model_version


def starting(folder: Path) -> ServedModel:
    settings = EmbedderSettings(bundle=folder, backend="onnx", threads=1, follow_seconds=0)
    return ServedModel(settings, Metrics())


async def test_a_bundle_replaced_while_it_is_first_read_is_followed(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = load_bundle(make_tiny_bundle(seed=1)), load_bundle(make_tiny_bundle(seed=2))
    folder = tmp_path / "served"
    copy_bundle(old, folder)

    def before_a_swap(path: Path) -> Bundle:
        bundle = load_bundle(path)
        copy_bundle(new, folder)
        return bundle

    with monkeypatch.context() as patched:
        patched.setattr("embedder.served_model.load_bundle", before_a_swap)
        model = starting(folder)
    await asyncio.wait_for(model.run(), 30)
    assert model.pipeline().bundle.model_version == new.model_version
    await model.close()


@pytest.mark.parametrize("successor", ["the same", "of other outputs"])
async def test_a_swap_while_the_backend_starts_does_not_end_the_embedder(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, successor: str
) -> None:
    old = load_bundle(make_tiny_bundle(seed=1))
    new = old if successor == "the same" else load_bundle(make_tiny_bundle(categories=()))
    folder = tmp_path / "served"
    copy_bundle(old, folder)
    backend_open = Backends.open
    swaps: list[Bundle] = [new]

    async def during_a_swap(backends: Backends, bundle: Bundle) -> AsyncEncoder:
        """The folder is absent for a moment, in which the backend meets nothing, or already the other one."""
        if not swaps:
            return await backend_open(backends, bundle)
        swaps.pop()
        folder.rename(tmp_path / "old")
        if new is not old:
            copy_bundle(new, folder)
        try:
            return await backend_open(backends, bundle)
        finally:
            copy_bundle(new, folder)

    monkeypatch.setattr(Backends, "open", during_a_swap)
    model = starting(folder)
    await asyncio.wait_for(model.run(), 30)
    assert model.pipeline().bundle.model_version == new.model_version
    await model.close()


async def test_a_network_that_fails_its_golden_images_at_start_is_loaded_once(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, stranger = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (1, 2))
    parts = {"dim": good.dim, "taxonomy": good.taxonomy, "preprocess": good.preprocess}
    wrong = {**parts, "provenance": {}, "metrics": {}, "golden": stranger.golden()}
    write_bundle(tmp_path / "served", good.network_path, **wrong)
    backend_open, opened = Backends.open, []

    async def counted(backends: Backends, bundle: Bundle) -> AsyncEncoder:
        opened.append(bundle.model_version)
        return await backend_open(backends, bundle)

    monkeypatch.setattr(Backends, "open", counted)
    monkeypatch.setattr("embedder.served_model.RETRY_SECONDS", 0.01)
    model = starting(tmp_path / "served")
    running = asyncio.create_task(model.run())
    while "must not serve" not in await model.check_ready():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert len(opened) == 1
    copy_bundle(good, tmp_path / "served")
    await asyncio.wait_for(running, 30)
    assert opened[1:] == [good.model_version]
    await model.close()


async def test_a_successor_that_may_load_later_is_tried_ever_more_rarely_and_reported_once(
    make_tiny_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = load_bundle(make_tiny_bundle(seed=1)), load_bundle(make_tiny_bundle(seed=2))
    folder, metrics = tmp_path / "served", Metrics()
    copy_bundle(old, folder)
    monkeypatch.setattr("embedder.served_model.RETRY_SECONDS", 0.02)
    backend_open, tried = Backends.open, []

    async def at_the_fourth_try(backends: Backends, bundle: Bundle) -> AsyncEncoder:
        tried.append(time.monotonic())
        if len(tried) < 4:
            raise UnavailableError("Triton is away", reason=Reason.MODEL_SERVER_UNAVAILABLE)
        return await backend_open(backends, bundle)

    async with following(folder, metrics) as model:
        monkeypatch.setattr(Backends, "open", at_the_fourth_try)
        copy_bundle(new, folder)
        await until_switched(metrics, "ok")
        assert metrics.registry.get_sample_value(SWITCHES, {"result": "failed"}) == 1
        assert model.pipeline().bundle.model_version == new.model_version
    waits = np.diff(tried)
    assert (waits >= [0.02, 0.04, 0.08]).all(), waits


async def test_a_folder_without_a_bundle_is_waited_for_at_start(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle, folder = load_bundle(tiny_bundle), tmp_path / "served"
    copy_bundle(bundle, folder)
    model = starting(folder)
    folder.rename(tmp_path / "away")
    running = asyncio.create_task(model.run())
    while "no valid bundle" not in await model.check_ready():
        await asyncio.sleep(0.01)
    (tmp_path / "away").rename(folder)
    await asyncio.wait_for(running, 30)
    assert model.pipeline().bundle.model_version == bundle.model_version
    await model.close()


def raising(failure: Exception) -> Callable[..., Any]:
    def fail(*arguments: object) -> Any:
        raise failure

    return fail


async def test_following_can_be_switched_off(tiny_bundle: Path) -> None:
    model = starting(tiny_bundle)
    await asyncio.wait_for(model.run(), 30)
    await model.close()

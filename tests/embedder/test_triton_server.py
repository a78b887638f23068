"""A real tritonserver on exported repositories: same vectors, deadlines, crashes, and switches under load."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from tritonclient.utils import InferenceServerException

from deploy.local.triton import TritonServer
from embedder.backends.onnx import OnnxEncoder
from embedder.backends.openvino import OpenVinoEncoder
from embedder.bundle import Bundle, copy_bundle, load_bundle
from embedder.config import EmbedderSettings
from embedder.export import export_bundle
from embedder.golden import FLOAT32_TOLERANCE, cosine_distance, golden_photos
from embedder.metrics import TritonMetrics
from embedder.model.network import EmbeddingNetwork
from embedder.preprocess import preprocess
from embedder.served_model import ServedModel
from embedder.server import FULL_NAME
from embedder.service import EmbedderServicer
from embedder.training.run import TrainingRun
from embedder.triton import control
from embedder.triton.client import TritonEncoder, TritonTarget
from embedder.triton.repository import RepositoryOptions, write_version
from lookalike.catalogue.catalog import Catalog
from lookalike.cli.app import run
from lookalike.errors import (
    DeadlineError,
    InvalidInputError,
    Reason,
    UnavailableError,
)
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from lookalike.wire.channel import open_channel

LEISURE_SECONDS = 0.05
"""For each photo: with two threads a call with 256 takes six seconds and more."""
MERGING_MICROSECONDS = 500_000


def options(model: str, **more: Any) -> RepositoryOptions:
    return RepositoryOptions(backend="python", model=model, threads=1, max_batch=8, **more)


async def load(triton: TritonServer, bundle: Bundle, model: str) -> int:
    number, distance = await control.load(triton.repository, bundle, triton.url, options(model))
    assert distance <= 1e-4
    return number


@asynccontextmanager
async def encoding(
    triton: TritonServer, bundle: Bundle, model: str, metrics: Metrics | None = None, **target: Any
) -> AsyncIterator[TritonEncoder]:
    watched = TritonMetrics(metrics or Metrics())
    encoder = TritonEncoder(bundle, TritonTarget(triton.url, model, **target), watched)
    try:
        await encoder.open()
        yield encoder
    finally:
        await encoder.close()


def pictures(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, size, size)).astype(np.float32)


async def test_torch_onnx_runtime_openvino_and_triton_agree_on_200_photos_of_a_trained_model(
    triton: TritonServer,
    config: Any,
    toy_catalog: Catalog,
    toy_photo: Callable[[int, int], bytes],
    tmp_path: Path,
) -> None:
    """The network as it lies in memory after training, and its bundle in every backend."""
    run = TrainingRun(toy_catalog, config.model_copy(update={"epochs": 3}), lambda *_: None)
    head, _ = run.train()
    network = EmbeddingNetwork(run.backbone.module, head.cpu()).cpu().eval()
    bundle = export_bundle(
        network,
        tmp_path / "bundle",
        dim=config.embedding_dim,
        taxonomy=run.taxonomy,
        preprocess=run.backbone.preprocess,
        provenance=run.provenance(),
        metrics={},
    )
    images = np.stack(
        [preprocess(toy_photo(number % 12, number), bundle.preprocess) for number in range(200)]
    )
    parts = np.array_split(images, 25)
    await load(triton, bundle, "trained")
    with torch.inference_mode():
        eager = np.concatenate([network(torch.from_numpy(part))[0].numpy() for part in parts])
    found = {
        "ONNX Runtime": [OnnxEncoder(bundle, 1).encode(part).embedding for part in parts],
        "OpenVINO": [OpenVinoEncoder(bundle, 1, "f32").encode(part).embedding for part in parts],
    }
    async with encoding(triton, bundle, "trained", max_batch=8) as encoder:
        found["Triton"] = [(await encoder.encode(part)).embedding for part in parts]
    for name, rows in found.items():
        distance = cosine_distance(eager, np.concatenate(rows))
        print(f"largest cosine distance of {len(eager)} photos, eager to {name}: {distance:.1e}")
        assert distance <= FLOAT32_TOLERANCE, name
    assert cosine_distance(eager, np.roll(eager, 1, axis=0)) > 100 * FLOAT32_TOLERANCE


def counted(triton: TritonServer, name: str) -> list[int]:
    """Executions and requests of a model so far, those of its warm-up included."""
    text = triton.metrics()
    return [
        int(re.findall(rf'^{counter}{{model="{name}",version="1"}} (\d+)', text, re.M)[0])
        for counter in ("nv_inference_exec_count", "nv_inference_request_success")
    ]


async def test_merged_requests_each_get_their_own_rows(triton: TritonServer, tiny_bundle: Path) -> None:
    """The batcher is made to wait, so that requests which come at the same time certainly meet."""
    bundle = load_bundle(tiny_bundle)
    write_version(triton.repository, bundle, options("merged"))
    settings = triton.repository / "merged" / "config.pbtxt"
    waiting = f"dynamic_batching {{ max_queue_delay_microseconds: {MERGING_MICROSECONDS}"
    settings.write_text(
        re.sub(r"dynamic_batching {(\s+preferred_batch_size: \d+)+", waiting, settings.read_text())
    )
    await control.reload(triton.url, "merged")
    images = pictures(40)
    expected = OnnxEncoder(bundle, threads=1).encode(images)
    cuts = [(start, start + 1 + start % 3) for start in range(36)]
    before = counted(triton, "merged")
    async with encoding(triton, bundle, "merged", max_batch=8) as encoder:
        answers = await asyncio.gather(*(encoder.encode(images[a:b]) for a, b in cuts))
    for (a, b), answer in zip(cuts, answers, strict=True):
        np.testing.assert_allclose(answer.embedding, expected.embedding[a:b], atol=1e-5)
        for one, other in zip(answer.probabilities, expected.probabilities, strict=True):
            np.testing.assert_allclose(one, other[a:b], atol=1e-5)
    executed, served = (
        after - warmed_up for after, warmed_up in zip(counted(triton, "merged"), before, strict=True)
    )
    assert served == 36
    assert executed <= 18


async def test_shared_memory_gives_the_same_answers(triton: TritonServer, tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    await load(triton, bundle, "shared")
    images = pictures(30)
    expected = OnnxEncoder(bundle, threads=1).encode(images).embedding
    before = set(Path("/dev/shm").glob("lookalike-*"))
    async with encoding(triton, bundle, "shared", max_batch=4, shared_memory=True, regions=2) as encoder:
        answers = await asyncio.gather(*(encoder.encode(images[i : i + 3]) for i in range(0, 30, 3)))
        large = await encoder.encode(images[:8])  # more than a region holds goes over the connection
    np.testing.assert_allclose(np.concatenate([a.embedding for a in answers]), expected, atol=1e-5)
    np.testing.assert_allclose(large.embedding, expected[:8], atol=1e-5)
    assert set(Path("/dev/shm").glob("lookalike-*")) == before


async def test_deadlines_and_wrong_batches(triton: TritonServer, tiny_bundle: Path) -> None:
    bundle, metrics = load_bundle(tiny_bundle), Metrics()
    await load(triton, bundle, "deadline")
    async with encoding(triton, bundle, "deadline", metrics) as encoder:
        for seconds in (1e-5, -1.0):
            with pytest.raises(DeadlineError, match="deadline passed"):
                await encoder.encode(pictures(8), seconds)
        assert (await encoder.encode(pictures(1), 30.0)).embedding.shape == (1, 16)
        with pytest.raises(InvalidInputError, match="must be"):
            await encoder.encode(pictures(1, size=31))
    counted = {
        result: metrics.registry.get_sample_value(
            "lookalike_embedder_triton_requests_total", {"result": result}
        )
        for result in ("ok", "deadline_exceeded")
    }
    assert counted == {"ok": 1, "deadline_exceeded": 2}
    with pytest.raises(InvalidInputError, match="takes batches of 8"):
        async with encoding(triton, bundle, "deadline", max_batch=9):
            pass


async def test_memory_that_triton_maps_too_late_is_unmapped(
    triton: TritonServer, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(tiny_bundle)
    await load(triton, bundle, "mapped")
    async with encoding(triton, bundle, "mapped", shared_memory=True) as encoder:
        client, memory = encoder._client, encoder._memory
        assert memory is not None
        register = client.register_system_shared_memory

        async def too_late(*given: Any, client_timeout: float) -> None:
            await register(*given, client_timeout=30.0)
            assert len((await client.get_system_shared_memory_status()).regions) == 1
            raise InferenceServerException("Deadline Exceeded", "StatusCode.DEADLINE_EXCEEDED")

        monkeypatch.setattr(client, "register_system_shared_memory", too_late)
        with pytest.raises(DeadlineError):
            await encoder.encode(pictures(1))
        await asyncio.gather(*memory._leaving)
        assert not (await client.get_system_shared_memory_status()).regions


async def test_a_bundle_that_is_not_loaded_is_unavailable(
    triton: TritonServer, make_tiny_bundle: Callable[..., Path]
) -> None:
    one, other = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (21, 22))
    await load(triton, one, "absent")
    for model, bundle in (("absent", other), ("nowhere", one)):
        with pytest.raises(UnavailableError) as failed:
            async with encoding(triton, bundle, model):
                pass
        assert failed.value.reason is Reason.MODEL_SERVER_UNAVAILABLE


@asynccontextmanager
async def embedder(triton: TritonServer, folder: Path, model: str) -> AsyncIterator[tuple[str, ServedModel]]:
    """An embedder that follows a bundle's folder, with its vectors from Triton: its address and its model."""
    metrics = Metrics()
    settings = EmbedderSettings(
        bundle=folder,
        port=0,
        metrics_port=-1,
        backend="triton",
        triton_url=triton.url,
        triton_model=model,
        follow_seconds=0.1,
        preprocess_workers=2,
        drain_wait_seconds=0,
    )
    served = ServedModel(settings, metrics)
    servicer = EmbedderServicer(served.pipeline, served.backend, served.draining)
    service = Service(
        FULL_NAME,
        lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server),
        served.check_ready,
    )
    runner = ServerRunner("embedder", [service], settings, metrics)
    await runner.start()
    running = asyncio.create_task(served.run())
    try:
        yield f"127.0.0.1:{runner.port}", served
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await runner.stop()
        await served.close()


async def test_a_switch_under_load_fails_no_request(
    triton: TritonServer,
    make_tiny_bundle: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Small calls all the time, and large ones that last longer than Triton takes to unload a version."""
    bundles = [load_bundle(make_tiny_bundle(seed=seed)) for seed in (41, 42)]
    goldens = {bundle.model_version: golden for bundle in bundles if (golden := bundle.golden())}
    folder = tmp_path / "served"
    copy_bundle(bundles[0], folder)
    await load(triton, bundles[0], "switched")
    photos = [types_pb2.Image(content=photo) for photo in golden_photos()]
    answers: list[str] = []
    stop = asyncio.Event()
    monkeypatch.setattr("embedder.pipeline.preprocess", leisurely)

    async def ask(stub: embedder_pb2_grpc.EmbedderServiceStub, size: int) -> None:
        request = embedder_pb2.EmbedRequest(images=photos + [photos[-1]] * (size - len(photos)))
        while not stop.is_set():
            answer = await stub.Embed(request, timeout=120)
            rows = np.stack(
                [np.frombuffer(result.embedded.vector_f32_le, dtype="<f4") for result in answer.results]
            )
            assert len(rows) == size
            assert goldens[answer.model_version].distance(rows[: len(photos)]) <= 1e-4
            answers.append(answer.model_version)

    async with embedder(triton, folder, "switched") as (address, served):
        while await served.check_ready():
            await asyncio.sleep(0.05)
        async with open_channel(address) as channel:
            stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
            callers = [asyncio.create_task(ask(stub, size)) for size in (4, 4, 256)]
            await asyncio.sleep(0.5)
            flags = [f"--to={bundles[1].path}", f"--served={folder}", f"--embedder={address}"]
            flags += [f"--triton={triton.repository}", f"--triton-url={triton.url}", "--model=switched"]
            assert await asyncio.to_thread(run, ["model", "switch", *flags]) == 0
            await asyncio.sleep(0.2)
            stop.set()
            await asyncio.gather(*callers)
    assert set(answers) == set(goldens)
    assert answers[-1] == bundles[1].model_version
    capsys.readouterr()
    listing = ["model", "list", f"--triton-url={triton.url}", "--model=switched", "--json"]
    assert await asyncio.to_thread(run, listing) == 0
    states = {entry["number"]: entry["state"] for entry in json.loads(capsys.readouterr().out)}
    assert states[2] == "READY"
    assert states.get(1) != "READY"


def leisurely(*arguments: Any) -> Any:
    time.sleep(LEISURE_SECONDS)
    return preprocess(*arguments)


async def test_a_killed_server_is_unavailable_until_it_is_back(
    triton: TritonServer, tiny_bundle: Path
) -> None:
    bundle = load_bundle(tiny_bundle)
    await load(triton, bundle, "killed")
    image = embedder_pb2.EmbedRequest(images=[types_pb2.Image(content=golden_photos()[0])])
    async with (
        embedder(triton, tiny_bundle, "killed") as (address, served),
        open_channel(address) as channel,
        encoding(triton, bundle, "killed", Metrics(), shared_memory=True) as encoder,
    ):
        stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        while await served.check_ready():
            await asyncio.sleep(0.05)
        before = (await stub.Embed(image)).results[0].embedded.vector_f32_le
        await encoder.encode(pictures(1))
        triton.kill()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.Embed(image, timeout=20)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "model server cannot answer" in str(failed.value.details())
        assert triton.url not in str(failed.value.details())
        with pytest.raises(UnavailableError) as lost:
            await encoder.encode(pictures(1))
        assert lost.value.reason is Reason.MODEL_SERVER_UNAVAILABLE
        assert "does not answer" in await served.check_ready()
        await asyncio.to_thread(triton.start, "killed")
        while await served.check_ready():
            await asyncio.sleep(0.05)
        assert (await stub.Embed(image)).results[0].embedded.vector_f32_le == before
        await encoder.encode(pictures(1))

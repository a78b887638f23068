"""The embedder's gRPC face: a real server in this process, called through a real channel."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import status_pb2
from PIL import Image

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import load_bundle
from embedder.config import EmbedderSettings
from embedder.encoder import Encoded, ThreadEncoder
from embedder.metrics import EmbedderMetrics
from embedder.pipeline import EmbedPipeline
from embedder.served_model import ServedModel
from embedder.server import FULL_NAME
from embedder.service import EmbedderServicer
from lookalike.errors import (
    DeadlineError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from lookalike.wire import vectors
from lookalike.wire.channel import open_channel
from lookalike.wire.status import error_from_rpc, error_from_status
from tests.tiny_bundle import TINY_CATEGORIES


def picture(colour: str = "red") -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (40, 40), colour)
    image.paste("blue", (20, 0, 40, 40))
    image.save(out, "PNG")
    return out.getvalue()


def images(*contents: bytes) -> list[types_pb2.Image]:
    return [types_pb2.Image(content=content) for content in contents]


async def ready() -> str:
    return ""


@asynccontextmanager
async def serving(
    get_pipeline: Callable[[], EmbedPipeline],
    get_draining: Callable[[], str] = lambda: "",
) -> AsyncIterator[embedder_pb2_grpc.EmbedderServiceStub]:
    servicer = EmbedderServicer(get_pipeline, "onnx", get_draining)
    service = Service(
        FULL_NAME,
        lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server),
        ready,
    )
    settings = EmbedderSettings(bundle=Path(), port=0, metrics_port=-1, drain_wait_seconds=0)
    runner = ServerRunner("embedder", [service], settings, Metrics())
    await runner.start()
    async with open_channel(f"127.0.0.1:{runner.port}") as channel:
        yield embedder_pb2_grpc.EmbedderServiceStub(channel)
    await runner.stop()


@asynccontextmanager
async def serving_bundle(folder: Path) -> AsyncIterator[embedder_pb2_grpc.EmbedderServiceStub]:
    metrics = Metrics()
    settings = EmbedderSettings(bundle=folder, threads=1, preprocess_workers=2)
    model = ServedModel(settings, metrics)
    await model.load()
    async with serving(model.pipeline) as stub:
        yield stub
    await model.close()


@pytest.fixture
async def stub(tiny_bundle: Path) -> AsyncIterator[embedder_pb2_grpc.EmbedderServiceStub]:
    async with serving_bundle(tiny_bundle) as stub:
        yield stub


async def failure(call: grpc.aio.UnaryUnaryCall) -> LookalikeError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return error_from_rpc(failed.value)


async def test_each_photo_has_its_own_result_or_status(stub: embedder_pb2_grpc.EmbedderServiceStub) -> None:
    nowhere = types_pb2.Image(content=picture(), region=types_pb2.Region(x_min=0.5, x_max=0.5, y_max=1))
    request = embedder_pb2.EmbedRequest(images=[*images(picture(), b"text", b""), nowhere])
    response = await stub.Embed(request)
    assert [result.WhichOneof("outcome") for result in response.results] == ["embedded"] + 3 * ["error"]
    vector = vectors.from_bytes(response.results[0].embedded.vector_f32_le, 16, "vector")
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    statuses = [result.error for result in response.results[1:]]
    assert all(status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0] for status in statuses)
    errors = [error_from_status(status_pb2.Status.FromString(s.SerializeToString())) for s in statuses]
    assert [(error.reason, error.field) for error in errors] == [
        (Reason.IMAGE_FORMAT_UNSUPPORTED, "images[1].content"),
        (Reason.IMAGE_EMPTY, "images[2].content"),
        (Reason.REGION_INVALID, "images[3].region"),
    ]


async def test_the_answer_names_the_model_and_its_times(
    stub: embedder_pb2_grpc.EmbedderServiceStub, tiny_bundle: Path
) -> None:
    version = load_bundle(tiny_bundle).model_version
    response = await stub.Embed(embedder_pb2.EmbedRequest(images=images(picture()), model_version=version))
    assert response.model_version == version
    assert response.timing.preprocess_seconds > 0
    assert response.timing.queue_seconds > 0
    assert response.timing.encode_seconds > 0


async def test_the_model_before_is_named_while_it_drains(tiny_bundle: Path) -> None:
    model = ServedModel(EmbedderSettings(bundle=tiny_bundle, threads=1), Metrics())
    await model.load()
    draining = ["0123"]
    async with serving(model.pipeline, lambda: draining[0]) as stub:
        assert (await stub.GetModel(embedder_pb2.GetModelRequest())).draining_model_version == "0123"
        draining[0] = ""
        assert (await stub.GetModel(embedder_pb2.GetModelRequest())).draining_model_version == ""
    await model.close()


async def test_another_model_is_refused(stub: embedder_pb2_grpc.EmbedderServiceStub) -> None:
    request = embedder_pb2.EmbedRequest(images=images(picture()), model_version="0123")
    error = await failure(stub.Embed(request))
    assert isinstance(error, FailedPreconditionError)
    assert error.reason is Reason.MODEL_VERSION_MISMATCH


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (embedder_pb2.EmbedRequest(), Reason.FIELD_MISSING, "images"),
        (embedder_pb2.EmbedRequest(images=images(*[b"x"] * 257)), Reason.BATCH_TOO_LARGE, "images"),
        (
            embedder_pb2.EmbedRequest(images=images(b"x"), predictions_k=101),
            Reason.FIELD_OUT_OF_RANGE,
            "predictions_k",
        ),
    ],
)
async def test_limits_of_embed(
    stub: embedder_pb2_grpc.EmbedderServiceStub,
    request_: embedder_pb2.EmbedRequest,
    reason: Reason,
    field: str,
) -> None:
    error = await failure(stub.Embed(request_))
    assert isinstance(error, InvalidInputError)
    assert (error.reason, error.field) == (reason, field)


async def test_256_photos_in_one_call(stub: embedder_pb2_grpc.EmbedderServiceStub) -> None:
    response = await stub.Embed(embedder_pb2.EmbedRequest(images=images(*[picture()] * 256)))
    assert [result.WhichOneof("outcome") for result in response.results] == ["embedded"] * 256


async def test_a_region_is_the_photo_cut_to_it(stub: embedder_pb2_grpc.EmbedderServiceStub) -> None:
    left = types_pb2.Region(x_min=0, y_min=0, x_max=0.5, y_max=1)
    out = io.BytesIO()
    Image.open(io.BytesIO(picture())).crop((0, 0, 20, 40)).save(out, "PNG")
    pair = [types_pb2.Image(content=picture(), region=left), *images(out.getvalue(), picture())]
    response = await stub.Embed(embedder_pb2.EmbedRequest(images=pair))
    cut, same, whole = (
        np.frombuffer(result.embedded.vector_f32_le, dtype="<f4") for result in response.results
    )
    np.testing.assert_allclose(cut, same, atol=1e-6)
    assert float(cut @ whole) < 0.99


async def test_classify_names_full_paths_and_levels(stub: embedder_pb2_grpc.EmbedderServiceStub) -> None:
    request = embedder_pb2.EmbedderServiceClassifyRequest(image=types_pb2.Image(content=picture()))
    response = await stub.Classify(request)
    found = [
        (prediction.level, tuple(prediction.category.names), prediction.probability)
        for prediction in response.predictions
    ]
    assert all(level == len(path) for level, path, _ in found)
    paths = {path for _, path, _ in found}
    assert {("clothes", "sport", "running"), ("shoes", "sport", "running")} <= paths
    probability = {path: value for _, path, value in found}
    ended = probability["shoes", "street"]
    for level, left in ((1, 1.0), (2, 1.0), (3, 1 - ended)):
        total = sum(value for at, _, value in found if at == level)
        assert total == pytest.approx(left, abs=1e-5)
    assert probability["shoes",] == pytest.approx(probability["shoes", "sport", "running"] + ended, abs=1e-5)
    category = tuple(response.predicted_category.names)
    firsts = {level: next(path for at, path, _ in found if at == level) for level in (1, 2, 3)}
    assert [firsts[level] for level in range(1, 1 + len(category))] == [
        category[:level] for level in range(1, 1 + len(category))
    ]
    embedded = await stub.Embed(embedder_pb2.EmbedRequest(images=images(picture()), predictions_k=5))
    (one,) = (result.embedded for result in embedded.results)
    assert list(one.predictions) == list(response.predictions)
    assert one.predicted_category == response.predicted_category
    assert not one.path_probabilities_f32_le
    assert not embedded.paths


async def test_the_probabilities_of_all_paths(stub: embedder_pb2_grpc.EmbedderServiceStub) -> None:
    request = embedder_pb2.EmbedRequest(
        images=images(picture(), picture("green")), with_path_probabilities=True, with_paths=True
    )
    response = await stub.Embed(request)
    paths = [tuple(path.names) for path in response.paths]
    assert paths == sorted(TINY_CATEGORIES)
    for content, result in zip((picture(), picture("green")), response.results, strict=True):
        found = vectors.from_bytes(result.embedded.path_probabilities_f32_le, len(paths), "paths")[0]
        assert found.sum() == pytest.approx(1)
        assert not result.embedded.predictions
        classified = await stub.Classify(
            embedder_pb2.EmbedderServiceClassifyRequest(image=types_pb2.Image(content=content), k=100)
        )
        assert tuple(classified.predicted_category.names) == paths[int(found.argmax())]
        said = {tuple(one.category.names): one.probability for one in classified.predictions}
        assert [said[path] for path in paths] == pytest.approx(found.tolist(), abs=1e-6)


async def test_classify_refuses_a_bad_photo_and_a_large_k(
    stub: embedder_pb2_grpc.EmbedderServiceStub,
) -> None:
    missing = await failure(stub.Classify(embedder_pb2.EmbedderServiceClassifyRequest()))
    assert (missing.reason, missing.field) == (Reason.IMAGE_EMPTY, "image.content")
    request = embedder_pb2.EmbedderServiceClassifyRequest(image=types_pb2.Image(content=picture()), k=101)
    assert (await failure(stub.Classify(request))).reason is Reason.FIELD_OUT_OF_RANGE


async def test_a_model_without_categories(make_tiny_bundle: Callable[..., Path]) -> None:
    async with serving_bundle(make_tiny_bundle(categories=())) as stub:
        request = embedder_pb2.EmbedderServiceClassifyRequest(image=types_pb2.Image(content=picture()))
        error = await failure(stub.Classify(request))
        assert isinstance(error, FailedPreconditionError)
        assert error.reason is Reason.MODEL_HAS_NO_CLASSIFIER
        request = embedder_pb2.EmbedRequest(
            images=images(picture()), predictions_k=5, with_path_probabilities=True, with_paths=True
        )
        answer = await stub.Embed(request)
        assert answer.results[0].WhichOneof("outcome") == "embedded"
        assert not answer.results[0].embedded.predictions
        assert not answer.results[0].embedded.path_probabilities_f32_le
        assert not answer.paths
        assert not (await stub.GetModel(embedder_pb2.GetModelRequest())).category_counts


async def test_get_model(stub: embedder_pb2_grpc.EmbedderServiceStub, tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert await stub.GetModel(embedder_pb2.GetModelRequest()) == embedder_pb2.GetModelResponse(
        model_version=bundle.model_version,
        embedding_dimension=16,
        preprocessing_hash=bundle.preprocess.hash(),
        image_size_pixels=32,
        category_counts=[2, 3, 3],
        backend="onnx",
    )


async def test_calls_before_the_model_is_loaded(tiny_bundle: Path) -> None:
    settings = EmbedderSettings(bundle=tiny_bundle, threads=1)
    model = ServedModel(settings, Metrics())
    assert await model.check_ready() != ""
    async with serving(model.pipeline) as stub:
        error = await failure(stub.Embed(embedder_pb2.EmbedRequest(images=images(picture()))))
        assert isinstance(error, UnavailableError)
        assert error.reason is Reason.EMBEDDER_UNAVAILABLE
        await model.load()
        assert await model.check_ready() == ""
        assert (await stub.Embed(embedder_pb2.EmbedRequest(images=images(picture())))).results
    await model.close()


async def test_deadlines_and_overload(tiny_bundle: Path) -> None:
    """A call whose deadline passes makes room at once; before that, a call too many is refused."""
    bundle = load_bundle(tiny_bundle)
    inner, gate, metrics = OnnxEncoder(bundle, threads=1), threading.Event(), Metrics()

    class Gated:
        def encode(self, batch: np.ndarray) -> Encoded:
            gate.wait()
            return inner.encode(batch)

    pipeline = EmbedPipeline(
        bundle, ThreadEncoder(Gated(), 1e-4), EmbedderMetrics(metrics), max_batch=2, max_queue=2
    )
    pipeline.start()

    def depth() -> float | None:
        return metrics.registry.get_sample_value("lookalike_embedder_queue_photos")

    async with serving(lambda: pipeline) as stub:
        request = embedder_pb2.EmbedRequest(images=images(picture(), picture()))
        slow = stub.Embed(request, timeout=1.0)
        while depth() != 2:
            await asyncio.sleep(0.01)
        refused = await failure(stub.Embed(request))
        assert isinstance(refused, OverloadedError)
        assert refused.reason is Reason.OVERLOADED
        assert isinstance(await failure(slow), DeadlineError)
        while depth() != 0:
            await asyncio.sleep(0.01)
        gate.set()
        assert len((await stub.Embed(request)).results) == 2
    await pipeline.close()

"""The gRPC face of the embedder: convert, validate, call the pipeline, convert."""

from __future__ import annotations

from collections.abc import Callable

from embedder.pipeline import EmbeddedPhoto, EmbedPipeline, Photo
from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason
from lookalike.limits import DEFAULT_PREDICTIONS, MAX_PREDICTIONS
from lookalike.runtime.context import CallContext
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from lookalike.wire.categories import prediction_messages
from lookalike.wire.status import status_of
from lookalike.wire.vectors import to_bytes

MAX_IMAGES = 256


class EmbedderServicer(embedder_pb2_grpc.EmbedderServiceServicer):
    """``lookalike.v1.EmbedderService``.

    Args:
        get_pipeline: Returns the loaded model, or raises ``UnavailableError`` while there is none.
        backend: Name of the inference backend, for ``GetModel``.
        get_draining: Returns the version of the model before it while calls are under way there, else "".
    """

    def __init__(
        self,
        get_pipeline: Callable[[], EmbedPipeline],
        backend: str,
        get_draining: Callable[[], str],
    ) -> None:
        self._get_pipeline = get_pipeline
        self._backend = backend
        self._get_draining = get_draining

    async def Embed(  # noqa: N802 - the contract's name
        self,
        request: embedder_pb2.EmbedRequest,
        context: CallContext,
    ) -> embedder_pb2.EmbedResponse:
        """See the contract in ``embedder.proto``."""
        pipeline = self._get_pipeline()
        _check_embed(request, pipeline.bundle.model_version)
        done = await pipeline.embed(
            [_photo(image) for image in request.images],
            classify=request.predictions_k > 0 or request.with_path_probabilities,
            timeout_seconds=context.time_remaining(),
        )
        paths = pipeline.tree.ends if request.with_paths else ()
        return embedder_pb2.EmbedResponse(
            results=[_result(outcome, f"images[{i}]", request) for i, outcome in enumerate(done.outcomes)],
            model_version=pipeline.bundle.model_version,
            paths=[types_pb2.CategoryPath(names=path) for path in paths],
            timing=embedder_pb2.EmbedTiming(
                preprocess_seconds=done.times.preprocess_seconds,
                queue_seconds=done.times.queue_seconds,
                encode_seconds=done.times.encode_seconds,
            ),
        )

    async def Classify(  # noqa: N802 - the contract's name
        self,
        request: embedder_pb2.EmbedderServiceClassifyRequest,
        context: CallContext,
    ) -> embedder_pb2.EmbedderServiceClassifyResponse:
        """See the contract in ``embedder.proto``."""
        pipeline = self._get_pipeline()
        if not pipeline.bundle.levels:
            raise FailedPreconditionError(
                "the model that is served knows no categories; serve one trained with a category tree",
                reason=Reason.MODEL_HAS_NO_CLASSIFIER,
            )
        _check_predictions(request.k, "k")
        done = await pipeline.embed(
            [_photo(request.image)], classify=True, timeout_seconds=context.time_remaining()
        )
        outcome = done.outcomes[0]
        if isinstance(outcome, InvalidInputError):
            raise _at(outcome, "image")
        assert outcome.belief
        return embedder_pb2.EmbedderServiceClassifyResponse(
            predictions=prediction_messages(outcome.belief.predictions(request.k or DEFAULT_PREDICTIONS)),
            model_version=pipeline.bundle.model_version,
            predicted_category=types_pb2.CategoryPath(names=outcome.belief.category),
        )

    async def GetModel(  # noqa: N802 - the contract's name
        self,
        request: embedder_pb2.GetModelRequest,
        context: CallContext,
    ) -> embedder_pb2.GetModelResponse:
        """See the contract in ``embedder.proto``."""
        bundle = self._get_pipeline().bundle
        calibration = bundle.match_calibration
        return embedder_pb2.GetModelResponse(
            model_version=bundle.model_version,
            embedding_dimension=bundle.dim,
            preprocessing_hash=bundle.manifest.preprocess_hash,
            image_size_pixels=bundle.preprocess.size,
            category_counts=bundle.taxonomy.sizes,
            backend=self._backend,
            draining_model_version=self._get_draining(),
            match_calibration=None if calibration is None else calibration.to_message(bundle.model_version),
        )


def _check_embed(request: embedder_pb2.EmbedRequest, served_version: str) -> None:
    if not request.images:
        raise InvalidInputError(
            f"images is empty; send 1 to {MAX_IMAGES} photos", reason=Reason.FIELD_MISSING, field="images"
        )
    if len(request.images) > MAX_IMAGES:
        raise InvalidInputError(
            f"images holds {len(request.images)} photos; send at most {MAX_IMAGES} in one call",
            reason=Reason.BATCH_TOO_LARGE,
            field="images",
            metadata={"max": str(MAX_IMAGES)},
        )
    _check_predictions(request.predictions_k, "predictions_k")
    if request.model_version not in ("", served_version):
        raise FailedPreconditionError(
            f"model {request.model_version} was asked for, but {served_version} is served",
            reason=Reason.MODEL_VERSION_MISMATCH,
            field="model_version",
            metadata={"served": served_version},
        )


def _check_predictions(k: int, field: str) -> None:
    if k > MAX_PREDICTIONS:
        raise InvalidInputError(
            f"{field} is {k}; it must be 0..{MAX_PREDICTIONS}",
            reason=Reason.FIELD_OUT_OF_RANGE,
            field=field,
            metadata={"max": str(MAX_PREDICTIONS)},
        )


def _photo(image: types_pb2.Image) -> Photo:
    if not image.HasField("region"):
        return Photo(image.content)
    region = image.region
    return Photo(image.content, (region.x_min, region.y_min, region.x_max, region.y_max))


def _at(error: InvalidInputError, image: str) -> InvalidInputError:
    """Says in which field of the request the bad photo or region is."""
    error.field = f"{image}.region" if error.reason is Reason.REGION_INVALID else f"{image}.content"
    return error


def _result(
    outcome: EmbeddedPhoto | InvalidInputError, image: str, request: embedder_pb2.EmbedRequest
) -> embedder_pb2.EmbedResult:
    if isinstance(outcome, InvalidInputError):
        return embedder_pb2.EmbedResult(error=status_of(_at(outcome, image)))
    embedded = embedder_pb2.EmbeddedImage(vector_f32_le=to_bytes(outcome.vector))
    if outcome.belief and request.predictions_k:
        embedded.predictions.extend(prediction_messages(outcome.belief.predictions(request.predictions_k)))
        embedded.predicted_category.names.extend(outcome.belief.category)
    if outcome.belief and request.with_path_probabilities:
        embedded.path_probabilities_f32_le = to_bytes(outcome.belief.posterior)
    return embedder_pb2.EmbedResult(embedded=embedded)

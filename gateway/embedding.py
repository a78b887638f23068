"""Photos to vectors, through the embedder: of queries, and of items that are to be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.categories.trees import Trees, mean_of
from gateway.deadline import Deadline
from gateway.peers import Embedder
from lookalike import limits
from lookalike.categories.belief import Belief
from lookalike.collections import Spec
from lookalike.errors import FailedPreconditionError, InvalidInputError, LookalikeError, Reason
from lookalike.v1 import embedder_pb2, types_pb2
from lookalike.wire import vectors
from lookalike.wire.status import error_from_status

_IMAGES_PER_CALL = 64
_SHARE_OF_DEADLINE = 0.8
"""The shards need the rest."""


@dataclass(frozen=True)
class EmbeddedQuery:
    """What the embedder makes of a query's photos."""

    vector_f32_le: bytes
    """Little-endian float32; of several photos their mean."""
    belief: Belief | None
    """How probable the categories are; of several photos the mean. None for a model without categories."""
    timing: embedder_pb2.EmbedTiming


async def embed_query(
    embedder: Embedder,
    trees: Trees,
    images: Sequence[tuple[str, types_pb2.Image]],
    spec: Spec,
    deadline: Deadline,
) -> EmbeddedQuery:
    """Embeds the photos of one query; the vectors of several are averaged.

    Args:
        embedder: Who embeds.
        trees: Know the categories of its models.
        images: (path of the field, photo), each of the same product.
        spec: Of the collection that is searched.
        deadline: Of the request.

    Raises:
        InvalidInputError: A photo is damaged or of another format.
        FailedPreconditionError: The embedder serves another model than the collection's.
        UnavailableError: The embedder cannot be reached (``EMBEDDER_UNAVAILABLE``).
    """
    request = embedder_pb2.EmbedRequest(
        images=[image for _, image in images], model_version=spec.model_version
    )
    trees.ask(request)
    response = await _embed(embedder, request, spec, deadline)
    for (field, _), result in zip(images, response.results, strict=True):
        if result.HasField("error"):
            raise moved(error_from_status(result.error), field)
    belief = mean_of(trees.beliefs(response))
    embedded = [result.embedded.vector_f32_le for result in response.results]
    if len(embedded) == 1:
        return EmbeddedQuery(embedded[0], belief, response.timing)
    stacked = np.stack([np.frombuffer(one, vectors.WIRE_DTYPE) for one in embedded])
    mean = stacked.mean(axis=0, dtype=np.float64).astype(np.float32)
    vectors.check_direction(mean, "query.images")
    return EmbeddedQuery(vectors.to_bytes(mean), belief, response.timing)


async def embed_items(
    embedder: Embedder, images: Sequence[types_pb2.Image], spec: Spec, deadline: Deadline
) -> list[bytes | LookalikeError]:
    """Embeds photos of items, in as many calls as their size asks for.

    Returns:
        For each photo its vector (unit norm, little-endian float32), or what is wrong with it.

    Raises:
        FailedPreconditionError: The embedder serves another model than the collection's.
        UnavailableError: The embedder cannot be reached (``EMBEDDER_UNAVAILABLE``).
    """
    outcomes: list[bytes | LookalikeError] = []
    for chunk in chunks(images):
        request = embedder_pb2.EmbedRequest(images=chunk, model_version=spec.model_version)
        response = await _embed(embedder, request, spec, deadline)
        outcomes.extend(
            error_from_status(result.error) if result.HasField("error") else result.embedded.vector_f32_le
            for result in response.results
        )
    return outcomes


def chunks(images: Sequence[types_pb2.Image]) -> Iterator[list[types_pb2.Image]]:
    """Cuts photos, in their order, into pieces that fit one message."""
    chunk: list[types_pb2.Image] = []
    size = 0
    for image in images:
        image_bytes = image.ByteSize()
        if chunk and (size + image_bytes > limits.BATCH_PAYLOAD_BYTES or len(chunk) == _IMAGES_PER_CALL):
            yield chunk
            chunk, size = [], 0
        chunk.append(image)
        size += image_bytes
    if chunk:
        yield chunk


async def _embed(
    embedder: Embedder, request: embedder_pb2.EmbedRequest, spec: Spec, deadline: Deadline
) -> embedder_pb2.EmbedResponse:
    timeout_seconds = deadline.call_timeout_seconds("embedding the photo", _SHARE_OF_DEADLINE)
    try:
        response = await embedder.embed(request, timeout_seconds=timeout_seconds)
    except FailedPreconditionError:
        raise FailedPreconditionError(
            f"the collection takes vectors of model {spec.model_version}, but the embedder serves another one"
            " now: send embeddings instead of photos, or use a collection of the current model",
            reason=Reason.MODEL_VERSION_MISMATCH,
        ) from None
    width = spec.dimension * vectors.WIRE_DTYPE.itemsize
    fits = len(response.results) == len(request.images) and all(
        result.HasField("error") or len(result.embedded.vector_f32_le) == width for result in response.results
    )
    if not fits:
        raise LookalikeError("the embedder's answer does not fit the collection")
    return response


def moved(error: LookalikeError, field: str) -> LookalikeError:
    """Names the photo's field in the caller's request instead of that in the embedder's."""
    if isinstance(error, InvalidInputError):
        part = error.field.rpartition(".")[2]
        error.field = f"{field}.{part}" if part in ("content", "region") else field
    return error

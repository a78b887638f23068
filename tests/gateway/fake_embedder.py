"""An embedder that makes vectors of the bytes of photos."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from lookalike.errors import FailedPreconditionError, InvalidInputError, LookalikeError, Reason
from lookalike.v1 import embedder_pb2, types_pb2
from lookalike.wire import vectors
from lookalike.wire.status import status_of

DIMENSION = 8
MODEL = "model-a"


def image_vector(content: bytes) -> np.ndarray:
    if content == b"opposite":
        return -image_vector(b"photo")
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
    return vectors.unit(np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32), "image")


@dataclass
class FakeEmbedder:
    """Makes a vector of a photo's bytes; b"damaged" is refused. Repeated photos differ in the last bits."""

    model_version: str = MODEL
    failure: LookalikeError | None = None
    calls: list[int] = field(default_factory=list)

    async def embed(
        self, request: embedder_pb2.EmbedRequest, *, timeout_seconds: float
    ) -> embedder_pb2.EmbedResponse:
        if self.failure:
            raise self.failure
        if request.model_version != self.model_version:
            raise FailedPreconditionError("another model is served")
        self.calls.append(len(request.images))
        response = embedder_pb2.EmbedResponse(model_version=self.model_version)
        response.timing.encode_seconds = 0.001
        for index, image in enumerate(request.images):
            result = response.results.add()
            if image.content == b"damaged":
                bad = InvalidInputError(
                    "cannot decode", reason=Reason.IMAGE_DAMAGED, field=f"images[{index}].content"
                )
                result.error.CopyFrom(status_of(bad))
                continue
            vector = image_vector(image.content)
            if request.images[-1].content != b"opposite":
                vector[0] += np.float32(1e-6 * len(self.calls))
            result.embedded.vector_f32_le = vectors.to_bytes(vector)
            for rank in range(min(request.predictions_k, 4)):
                result.embedded.predictions.add(
                    category=types_pb2.CategoryPath(names=[f"meta-{rank}"]),
                    level=types_pb2.CATEGORY_LEVEL_META,
                    probability=0.4 - rank / 10,
                )
        return response

    async def classify(
        self, request: embedder_pb2.EmbedderServiceClassifyRequest, *, timeout_seconds: float
    ) -> embedder_pb2.EmbedderServiceClassifyResponse:
        raise FailedPreconditionError("no categories", reason=Reason.MODEL_HAS_NO_CLASSIFIER)

    async def get_model(self, *, timeout_seconds: float) -> embedder_pb2.GetModelResponse:
        if self.failure:
            raise self.failure
        return embedder_pb2.GetModelResponse(model_version=self.model_version, embedding_dimension=DIMENSION)

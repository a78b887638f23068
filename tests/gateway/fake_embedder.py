"""An embedder that makes vectors of the bytes of photos."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from lookalike.errors import FailedPreconditionError, InvalidInputError, LookalikeError, Reason
from lookalike.matching import MatchCalibration
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
    match_calibration: MatchCalibration | None = None
    calls: list[int] = field(default_factory=list)
    categories: dict[tuple[str, ...], float] = field(
        default_factory=lambda: {(f"meta-{rank}",): 0.4 - rank / 10 for rank in range(4)}
    )
    """Paths of the tree, by name, and what every photo is predicted to be; none for a model without."""
    asked_for_paths: int = 0
    vectors: dict[bytes, np.ndarray] = field(default_factory=dict)
    """Photo → its vector, where it is not made of the bytes."""

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
            vector = self.vectors.get(image.content, image_vector(image.content)).copy()
            if request.images[-1].content != b"opposite":
                vector[0] += np.float32(1e-6 * len(self.calls))
            result.embedded.vector_f32_le = vectors.to_bytes(vector)
            if request.with_path_probabilities and self.categories:
                posterior = np.array(list(self.categories.values()), np.float32)
                result.embedded.path_probabilities_f32_le = vectors.to_bytes(posterior)
        if request.with_paths:
            self.asked_for_paths += 1
            response.paths.extend(types_pb2.CategoryPath(names=path) for path in self.categories)
        return response

    async def classify(
        self, request: embedder_pb2.EmbedderServiceClassifyRequest, *, timeout_seconds: float
    ) -> embedder_pb2.EmbedderServiceClassifyResponse:
        raise FailedPreconditionError("no categories", reason=Reason.MODEL_HAS_NO_CLASSIFIER)

    async def get_model(self, *, timeout_seconds: float) -> embedder_pb2.GetModelResponse:
        if self.failure:
            raise self.failure
        calibration = self.match_calibration
        return embedder_pb2.GetModelResponse(
            model_version=self.model_version,
            embedding_dimension=DIMENSION,
            match_calibration=calibration and calibration.to_message(self.model_version),
        )

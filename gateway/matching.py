"""Which calibration makes probabilities of a search's scores.

A collection has its own, or that of its model. The embedder says what its model's is, and what it said of a
model is kept: equal versions have equal calibrations, and so probabilities outlast the embedder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass

import structlog

from gateway.directory.base import Collection
from gateway.peers import Embedder
from lookalike.collections import Spec
from lookalike.errors import (
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    Reason,
    UnavailableError,
    shown,
)
from lookalike.matching import DEPTH, MatchCalibration
from lookalike.v1 import collection_pb2, embedder_pb2, types_pb2

ASK_SECONDS = 15.0
"""Between two questions to the embedder, which model it serves now."""
_SOON_SECONDS = 1.0
"""Between two questions until the first answer."""
_ANSWER_SECONDS = 1.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Matching:
    """What a search is to say of how likely its hits are right."""

    calibration: MatchCalibration
    min_probability: float = 0.0
    """Hits that are less likely are left out."""

    @property
    def native(self) -> tuple[float, float, float, float, float]:
        """As the extension takes it."""
        return (*self.calibration.coefficients, self.min_probability)


def depth_of(k: int, matching: Matching | None) -> int:
    """Returns how many hits of each shard a search needs: those that compete with its own, too."""
    return k if matching is None else max(k, DEPTH)


def asked_calibration(
    request: collection_pb2.SetMatchCalibrationRequest, spec: Spec
) -> MatchCalibration | None:
    """Returns the calibration that a collection is to have; None: that of its model.

    Raises:
        InvalidInputError: A number is out of its range.
        FailedPreconditionError: It is for another model's scores (``MODEL_VERSION_MISMATCH``).
    """
    if not request.HasField("match_calibration"):
        return None
    message, field = request.match_calibration, "match_calibration"
    calibration = MatchCalibration.from_message(message, field)
    if message.model_version != spec.model_version:
        raise FailedPreconditionError(
            f"{field} is for the scores of model {shown(message.model_version)}, the collection's model is"
            f" {spec.model_version}",
            reason=Reason.MODEL_VERSION_MISMATCH,
            field=f"{field}.model_version",
        )
    return calibration


def message_of(
    calibration: MatchCalibration | None, collection: Collection
) -> types_pb2.MatchCalibration | None:
    """Returns a calibration of a collection as a message."""
    return None if calibration is None else calibration.to_message(collection.spec.model_version)


class Calibrations:
    """Knows the calibrations of models, as far as the embedder has named them since the start."""

    def __init__(self) -> None:
        self._models: dict[str, MatchCalibration | None] = {}

    def of(self, collection: Collection) -> MatchCalibration | None:
        """Returns what makes the probabilities of a collection's searches; None: it has none."""
        return collection.match_calibration or self._models.get(collection.spec.model_version)

    def matching(self, collection: Collection, min_probability: float | None) -> Matching | None:
        """Returns what a search of a collection is to say of its hits; None: nothing.

        Args:
            collection: Is searched.
            min_probability: What the caller asks for; None: nothing.

        Raises:
            FailedPreconditionError: It asks for probabilities, and there are none (``MATCH_NOT_CALIBRATED``).
            UnavailableError: The embedder has not answered since the start (``EMBEDDER_UNAVAILABLE``).
        """
        calibration = self.of(collection)
        if calibration is not None:
            return Matching(calibration, min_probability or 0.0)
        if min_probability is None:
            return None
        if not self._models:
            raise UnavailableError(
                "min_match_probability needs the calibration of the collection's model, and the embedder"
                " cannot be asked for it now: retry, or leave it out",
                reason=Reason.EMBEDDER_UNAVAILABLE,
                retry_after_seconds=_SOON_SECONDS,
            )
        raise FailedPreconditionError(
            f"min_match_probability needs a calibration, and neither collection {shown(collection.name)} nor"
            f" its model {collection.spec.model_version} is known to have one: leave it out, serve a model"
            " that was trained with one, or run `lookalike calibrate`",
            reason=Reason.MATCH_NOT_CALIBRATED,
            field="min_match_probability",
        )

    def take(self, model: embedder_pb2.GetModelResponse) -> None:
        """Takes what the embedder says of the model that it serves."""
        calibration = None
        if model.HasField("match_calibration"):
            try:
                calibration = MatchCalibration.from_message(model.match_calibration, "match_calibration")
            except InvalidInputError as error:
                if model.model_version not in self._models:
                    log.warning(
                        "match_calibration_refused", model_version=model.model_version, reason=error.message
                    )
        self._models[model.model_version] = calibration

    def following(self, embedder: Embedder) -> Callable[[], Coroutine[None, None, None]]:
        """Returns what asks the embedder for its model, for ever; its answers come to :meth:`take`."""

        async def follow() -> None:
            while True:
                with suppress(LookalikeError):  # its failures are counted, and readiness says that it is away
                    await embedder.get_model(timeout_seconds=_ANSWER_SECONDS)
                await asyncio.sleep(ASK_SECONDS if self._models else _SOON_SECONDS)

        return follow

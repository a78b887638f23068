"""Category paths as requests carry them, and predictions as answers do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lookalike import limits
from lookalike.categories.belief import Prediction
from lookalike.errors import InvalidInputError, Reason
from lookalike.v1 import types_pb2

LEVELS = (types_pb2.CATEGORY_LEVEL_META, types_pb2.CATEGORY_LEVEL_LEVEL2, types_pb2.CATEGORY_LEVEL_LEAF)
"""From the top down."""


def check_category(names: Sequence[str], field: str) -> None:
    """Checks a category path, which may be empty.

    Args:
        names: From the top down.
        field: Its path in the request, for errors.

    Raises:
        InvalidInputError: Too many levels, or a name that is empty or too long (``CATEGORY_INVALID``).
    """
    problem = ""
    if len(names) > limits.MAX_CATEGORY_LEVELS:
        problem = f"has {len(names)} levels, at most {limits.MAX_CATEGORY_LEVELS} are allowed"
    elif not all(names):
        problem = "has an empty name: leave out missing lower levels, and never leave a gap"
    elif any(len(name.encode()) > limits.MAX_CATEGORY_NAME_BYTES for name in names):
        problem = f"has a name of more than {limits.MAX_CATEGORY_NAME_BYTES} bytes"
    if problem:
        raise InvalidInputError(f"{field} {problem}", reason=Reason.CATEGORY_INVALID, field=field)


def prediction_messages(predictions: Iterable[Prediction]) -> list[types_pb2.CategoryPrediction]:
    """Returns predicted categories as they are sent."""
    return [
        types_pb2.CategoryPrediction(
            category=types_pb2.CategoryPath(names=one.path),
            level=LEVELS[len(one.path) - 1],
            probability=one.probability,
        )
        for one in predictions
    ]

"""Category paths as requests carry them."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike import limits
from lookalike.errors import InvalidInputError, Reason


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

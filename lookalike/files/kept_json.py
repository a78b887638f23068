"""Values that are kept as JSON, and may have been written by another version."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from lookalike.errors import FailedPreconditionError, Reason


def kept_values(text: str, kept: type, what: str) -> dict[str, Any]:
    """Returns the values of a dataclass's fields; those that are not in the text are left out.

    Args:
        text: A JSON object.
        kept: The dataclass.
        what: What it describes, for the error.

    Raises:
        FailedPreconditionError: A newer version kept it, with a field more (``CONFIG_INVALID``).
        ValueError: The text is not a JSON object.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"{what} is kept as a JSON object")
    if unknown := values.keys() - {field.name for field in fields(kept)}:
        raise FailedPreconditionError(
            f"a newer version of Lookalike wrote this: {what} has {min(unknown)}, which this version does not"
            " know; it is unharmed, start that version again",
            reason=Reason.CONFIG_INVALID,
        )
    return values

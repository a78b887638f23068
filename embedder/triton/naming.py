"""Which bundle each numbered version of a model in Triton is: parameters of the model's configuration.

Triton numbers versions; a bundle is named by the hash of its content. ``parameters`` of ``config.pbtxt``
holds ``lookalike.version.<number> = <model_version>`` for every version of the model;
``lookalike.match_calibration.<number>``, as JSON, for those that make probabilities of their scores; and
``lookalike.change``, which is another one after each change: by it one knows which configuration Triton has.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from lookalike.errors import InvalidInputError, Reason

if TYPE_CHECKING:
    from lookalike.matching import MatchCalibration

DEFAULT_MODEL = "lookalike"
MODEL_PATTERN = r"^[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*$"
"""A model's name is that of a folder of the repository, and never ``.`` or ``..``."""
_PREFIX = "lookalike.version."
_CALIBRATION = "lookalike.match_calibration."
_CHANGE = "lookalike.change"


def check_model(name: str) -> str:
    """Returns a model's name.

    Raises:
        InvalidInputError: It cannot be one (``CONFIG_INVALID``).
    """
    if not re.fullmatch(MODEL_PATTERN, name):
        raise InvalidInputError(
            f"{name!r} cannot be a model's name: it must be of letters, digits, '_', '-' and '.', and not of"
            " dots alone",
            reason=Reason.CONFIG_INVALID,
            field="--model",
        )
    return name


def versions(config: Any) -> dict[str, str]:
    """Returns the model's versions: number → ``model_version`` of the bundle.

    Args:
        config: An ``inference.ModelConfig``.
    """
    return {
        key.removeprefix(_PREFIX): parameter.string_value
        for key, parameter in config.parameters.items()
        if key.startswith(_PREFIX)
    }


def version_of(config: Any, model_version: str) -> str | None:
    """Returns the number of a bundle's version, which is one; None if it has none."""
    return next((number for number, bundle in versions(config).items() if bundle == model_version), None)


def set_version(
    config: Any, number: int, model_version: str, calibration: MatchCalibration | None = None
) -> None:
    """Notes down which bundle a version is, and what makes probabilities of its scores."""
    drop_version(config, number)
    config.parameters[f"{_PREFIX}{number}"].string_value = model_version
    if calibration is not None:
        config.parameters[f"{_CALIBRATION}{number}"].string_value = calibration.to_json()


def calibration_of(config: Any, number: str) -> MatchCalibration | None:
    """Returns what makes probabilities of a version's scores; None if nothing does.

    Raises:
        FailedPreconditionError: A newer version of Lookalike exported it (``CONFIG_INVALID``).
        TypeError, ValueError: It was changed by hand, to what is no calibration.
    """
    from lookalike.matching import MatchCalibration  # needs NumPy, which a command's options do not

    key = f"{_CALIBRATION}{number}"
    if key not in config.parameters:
        return None
    return MatchCalibration.from_json(config.parameters[key].string_value)


def drop_version(config: Any, number: int) -> None:
    """Forgets a version."""
    for prefix in (_PREFIX, _CALIBRATION):
        config.parameters.pop(f"{prefix}{number}", None)


def change_of(config: Any) -> str:
    """Returns what distinguishes the configuration from earlier ones; empty if it was made by hand."""
    return str(config.parameters[_CHANGE].string_value) if _CHANGE in config.parameters else ""


def mark_change(config: Any) -> None:
    """Distinguishes the configuration from earlier ones."""
    config.parameters[_CHANGE].string_value = secrets.token_hex(8)

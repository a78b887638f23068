"""What the client's arguments must be: each check returns the value for the wire, or names the argument.

Types are the client's to check, since a message would raise a bare ``TypeError`` or take a text for the list
of its letters. Limits are the server's.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from lookalike.addresses import check_address
from lookalike.errors import InvalidInputError, Reason, shown
from lookalike.limits import MAX_DEADLINE_SECONDS

T = TypeVar("T")
_SINGLE = (str, bytes, bytearray, memoryview, os.PathLike, Mapping)


def text(value: object, field: str, *, hint: str = "") -> str:
    """Returns a text.

    Args:
        value: The argument.
        field: What the error calls it.
        hint: What to do about a value of another type.

    Raises:
        InvalidInputError: It is of another type, or has lone surrogates, which UTF-8 cannot carry.
    """
    if not isinstance(value, str):
        raise _wrong_type(field, "text", value, hint=hint)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{field} must be Unicode text, not {shown(value)}", field=field) from None
    return value


def address(value: object, field: str) -> str:
    """Returns an address, ``host:port`` or a Unix socket; an IPv6 host gets its brackets if it has none.

    Raises:
        InvalidInputError: It is not a valid address.
    """
    target = text(value, field)
    try:
        return target if target.startswith("unix:") else check_address(target)
    except ValueError as error:
        raise InvalidInputError(f"{field} {error}", field=field) from None


def optional_text(value: object, field: str) -> str | None:
    """Returns a text or None, as :func:`text`."""
    return None if value is None else text(value, field)


def many(values: Iterable[T], field: str, what: str) -> Iterable[T]:
    """Returns several things.

    Raises:
        InvalidInputError: It is a single text, photo or mapping, or nothing that can be iterated over.
    """
    if not isinstance(values, _SINGLE):
        with suppress(TypeError):
            iter(values)
            return values
    raise _wrong_type(field, f"a sequence of {what}", values, number="one ")


def texts(values: Iterable[str], field: str, what: str = "texts") -> list[str]:
    """Returns several texts; a single one is refused, since it would be taken for its letters.

    Raises:
        InvalidInputError: As :func:`many` and :func:`text`.
    """
    return [text(value, f"{field}[{i}]") for i, value in enumerate(many(values, field, what))]


def attributes(values: Mapping[str, object], field: str) -> dict[str, str]:
    """Returns texts by name.

    Raises:
        InvalidInputError: It is not a mapping, or a name or value is not text. Numbers are written as text,
            so that what is stored is what was sent.
    """
    return {
        text(name, f"a name in {field}"): text(value, f"{field}[{shown(name)}]", hint=_as_text(value))
        for name, value in mapping(values, field).items()
    }


def versions(values: Mapping[str, int], field: str) -> dict[str, int]:
    """Returns versions by item id, or raises an InvalidInputError."""
    return {
        text(item_id, f"an id in {field}"): integer(version, f"{field}[{shown(item_id)}]", bits=64)
        for item_id, version in mapping(values, field).items()
    }


def mapping(values: Mapping[Any, T], field: str) -> Mapping[Any, T]:
    """Returns a mapping, or raises an InvalidInputError."""
    if not isinstance(values, Mapping):
        raise _wrong_type(field, "a mapping", values)
    return values


def flag(value: object, field: str) -> bool:
    """Returns a yes or no, or raises an InvalidInputError."""
    if not isinstance(value, bool | np.bool_):
        raise _wrong_type(field, "True or False", value)
    return bool(value)


def integer(value: object, field: str, *, bits: int = 32) -> int:
    """Returns a whole number that the wire can carry; narrower limits are the server's.

    Raises:
        InvalidInputError: It is of another type (``FIELD_INVALID``), negative or has more bits
            (``FIELD_OUT_OF_RANGE``).
    """
    if isinstance(value, bool | np.bool_):
        raise _wrong_type(field, "a whole number", value)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise _wrong_type(field, "a whole number", value) from None
    if not 0 <= number < 1 << bits:
        got = f", got {number}" if number.bit_length() <= 64 else ""
        raise InvalidInputError(
            f"{field} must not be negative or huge{got}", reason=Reason.FIELD_OUT_OF_RANGE, field=field
        )
    return number


def number(value: object, field: str) -> float:
    """Returns a number; its range is the server's to judge.

    Raises:
        InvalidInputError: It is of another type (``FIELD_INVALID``), or above every float
            (``FIELD_OUT_OF_RANGE``).
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise _wrong_type(field, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise InvalidInputError(f"{field} is huge", reason=Reason.FIELD_OUT_OF_RANGE, field=field) from None


def timeout(value: object, field: str) -> float:
    """Returns the deadline of one call in seconds, at most the longest one that servers grant.

    Raises:
        InvalidInputError: It is not a number above 0; infinity is one, NaN is not.
    """
    seconds = number(value, field)
    if not seconds > 0:
        raise _out_of_range(field, "above 0 seconds", seconds)
    return min(seconds, MAX_DEADLINE_SECONDS)


def patience(value: object, field: str) -> float:
    """Returns how long to go on trying, in seconds; infinity is for ever.

    Raises:
        InvalidInputError: It is not a number of 0 or above.
    """
    seconds = number(value, field)
    if not seconds >= 0:
        raise _out_of_range(field, "0 seconds or more", seconds)
    return seconds


def _wrong_type(
    field: str, wanted: str, value: object, *, number: str = "", hint: str = ""
) -> InvalidInputError:
    got = f"{number}{type(value).__name__}{hint}"
    return InvalidInputError(f"{field} must be {wanted}, not {got}", field=field)


def _as_text(value: object) -> str:
    return f"; write it as text, {str(value)!r}" if isinstance(value, float | int | np.number) else ""


def _out_of_range(field: str, wanted: str, value: float) -> InvalidInputError:
    return InvalidInputError(
        f"{field} must be {wanted}, got {value:g}", reason=Reason.FIELD_OUT_OF_RANGE, field=field
    )

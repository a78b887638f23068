"""Filters: which items a search may find, by category and attributes.

    from lookalike.filters import Equals, Filter, InCategory, Range

    Filter(all=(InCategory(("Kitchen",)), Range("price", max=20.0)), none=(Equals("brand", "Acme"),))

Wherever a filter is taken, a single condition may stand for a filter of just that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from lookalike.errors import InvalidInputError, shown
from lookalike.limits import MAX_FILTER_CONDITIONS

__all__ = ["Condition", "Equals", "Filter", "In", "InCategories", "InCategory", "Range", "as_filter"]


class FilterError(InvalidInputError, ValueError):
    """A filter or a condition cannot be made of this."""


@dataclass(frozen=True, slots=True)
class InCategory:
    """The item lies in this category or below it.

    Attributes:
        path: Full path, from the top down: ``("Kitchen", "Drinkware")``.
    """

    path: tuple[str, ...]

    def __post_init__(self) -> None:
        _set(self, "path", _texts(self.path, "path"))


@dataclass(frozen=True, slots=True)
class InCategories:
    """The item lies in one of these categories, of which there is at least one, or below it.

    Attributes:
        paths: Full paths, from the top down: ``(("Kitchen", "Drinkware"), ("Garden",))``.
    """

    paths: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        _set(self, "paths", _paths(self.paths))


@dataclass(frozen=True, slots=True)
class Equals:
    """The attribute ``name`` has exactly this value."""

    name: str
    value: str

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_text(self.value, "value")


@dataclass(frozen=True, slots=True)
class In:
    """The attribute ``name`` has one of these values, of which there is at least one."""

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_name(self.name)
        _set(self, "values", _texts(self.values, "values"))


@dataclass(frozen=True, slots=True)
class Range:
    """The value of the attribute ``name`` is a number between two bounds, which belong to the range.

    Values are text: finite decimal numbers (``12``, ``-0.5``, ``1e3``) count, others never pass.

    Attributes:
        name: The attribute.
        min: Least number; None: no lower bound.
        max: Greatest number; None: no upper bound.
    """

    name: str
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        for field in ("min", "max"):
            bound = getattr(self, field)
            if bound is None:
                continue
            if isinstance(bound, bool) or not isinstance(bound, int | float):
                raise _wrong(f"{field} must be a number or None, not {type(bound).__name__}")
            try:
                _set(self, field, float(bound))
            except OverflowError:
                raise _wrong(f"{field} must fit a float") from None
            if math.isnan(bound):
                raise _wrong(f"{field} must be a number, not NaN")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise _wrong(f"min must not be above max, but {self.min:g} is above {self.max:g}")


Condition: TypeAlias = InCategory | InCategories | Equals | In | Range


@dataclass(frozen=True, slots=True)
class Filter:
    """An item passes when all of ``all``, one of ``any`` (if there are any) and none of ``none`` hold.

    Together at most 64 conditions. A filter without any lets every item pass.
    """

    all: tuple[Condition, ...] = ()
    any: tuple[Condition, ...] = ()
    none: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        for field in ("all", "any", "none"):
            _set(self, field, _conditions(getattr(self, field), field))
        count = len(self.all) + len(self.any) + len(self.none)
        if count > MAX_FILTER_CONDITIONS:
            raise _wrong(f"a filter has at most {MAX_FILTER_CONDITIONS} conditions together, not {count}")


def as_filter(filter: Filter | Condition) -> Filter:
    """Returns a filter as it is, and a condition as a filter of just that.

    Raises:
        FilterError: It is neither.
    """
    if isinstance(filter, Filter):
        return filter
    if isinstance(filter, Condition):
        return Filter(all=(filter,))
    raise _wrong(
        "filter must be a Filter or one of Equals, In, InCategories, InCategory and Range, not"
        f" {type(filter).__name__}"
    )


def _set(instance: object, field: str, value: object) -> None:
    """Normalises a field of a frozen dataclass while it is made."""
    object.__setattr__(instance, field, value)


def _conditions(given: Iterable[Condition], field: str) -> tuple[Condition, ...]:
    if isinstance(given, Condition) or not isinstance(given, Iterable):
        raise _wrong(f"{field} must be a sequence of conditions, not one {type(given).__name__}")
    conditions = tuple(given)
    for condition in conditions:
        if not isinstance(condition, Condition):
            raise _wrong(
                f"{field} must hold conditions (Equals, In, InCategories, InCategory, Range), not"
                f" {type(condition).__name__}"
            )
    return conditions


def _texts(given: Iterable[str], field: str) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise _wrong(f"{field} must be a sequence of texts, not one {type(given).__name__}")
    texts = tuple(given)
    if not texts:
        raise _wrong(f"{field} must not be empty")
    for text in texts:
        _check_text(text, field)
    return texts


def _paths(given: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise _wrong(f"paths must be a sequence of paths, not one {type(given).__name__}")
    paths = tuple(_texts(path, "a path") for path in given)
    if not paths:
        raise _wrong("paths must not be empty")
    return paths


def _check_name(name: object) -> None:
    _check_text(name, "name")
    if not name:
        raise _wrong("name must be the name of an attribute, not ''")


def _check_text(text: object, field: str) -> None:
    if not isinstance(text, str):
        raise _wrong(f"{field} must be text, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _wrong(f"{field} must be text without lone surrogates, not {shown(text)}") from None


def _wrong(problem: str) -> FilterError:
    return FilterError(problem, field="filter")

"""Between :mod:`lookalike.filters` and the messages of ``types.proto``."""

from __future__ import annotations

import math

from lookalike import limits
from lookalike.errors import InvalidInputError, Reason
from lookalike.filters import Condition, Equals, Filter, In, InCategories, InCategory, Range
from lookalike.v1 import types_pb2
from lookalike.wire.categories import check_category

_GROUPS = ("all", "any", "none")


def filter_message(filter: Filter) -> types_pb2.Filter:
    """Returns a filter as it is sent."""
    return types_pb2.Filter(**{group: map(_condition_message, getattr(filter, group)) for group in _GROUPS})


def _condition_message(condition: Condition) -> types_pb2.Condition:
    match condition:
        case InCategory(path):
            return types_pb2.Condition(in_category=types_pb2.CategoryPath(names=path))
        case InCategories(paths):
            several = (types_pb2.CategoryPath(names=path) for path in paths)
            return types_pb2.Condition(in_categories=types_pb2.CategoryPaths(paths=several))
        case Equals(name, value):
            return types_pb2.Condition(equals=types_pb2.AttributeEquals(name=name, value=value))
        case In(name, values):
            # Python has no attribute access for the name `in`.
            message = types_pb2.Condition()
            getattr(message, "in").MergeFrom(types_pb2.AttributeIn(name=name, values=values))
            return message
        case Range(name, low, high):
            return types_pb2.Condition(range=types_pb2.AttributeRange(name=name, min=low, max=high))


def filter_of(message: types_pb2.Filter, field: str) -> Filter:
    """Returns a filter, with every limit of ``types.proto`` checked.

    Args:
        message: The filter.
        field: Its path in the request, for errors.

    Raises:
        InvalidInputError: A condition without a test, a name, path, value or bound out of its limits, or more
            than 64 conditions or 256 KiB together; the error names the condition's field.
    """
    size = message.ByteSize()
    if size > limits.MAX_FILTER_BYTES:
        raise _out_of_range(
            field, f"has {size} bytes, at most {limits.MAX_FILTER_BYTES} are allowed together"
        )
    count = sum(len(getattr(message, group)) for group in _GROUPS)
    if count > limits.MAX_FILTER_CONDITIONS:
        raise _out_of_range(
            field, f"holds {count} conditions, at most {limits.MAX_FILTER_CONDITIONS} are allowed"
        )
    return Filter(
        **{
            group: tuple(
                _condition(condition, f"{field}.{group}[{i}]")
                for i, condition in enumerate(getattr(message, group))
            )
            for group in _GROUPS
        }
    )


def _condition(message: types_pb2.Condition, field: str) -> Condition:
    match message.WhichOneof("test"):
        case "in_category":
            return InCategory(_path(message.in_category, f"{field}.in_category"))
        case "in_categories":
            return _in_categories(message.in_categories, f"{field}.in_categories.paths")
        case "equals":
            _check_name(message.equals.name, f"{field}.equals.name")
            _check_size(message.equals.value, f"{field}.equals.value")
            return Equals(message.equals.name, message.equals.value)
        case "in":
            return _in(getattr(message, "in"), f"{field}.in")
        case "range":
            return _range(message.range, f"{field}.range")
        case _:
            raise _missing(field, "has no test: set one of in_category, in_categories, equals, in and range")


def _path(message: types_pb2.CategoryPath, field: str) -> tuple[str, ...]:
    path = tuple(message.names)
    check_category(path, field)
    if not path:
        raise _missing(field, "names no category")
    return path


def _in_categories(message: types_pb2.CategoryPaths, field: str) -> InCategories:
    _check_count(len(message.paths), field)
    return InCategories(tuple(_path(path, f"{field}[{i}]") for i, path in enumerate(message.paths)))


def _in(message: types_pb2.AttributeIn, field: str) -> In:
    _check_name(message.name, f"{field}.name")
    _check_count(len(message.values), f"{field}.values")
    for i, value in enumerate(message.values):
        _check_size(value, f"{field}.values[{i}]")
    return In(message.name, tuple(message.values))


def _range(message: types_pb2.AttributeRange, field: str) -> Range:
    _check_name(message.name, f"{field}.name")
    low = message.min if message.HasField("min") else None
    high = message.max if message.HasField("max") else None
    for bound, name in ((low, "min"), (high, "max")):
        if bound is not None and math.isnan(bound):
            raise _out_of_range(f"{field}.{name}", "is NaN, which no value compares with")
    if low is not None and high is not None and low > high:
        raise _out_of_range(field, f"has a min of {low:g}, which is above its max of {high:g}")
    return Range(message.name, low, high)


def _check_count(count: int, field: str) -> None:
    if not count:
        raise _missing(field, "is empty")
    if count > limits.MAX_FILTER_VALUES:
        raise _out_of_range(field, f"holds {count} values, at most {limits.MAX_FILTER_VALUES} are allowed")


def _check_name(name: str, field: str) -> None:
    if not name:
        raise _missing(field, "is empty: name an attribute")
    if len(name.encode()) > limits.MAX_ATTRIBUTE_NAME_BYTES:
        raise _out_of_range(
            field, f"has {len(name.encode())} bytes, at most {limits.MAX_ATTRIBUTE_NAME_BYTES} are allowed"
        )


def _check_size(value: str, field: str) -> None:
    size = len(value.encode())
    if size > limits.MAX_ATTRIBUTE_VALUE_BYTES:
        raise _out_of_range(
            field, f"has {size} bytes, at most {limits.MAX_ATTRIBUTE_VALUE_BYTES} are allowed"
        )


def _missing(field: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"{field} {problem}", reason=Reason.FIELD_MISSING, field=field)


def _out_of_range(field: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"{field} {problem}", reason=Reason.FIELD_OUT_OF_RANGE, field=field)

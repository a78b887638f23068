"""Filters on the wire."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.errors import InvalidInputError, Reason
from lookalike.filters import Equals, Filter, In, InCategories, InCategory, Range
from lookalike.v1 import types_pb2
from lookalike.wire.filters import filter_message, filter_of

NAMES = st.text(min_size=1, max_size=16)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
VALUES = st.text(max_size=16)
BOUNDS = st.none() | st.floats(allow_nan=False)


def _in_order(name: str, low: float | None, high: float | None) -> Range:
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Range(name, low, high)


CONDITIONS = st.one_of(
    st.builds(InCategory, PATHS),
    st.builds(InCategories, st.lists(PATHS, min_size=1, max_size=3).map(tuple)),
    st.builds(Equals, NAMES, VALUES),
    st.builds(In, NAMES, st.lists(VALUES, min_size=1, max_size=4).map(tuple)),
    st.builds(_in_order, NAMES, BOUNDS, BOUNDS),
)
GROUPS = st.lists(CONDITIONS, max_size=3).map(tuple)


@given(st.builds(Filter, GROUPS, GROUPS, GROUPS))
def test_a_filter_survives_the_wire(filter: Filter) -> None:
    data = filter_message(filter).SerializeToString()
    assert filter_of(types_pb2.Filter.FromString(data), "filter") == filter


def _values(count: int, value: str = "x") -> types_pb2.Condition:
    condition = types_pb2.Condition()
    message = getattr(condition, "in")
    message.name = "a"
    message.values.extend([value] * count)
    return condition


def _path(*names: str) -> types_pb2.Condition:
    return types_pb2.Condition(in_category=types_pb2.CategoryPath(names=names))


def _paths(*paths: str) -> types_pb2.Condition:
    several = [types_pb2.CategoryPath(names=path) for path in paths]
    return types_pb2.Condition(in_categories=types_pb2.CategoryPaths(paths=several))


def _equals(name: str, value: str = "x") -> types_pb2.Condition:
    return types_pb2.Condition(equals=types_pb2.AttributeEquals(name=name, value=value))


def _range(name: str = "a", **bounds: float) -> types_pb2.Condition:
    return types_pb2.Condition(range=types_pb2.AttributeRange(name=name, **bounds))


@pytest.mark.parametrize(
    ("condition", "field", "reason"),
    [
        (types_pb2.Condition(), "", Reason.FIELD_MISSING),
        (_path(), ".in_category", Reason.FIELD_MISSING),
        (_path("a", ""), ".in_category", Reason.CATEGORY_INVALID),
        (_path("a", "b", "c", "d"), ".in_category", Reason.CATEGORY_INVALID),
        (_path("ä" * 129), ".in_category", Reason.CATEGORY_INVALID),
        (_paths(), ".in_categories.paths", Reason.FIELD_MISSING),
        (_paths("a", ""), ".in_categories.paths[1]", Reason.FIELD_MISSING),
        (_paths("abcd"), ".in_categories.paths[0]", Reason.CATEGORY_INVALID),
        (_paths(*["a"] * 1001), ".in_categories.paths", Reason.FIELD_OUT_OF_RANGE),
        (_equals(""), ".equals.name", Reason.FIELD_MISSING),
        (_equals("ä" * 33), ".equals.name", Reason.FIELD_OUT_OF_RANGE),
        (_equals("a", "x" * 1025), ".equals.value", Reason.FIELD_OUT_OF_RANGE),
        (_values(0), ".in.values", Reason.FIELD_MISSING),
        (_values(1001), ".in.values", Reason.FIELD_OUT_OF_RANGE),
        (_values(2, "x" * 1025), ".in.values[0]", Reason.FIELD_OUT_OF_RANGE),
        (_range(""), ".range.name", Reason.FIELD_MISSING),
        (_range(min=math.nan), ".range.min", Reason.FIELD_OUT_OF_RANGE),
        (_range(max=math.nan), ".range.max", Reason.FIELD_OUT_OF_RANGE),
        (_range(min=2, max=1), ".range", Reason.FIELD_OUT_OF_RANGE),
    ],
)
def test_the_field_at_fault_is_named(condition: Any, field: str, reason: Reason) -> None:
    message = types_pb2.Filter(any=[_equals("fine"), condition])
    with pytest.raises(InvalidInputError) as caught:
        filter_of(message, "filter")
    assert (caught.value.field, caught.value.reason) == (f"filter.any[1]{field}", reason)
    assert caught.value.field in caught.value.message


def test_the_limits_themselves_are_accepted() -> None:
    long = [_values(1, "x" * 1024)] * 30
    message = types_pb2.Filter(all=[_values(1000, "x" * 200), *long], none=[_equals("ä" * 32)] * 33)
    assert len(filter_of(message, "filter").none) == 33
    message.any.append(_range())
    with pytest.raises(InvalidInputError, match="holds 65 conditions, at most 64") as caught:
        filter_of(message, "filter")
    assert caught.value.field == "filter"


def test_a_filter_has_at_most_256_kib() -> None:
    largest = types_pb2.Filter(all=[_values(255, "x" * 1024)])
    assert 256 * 1024 - 1024 <= largest.ByteSize() <= 256 * 1024
    filter_of(largest, "filter")
    with pytest.raises(InvalidInputError, match="at most 262144 are allowed together") as caught:
        filter_of(types_pb2.Filter(all=[_values(256, "x" * 1024)]), "filter")
    assert (caught.value.field, caught.value.reason) == ("filter", Reason.FIELD_OUT_OF_RANGE)

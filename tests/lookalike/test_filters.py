"""Filters: what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lookalike.filters import Equals, Filter, In, InCategories, InCategory, Range, as_filter


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InCategory(()), "path must not be empty"),
        (lambda: InCategories(()), "paths must not be empty"),
        (lambda: InCategories("Kitchen"), "paths must be a sequence of paths, not one str"),  # type: ignore[arg-type]
        (lambda: InCategories(("Kitchen",)), "a path must be a sequence of texts, not one str"),  # type: ignore[arg-type]
        (lambda: InCategories((("Kitchen",), ())), "a path must not be empty"),
        (lambda: InCategory("Kitchen"), "path must be a sequence of texts, not one str"),  # type: ignore[arg-type]
        (lambda: InCategory((1,)), "path must be text, not int"),  # type: ignore[arg-type]
        (lambda: Equals("", "x"), "name must be the name of an attribute, not ''"),
        (lambda: Equals("size", 42), "value must be text, not int"),  # type: ignore[arg-type]
        (lambda: Equals("size", "\ud800"), r"value must be text without lone surrogates, not '\\ud800'"),
        (lambda: Range("\udcff"), r"name must be text without lone surrogates, not '\\udcff'"),
        (lambda: In("size", ("L", "\ud800")), r"values must be text without lone surrogates, not '\\ud800'"),
        (lambda: In("size", ()), "values must not be empty"),
        (lambda: In("size", "ML"), "values must be a sequence of texts, not one str"),  # type: ignore[arg-type]
        (lambda: Range("price", min=math.nan), "min must be a number, not NaN"),
        (lambda: Range("price", max="9"), "max must be a number or None, not str"),  # type: ignore[arg-type]
        (lambda: Range("price", max=True), "max must be a number or None, not bool"),
        (lambda: Range("price", max=10**400), "max must fit a float"),
        (lambda: Range("price", 2, 1), "min must not be above max, but 2 is above 1"),
        (lambda: Filter(all=Equals("a", "b")), "all must be a sequence of conditions"),  # type: ignore[arg-type]
        (lambda: Filter(any=("a",)), "any must hold conditions"),  # type: ignore[arg-type]
        (lambda: Filter(none=(Range("a"),) * 65), "at most 64 conditions together, not 65"),
        (lambda: as_filter({"brand": "Acme"}), "filter must be a Filter or one of"),  # type: ignore[arg-type]
    ],
)
def test_what_says_nothing_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_lists_become_tuples() -> None:
    condition = In("size", ["M"])  # type: ignore[arg-type]
    assert condition.values == ("M",)
    assert Filter(all=[condition]).all == (condition,)  # type: ignore[arg-type]
    assert hash(Filter(all=(condition,))) == hash(as_filter(condition))

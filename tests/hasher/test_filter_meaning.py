"""What each condition and filter means: to the engine, and to the oracle of the other tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasher.filters import Attributes, Equals, Filter, In, InCategories, InCategory, Range
from hasher.index import HashIndex
from tests.hasher import oracle


def passes(condition: Any, category: Sequence[str], values: Mapping[str, str]) -> bool:
    """Whether an item passes; engine and oracle must agree."""
    attributes = Attributes([tuple(category)], [dict(values)])
    vector = np.ones((1, 2), np.float32)
    index = HashIndex.build(vector, np.array([7], np.uint64), attributes=attributes)
    ids, _ = index.search(vector, 1, filter=condition)
    found = bool(ids[0, 0] == 7)
    assert found is oracle.passes(condition, category, values)
    return found


MUG = (("Kitchen", "Drinkware", "Mugs"), {"brand": "Acme", "price": "12.50", "size": "L"})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (InCategory(("Kitchen",)), True),
        (InCategory(("Kitchen", "Drinkware", "Mugs")), True),
        (InCategory(("Kitchen", "Drinkware", "Mugs", "Tall")), False),
        (InCategory(("Drinkware",)), False),
        (InCategory(("Kitchen/Drinkware",)), False),
        (InCategories((("Garden",), ("Kitchen", "Drinkware"))), True),
        (InCategories((("Kitchen",), ("Kitchen", "Drinkware"))), True),
        (InCategories((("Garden",), ("Kitchen", "Pans"))), False),
        (Equals("brand", "Acme"), True),
        (Equals("brand", "acme"), False),
        (Equals("colour", ""), False),
        (In("size", ("M", "L")), True),
        (In("size", ("M", "S")), False),
        (In("colour", ("M", "S")), False),
        (Range("price", 12.5, 12.5), True),
        (Range("price", max=12.49), False),
        (Range("price", min=12.51), False),
        (Range("price"), True),
        (Range("size"), False),
        (Range("colour"), False),
    ],
)
def test_a_condition_holds_or_not(condition: Any, expected: bool) -> None:
    assert passes(condition, *MUG) is expected
    assert passes(Filter(none=(condition,)), *MUG) is not expected


@pytest.mark.parametrize("text", ["", "inf", "nan", "1_000", " 1", "1 EUR", "0x10", "1e999", "١", "."])
def test_what_is_not_a_decimal_number_is_in_no_range(text: str) -> None:
    assert not passes(Range("price"), (), {"price": text})


@pytest.mark.parametrize("text", ["1", "+1.0", "1.", "0.1e1", "10E-1", "01"])
def test_decimal_numbers_are_compared_as_numbers(text: str) -> None:
    assert passes(Range("price", 1, 1), (), {"price": text})


def test_all_any_and_none_are_combined() -> None:
    brand, size, price = Equals("brand", "Acme"), Equals("size", "M"), Range("price", max=20)
    assert passes(Filter(), *MUG)
    assert passes(Filter(all=(brand, price), any=(size, price), none=(size,)), *MUG)
    assert not passes(Filter(all=(brand, size)), *MUG)
    assert not passes(Filter(any=(size,)), *MUG)
    assert not passes(Filter(none=(size, brand)), *MUG)


@given(
    st.text("+-.0123456789eE", max_size=9), st.none() | st.floats(-1e4, 1e4), st.none() | st.floats(-1e4, 1e4)
)
def test_engine_and_oracle_read_the_same_numbers(text: str, low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        low, high = high, low
    passes(Range("price", low, high), (), {"price": text})

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tokens import decode_log_position, decode_page, encode_log_position, encode_page
from lookalike.errors import InvalidInputError, Reason

POSITIONS = st.dictionaries(st.integers(0, 7), st.integers(0, 2**64 - 1))


@given(POSITIONS)
def test_log_positions_come_back(positions: dict[int, int]) -> None:
    assert decode_log_position(encode_log_position("shop.1", positions), "shop.1", 8) == positions


@given(st.text(min_size=1).filter(lambda text: text.encode(errors="replace") == text.encode(errors="ignore")))
def test_pages_come_back(item_id: str) -> None:
    assert decode_page(encode_page("shop.1", item_id), "shop.1") == item_id


def test_no_token_asks_for_nothing() -> None:
    assert decode_log_position("", "shop.1", 2) == {}
    assert decode_page("", "shop.1") == ""


def _token(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        "?",
        "é",
        "AAAA",
        "W10",
        _token({}),
        _token(["shop.1", [[9, 1]]]),
        _token(["shop.1", [[0, -1]]]),
        _token(["shop.1", [[0, 2**64]]]),
        _token(["shop.1", [["0", 1]]]),
        _token(["shop.1", [[0]]]),
        _token(["shop.1", [[True, 1.5]]]),
        encode_log_position("shop.2", {0: 1}),
        "[" * 5000,
    ],
)
def test_bad_log_positions_are_refused(token: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_log_position(token, "shop.1", 2)
    assert caught.value.field == "min_log_position"


@given(st.text(min_size=1))
def test_no_text_is_a_token_by_chance(token: str) -> None:
    with pytest.raises(InvalidInputError, match="page_token"):
        decode_page(token, "shop.1")


def test_a_page_token_with_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="page_token"):
        decode_page(_token(["shop.1", "\ud800"]), "shop.1")


def test_a_page_of_another_collection_is_refused() -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_page(encode_page("shop.2", "a"), "shop.1")
    assert (caught.value.reason, caught.value.field) == (Reason.PAGE_TOKEN_INVALID, "page_token")

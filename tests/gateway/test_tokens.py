from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tokens import decode_log_position, decode_page, encode_log_position, encode_page
from lookalike.errors import InvalidInputError, Reason

POSITIONS = st.dictionaries(st.integers(0, 7), st.integers(0, 2**64 - 1))


def _token(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


@given(POSITIONS)
def test_log_positions_come_back(positions: dict[int, int]) -> None:
    assert decode_log_position(encode_log_position("shop.1", "log", positions), "shop.1", "log") == positions


@given(st.text(min_size=1).filter(lambda text: text.encode(errors="replace") == text.encode(errors="ignore")))
def test_pages_come_back(item_id: str) -> None:
    assert decode_page(encode_page("shop.1", item_id), "shop.1") == item_id


def test_no_token_asks_for_nothing() -> None:
    assert decode_log_position("", "shop.1", "log") == {}
    assert decode_page("", "shop.1") == ""


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("?", "not a token"),
        ("é", "not a token"),
        ("AAAA", "not a token"),
        ("W10", "not a token"),
        (_token({}), "not a token"),
        (_token([2, "shop.1", "log"]), "not a token"),
        (_token([2, "shop.1", "log", [[0, -1]]]), "not a token"),
        (_token([2, "shop.1", "log", [[-1, 1]]]), "not a token"),
        (_token([2, "shop.1", "log", [[0, 2**64]]]), "not a token"),
        (_token([2, "shop.1", "log", [["0", 1]]]), "not a token"),
        (_token([2, "shop.1", "log", [[0]]]), "not a token"),
        (_token([2, "shop.1", "log", [[True, 1.5]]]), "not a token"),
        (_token([1, "shop.1", "log", [[0, 1]]]), "not a token"),
        ("[" * 5000, "not a token"),
        (encode_page("shop.1", "a"), "not a token"),
        (_token(["shop.1", [[0, 1]]]), "made by an older version"),
        (_token([3, "whatever"]), "made by a newer version"),
        (encode_log_position("shop.2", "log", {0: 1}), "another collection, or to an earlier one"),
        (encode_log_position("shop.1", "other", {0: 1}), "another log"),
    ],
)
def test_bad_log_positions_are_refused_with_the_reason(token: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        decode_log_position(token, "shop.1", "log")
    assert caught.value.field == "min_log_position"


@given(st.text(min_size=1))
def test_no_text_is_a_token_by_chance(token: str) -> None:
    with pytest.raises(InvalidInputError, match="page_token"):
        decode_page(token, "shop.1")


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (_token([2, "shop.1", "\ud800"]), "not a token"),
        (_token([2, "shop.1", ""]), "not a token"),
        (encode_log_position("shop.1", "log", {0: 1}), "not a token"),
        (_token(["shop.1", "a"]), "made by an older version"),
        (_token([3, "shop.1", "a"]), "made by a newer version"),
        (encode_page("shop.2", "a"), "another collection, or of an earlier one"),
    ],
)
def test_bad_pages_are_refused_with_the_reason(token: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        decode_page(token, "shop.1")
    assert (caught.value.reason, caught.value.field) == (Reason.PAGE_TOKEN_INVALID, "page_token")

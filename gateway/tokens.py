"""Opaque tokens of the API: log positions (read your writes) and list pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from lookalike.errors import InvalidInputError, Reason

_MAX_POSITION = 2**64 - 1


def encode_log_position(generation: str, positions: Mapping[int, int]) -> str:
    """Returns the token of a write.

    Args:
        generation: Where the write went.
        positions: Shard → the log position of the write on it.
    """
    return _encode([generation, sorted(positions.items())])


def decode_log_position(token: str, generation: str, shard_count: int) -> dict[int, int]:
    """Returns shard → the position that an answer must rest on; shards that are absent may rest on any.

    Args:
        token: From :func:`encode_log_position`; empty for no demand.
        generation: The one that is searched.
        shard_count: Of this gateway.

    Raises:
        InvalidInputError: No such token, or one of another collection (``FIELD_INVALID``).
    """
    if not token:
        return {}
    match _decode(token):
        case [str(of_generation), list(pairs)] if all(_is_position(pair, shard_count) for pair in pairs):
            positions = {int(shard): int(position) for shard, position in pairs}
        case _:
            raise InvalidInputError(
                "min_log_position is no token of this server: pass a WriteReceipt.log_position unchanged",
                field="min_log_position",
            )
    if of_generation != generation:
        raise InvalidInputError(
            "min_log_position comes from a write to another collection, or to an earlier one of this name",
            field="min_log_position",
        )
    return positions


def encode_page(generation: str, after_item_id: str) -> str:
    """Returns the token of the page that starts after an item."""
    return _encode([generation, after_item_id])


def decode_page(token: str, generation: str) -> str:
    """Returns the item id after which the page starts; empty for the first page.

    Raises:
        InvalidInputError: No such token, or one of another collection (``PAGE_TOKEN_INVALID``).
    """
    if not token:
        return ""
    match _decode(token):
        case [str(of_generation), str(after_item_id)] if of_generation == generation and after_item_id:
            return after_item_id
        case _:
            raise InvalidInputError(
                "page_token is no token of this collection: pass a next_page_token unchanged, or nothing",
                reason=Reason.PAGE_TOKEN_INVALID,
                field="page_token",
            )


def _is_position(pair: object, shard_count: int) -> bool:
    match pair:
        case [int(shard), int(position)]:
            return 0 <= shard < shard_count and 0 <= position <= _MAX_POSITION
        case _:
            return False


def _encode(content: object) -> str:
    text = json.dumps(content, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(token: str) -> object:
    """Returns the token's content, None where there is none."""
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        content = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        # JSON can escape half a character, which no message can carry.
        json.dumps(content, ensure_ascii=False).encode()
        return content
    except (UnicodeError, binascii.Error, ValueError, RecursionError):
        return None

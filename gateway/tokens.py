"""Opaque tokens of the API: log positions (read your writes) and list pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from lookalike.errors import InvalidInputError, Reason

_FORMAT = 2
"""First in each token. Tokens of the first format had no number, and named neither log nor format."""
_MAX_POSITION = 2**64 - 1


def encode_log_position(generation: str, log_id: str, positions: Mapping[int, int]) -> str:
    """Returns the token of a write.

    Args:
        generation: Where the write went.
        log_id: The log that gave the positions.
        positions: As the log gave them.
    """
    return _encode([_FORMAT, generation, log_id, sorted(positions.items())])


def decode_log_position(token: str, generation: str, log_id: str) -> dict[int, int]:
    """Returns the positions that an answer must rest on, as the log gave them.

    Args:
        token: From :func:`encode_log_position`; empty for no demand.
        generation: The one that is searched.
        log_id: The log that it is written through.

    Raises:
        InvalidInputError: No such token, or one of another format, collection or log (``FIELD_INVALID``).
    """
    if not token:
        return {}
    match _decode(token):
        case [int(version), str(of_generation), str(of_log), list(pairs)] if version == _FORMAT and all(
            map(_is_position, pairs)
        ):
            pass
        case [int(version), *_] if version > _FORMAT:
            raise _bad_position(
                "was made by a newer version of this server: write again, or search without it"
            )
        case [str(_), list(_)]:
            raise _bad_position(
                "was made by an older version of this server: write again, or search without it"
            )
        case _:
            raise bad_log_position()
    if of_generation != generation:
        raise _bad_position("comes from a write to another collection, or to an earlier one of this name")
    if of_log != log_id:
        raise _bad_position("comes from another log than this installation writes to now: search without it")
    return {int(place): int(position) for place, position in pairs}


def bad_log_position() -> InvalidInputError:
    """Returns the error of a token that was not made here."""
    return _bad_position("is not a token of this server: pass a WriteReceipt.log_position unchanged")


def _bad_position(problem: str) -> InvalidInputError:
    return InvalidInputError(f"min_log_position {problem}", field="min_log_position")


def encode_page(generation: str, after_item_id: str) -> str:
    """Returns the token of the page that starts after an item."""
    return _encode([_FORMAT, generation, after_item_id])


def decode_page(token: str, generation: str) -> str:
    """Returns the item id after which the page starts; empty for the first page.

    Raises:
        InvalidInputError: No such token, or one of another format or collection (``PAGE_TOKEN_INVALID``).
    """
    if not token:
        return ""
    match _decode(token):
        case [int(version), str(of_generation), str(after_item_id)] if version == _FORMAT and after_item_id:
            if of_generation == generation:
                return after_item_id
            problem = "comes from a list of another collection, or of an earlier one of this name"
        case [int(version), *_] if version > _FORMAT:
            problem = "was made by a newer version of this server"
        case [str(_), str(_)]:
            problem = "was made by an older version of this server"
        case _:
            problem = "is not a token of this server: pass a next_page_token unchanged, or nothing"
    raise InvalidInputError(
        f"page_token {problem}; start at the first page", reason=Reason.PAGE_TOKEN_INVALID, field="page_token"
    )


def _is_position(pair: object) -> bool:
    match pair:
        case [int(place), int(position)]:
            return 0 <= place <= _MAX_POSITION and 0 <= position <= _MAX_POSITION
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

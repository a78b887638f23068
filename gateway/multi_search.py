"""Several searches in one call, each with its own result or status."""

from __future__ import annotations

import asyncio

from gateway.deadline import Deadline
from gateway.search import SearchPipeline
from lookalike import limits
from lookalike.errors import InvalidInputError, LookalikeError, Reason
from lookalike.v1 import search_pb2
from lookalike.wire.fields import as_field
from lookalike.wire.status import status_of

_AT_ONCE = 8
_STATUS_BYTES = 2048
"""Room that is kept for the status of each search."""


async def search_many(
    pipeline: SearchPipeline,
    request: search_pb2.MultiSearchRequest,
    deadline: Deadline,
    max_message_bytes: int,
) -> bytes:
    """Runs searches, a few at once.

    An answer for which the others leave no room in the message fails alone (``BATCH_TOO_LARGE``).

    Args:
        pipeline: Answers each search.
        request: The searches.
        deadline: Of the call.
        max_message_bytes: Limit of the whole answer.

    Returns:
        An encoded ``MultiSearchResponse``.

    Raises:
        InvalidInputError: No search, or too many.
    """
    if not 1 <= len(request.searches) <= limits.MAX_MULTI_SEARCH:
        raise InvalidInputError(
            f"searches must hold 1 to {limits.MAX_MULTI_SEARCH} searches, got {len(request.searches)}",
            reason=Reason.BATCH_TOO_LARGE if request.searches else Reason.FIELD_MISSING,
            field="searches",
            metadata={"max": str(limits.MAX_MULTI_SEARCH)},
        )
    some_at_once = asyncio.Semaphore(_AT_ONCE)
    room = max_message_bytes - _STATUS_BYTES * len(request.searches)

    async def one(search: search_pb2.SearchRequest) -> bytes:
        nonlocal room
        async with some_at_once:
            try:
                response = await pipeline.search(search, deadline, patient=True)
                if len(response) > room:
                    raise _no_room(max_message_bytes)
            except LookalikeError as error:
                return search_pb2.SearchResult(error=status_of(error)).SerializeToString()
            room -= len(response)
            return as_field(search_pb2.SearchResult.RESPONSE_FIELD_NUMBER, response)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(search)) for search in request.searches]
    results = search_pb2.MultiSearchResponse.RESULTS_FIELD_NUMBER
    return b"".join(as_field(results, task.result()) for task in tasks)


def _no_room(max_message_bytes: int) -> InvalidInputError:
    return InvalidInputError(
        f"the answers together do not fit into one message of {max_message_bytes} bytes: ask for fewer hits"
        " with a smaller k, or send fewer searches at once",
        reason=Reason.BATCH_TOO_LARGE,
        field="k",
        metadata={"max_bytes": str(max_message_bytes)},
    )

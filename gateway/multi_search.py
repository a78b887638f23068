"""Several searches in one call, each with its own result or status."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.deadline import Deadline
from gateway.offload import off_loop
from gateway.outcome import is_callers_mistake
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
    """Runs searches, those that are alike together, and a few of such groups at once.

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
    searches = request.searches
    if not 1 <= len(searches) <= limits.MAX_MULTI_SEARCH:
        raise InvalidInputError(
            f"searches must hold 1 to {limits.MAX_MULTI_SEARCH} searches, got {len(searches)}",
            reason=Reason.BATCH_TOO_LARGE if searches else Reason.FIELD_MISSING,
            field="searches",
            metadata={"max": str(limits.MAX_MULTI_SEARCH)},
        )
    some_at_once = asyncio.Semaphore(_AT_ONCE)
    room = max_message_bytes - _STATUS_BYTES * len(searches)
    results = [b""] * len(searches)

    async def search(group: list[int]) -> None:
        nonlocal room
        async with some_at_once:
            answers = await _answers(pipeline, [searches[number] for number in group], deadline)
        for number, answer in zip(group, answers, strict=True):
            if isinstance(answer, bytes) and len(answer) > room:
                answer = _no_room(max_message_bytes)
            if isinstance(answer, LookalikeError):
                results[number] = search_pb2.SearchResult(error=status_of(answer)).SerializeToString()
            else:
                room -= len(answer)
                results[number] = as_field(search_pb2.SearchResult.RESPONSE_FIELD_NUMBER, answer)

    groups = await off_loop(request.ByteSize(), lambda: groups_of(searches))
    async with asyncio.TaskGroup() as tasks:
        for group in groups:
            tasks.create_task(search(group))
    return b"".join(as_field(search_pb2.MultiSearchResponse.RESULTS_FIELD_NUMBER, one) for one in results)


def groups_of(searches: Sequence[search_pb2.SearchRequest]) -> list[list[int]]:
    """Groups the numbers of searches by embedding that differ in their vectors alone.

    Those that ask something of categories stay alone: what is found for one decides how it goes on. A group
    asks for as many hits as one search may, so that a shard's answer is no longer than that to one.
    """
    groups: list[list[int]] = []
    open_groups: dict[bytes, list[int]] = {}
    for number, search in enumerate(searches):
        guided = search.category_vote or search.category_gate
        if guided or search.query.WhichOneof("target") != "embedding":
            groups.append([number])
            continue
        options = search_pb2.SearchRequest()
        options.CopyFrom(search)
        options.ClearField("query")
        key = options.SerializeToString(deterministic=True)
        group = open_groups.get(key)
        if group is None or (len(group) + 1) * search.k > limits.MAX_K:
            group = open_groups[key] = []
            groups.append(group)
        group.append(number)
    return groups


async def _answers(
    pipeline: SearchPipeline, searches: Sequence[search_pb2.SearchRequest], deadline: Deadline
) -> Sequence[bytes | LookalikeError]:
    """Returns the answer to each search of a group, or its error."""
    try:
        return await pipeline.search_alike(searches, deadline, patient=True)
    except LookalikeError as error:
        if len(searches) == 1 or not is_callers_mistake(error):
            return [error] * len(searches)
    # One search is wrong, and the others must not fail for it.
    alone = [await _answers(pipeline, [search], deadline) for search in searches]
    return [answer for (answer,) in alone]


def _no_room(max_message_bytes: int) -> InvalidInputError:
    return InvalidInputError(
        f"the answers together do not fit into one message of {max_message_bytes} bytes: ask for fewer hits"
        " with a smaller k, or send fewer searches at once",
        reason=Reason.BATCH_TOO_LARGE,
        field="k",
        metadata={"max_bytes": str(max_message_bytes)},
    )

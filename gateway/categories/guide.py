"""Searches that ask for more of categories than what a model predicts: a vote, or to be sent somewhere."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from gateway.asked import Asked
from gateway.categories.gate import boosted, candidates, narrowed, preferred, within
from gateway.categories.hits import first_of, in_order, neighbours_in
from gateway.checks import SearchOptions
from gateway.metrics import GateEnding
from gateway.native_fanout import Found, Hits
from lookalike.categories.belief import Belief, Prediction
from lookalike.categories.vote import votes_of, with_votes
from lookalike.errors import InvalidInputError, Reason

Find = Callable[[Asked], Awaitable[Found]]
"""Searches the shards."""
_ELECTORATE = 30
"""Nearest items among which labelled ones are looked for."""


@dataclass(frozen=True, slots=True)
class Guided:
    """What came of a search that categories guided.

    Attributes:
        asked: The search as it was made.
        found: The hits, as many as were asked for.
        belief: How probable the query's categories are; None where nothing is said about them.
        gated: The categories that were looked in or preferred, the most probable first.
        ending: What became of its gate; None for a search without one.
    """

    asked: Asked
    found: Found
    belief: Belief | None
    gated: Sequence[Prediction] = ()
    ending: GateEnding | None = None


async def guided(asked: Asked, find: Find) -> Guided:
    """Makes a search, and what it asks of categories.

    Args:
        asked: With the model's belief where it is by photo.
        find: Searches the shards.

    Raises:
        InvalidInputError: A gate for a query for which no category is predicted (``CATEGORY_NOT_PREDICTED``).
    """
    wanted = asked.options.categories
    belief = asked.embedded.belief if asked.embedded else None
    if wanted.gate is None:
        return await _voted(asked, belief, find, asked.options.k)
    if belief is None and not wanted.vote:
        raise InvalidInputError(
            "no category is predicted for this query: search by photo with a model that has categories, or"
            " set category_vote",
            reason=Reason.CATEGORY_NOT_PREDICTED,
            field="category_gate",
        )
    if wanted.gate.mode == "narrow":
        return await _narrowed(asked, belief, find)
    return await _boosted(asked, belief, find)


async def _voted(asked: Asked, belief: Belief | None, find: Find, k: int) -> Guided:
    """Makes a search for ``k`` hits, which vote themselves where nothing keeps near items out of them."""
    options = asked.options
    if not options.categories.vote:
        return Guided(asked, await _found(asked, find, k), belief)
    is_restricted = options.filter is not None or options.min_score != -math.inf
    if is_restricted or options.min_match_probability is not None:
        belief = await _with_neighbours(asked, belief, find)
        return Guided(asked, await _found(asked, find, k), belief)
    found = await _found(asked, find, max(k, _ELECTORATE))
    belief = _with_vote_of(found.hits[0], belief)
    return Guided(asked, replace(found, hits=[first_of(found.hits[0], k)]), belief)


async def _narrowed(asked: Asked, belief: Belief | None, find: Find) -> Guided:
    options, gate = asked.options, asked.options.categories.gate
    assert gate
    if options.categories.vote:
        belief = await _with_neighbours(asked, belief, find)
    gated = within(belief, gate) if belief else ()
    if gated:
        asked = replace(asked, options=replace(options, filter=narrowed(options.filter, gated)))
    found = await _found(asked, find, options.k)
    return Guided(asked, found, belief, gated, "narrow" if gated else "everywhere")


async def _boosted(asked: Asked, belief: Belief | None, find: Find) -> Guided:
    options, gate = asked.options, asked.options.categories.gate
    assert gate
    done = await _voted(asked, belief, find, candidates(options.k))
    (hits,) = done.found.hits
    if not done.belief or not done.belief.category:
        return replace(done, found=replace(done.found, hits=[first_of(hits, options.k)]), ending="everywhere")
    order = boosted(hits, done.belief, gate.depth)[: options.k]
    found = replace(done.found, hits=[in_order(hits, order)])
    return replace(done, found=found, gated=preferred(done.belief, gate), ending="boost")


async def _found(asked: Asked, find: Find, k: int) -> Found:
    return await find(replace(asked, options=replace(asked.options, k=k)))


async def _with_neighbours(asked: Asked, belief: Belief | None, find: Find) -> Belief:
    """Asks the shards for the nearest items, whatever the search itself leaves out, and lets them vote."""
    found = await find(replace(asked, options=_unrestricted(asked.options)))
    return _with_vote_of(found.hits[0], belief)


def _unrestricted(options: SearchOptions) -> SearchOptions:
    return replace(
        options,
        k=_ELECTORATE,
        min_score=-math.inf,
        group_by_product=False,
        exact=False,
        probes=None,
        effort=None,
        filter=None,
        min_match_probability=None,
    )


def _with_vote_of(hits: Hits, belief: Belief | None) -> Belief:
    return with_votes(belief, votes_of(neighbours_in(hits, _ELECTORATE)))

"""What may become of searches while something is done to the installation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.kube import h2load, load

RATES = {
    "h2load": h2load.CONNECTIONS,
    "once": load.PER_SECOND / 2,
    "client": load.PER_SECOND / 2,
}
"""Searches a second, by how they are sent."""
ANSWERED = ("complete", "partial")
_AWAY = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "no answer", "no connection"}
"""How searches may fail where something is away; whatever else goes wrong is never allowed."""
_PAUSES = 0.02
"""Share of the answers that may lack a shard while none is away: on a busy node one may pause too long."""


@dataclass(frozen=True)
class Limits:
    """What an action may cost.

    Args:
        away_seconds: As many searches may fail as are sent in this time.
        outlasts_retries: Those of the client, too, which tries again for some two seconds.
        misses_shards: Any number may be answered in part, as there is one copy of each shard.
    """

    away_seconds: float = 0.0
    outlasts_retries: bool = False
    misses_shards: bool = False

    def failures(self, how: str) -> int:
        """How many of the searches may fail that are sent in one way."""
        if how == "client" and not self.outlasts_retries:
            return 0
        return math.ceil(self.away_seconds * RATES[how])


NOTHING_FAILS = Limits()
"""Roll-outs of what has replicas or drains, and searches that nothing disturbs."""
SHARDS_ARE_AWAY = Limits(misses_shards=True)
"""Restarts and ends of hashers: all searches here are content with the shards that answer."""
KILLED = Limits(away_seconds=1.0)
"""One of two embedders ends without a drain: what it was at, and what is sent until the gateway notices."""
STARVED = Limits(away_seconds=2.0)
"""The same, and before its end it hardly gets on."""
ONE_TRITON = Limits(away_seconds=2.0)
"""The only Triton is replaced: embedders go over to the new one a moment after the old one refuses."""
ONE_GATEWAY = Limits(away_seconds=15.0, outlasts_retries=True, misses_shards=True)
"""The only gateway ends and starts: nobody answers until it is ready, which it is with half of the shards."""
ONE_NODE = Limits(away_seconds=30.0, outlasts_retries=True, misses_shards=True)
"""Everything ends at once and starts together."""


def problems(limits: Limits, found: Mapping[str, Counter[str]]) -> list[str]:
    """What is worse than the limits, nothing if all is well.

    Args:
        limits: Those of the action.
        found: For each of ``RATES`` how often each outcome came.
    """
    worse = []
    for how in RATES:
        outcomes = +found[how]
        sent = outcomes.total()
        if not sent:
            worse.append(f"no searches by {how}")
        failed = Counter({code: count for code, count in outcomes.items() if code not in ANSWERED})
        if strange := sorted(failed.keys() - _AWAY):
            worse.append(f"searches by {how} ended with {', '.join(strange)}")
        if failed.total() > limits.failures(how):
            worse.append(f"{failed.total()} of {sent} searches by {how} failed, {limits.failures(how)} may")
        partial = math.ceil(_PAUSES * sent)
        if outcomes["partial"] > partial and not limits.misses_shards:
            worse.append(f"{outcomes['partial']} of {sent} answers by {how} lack a shard, {partial} may")
    return worse

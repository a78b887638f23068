"""Shards that did not answer, in metrics and logs."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from gateway.metrics import GatewayMetrics
from gateway.outcome import cause_of
from gateway.peers import UnreachableError
from lookalike.errors import DeadlineError, LookalikeError, Reason

_PASSING = (
    Reason.LOG_POSITION_NOT_REACHED,
    Reason.OVERLOADED,
    Reason.MEMORY_FULL,
    Reason.SHUTTING_DOWN,
)
log = structlog.get_logger()


def report_failures(failures: Mapping[int, LookalikeError], metrics: GatewayMetrics) -> None:
    """Counts failures, by their shards, and logs those that an operator should know of."""
    for number, error in failures.items():
        metrics.shard_failed(number, cause_of(error))
        unsaid = isinstance(error, DeadlineError | UnreachableError)
        if not unsaid and error.reason not in _PASSING:
            log.error("shard_failed", shard=number, reason=error.reason.value, error=error.message)


def report_silence(shard: int, call: str, is_silent: bool, metrics: GatewayMetrics) -> None:
    """Shows and logs that a shard is left alone, or answers again; ``call`` is "search" or "rows"."""
    metrics.shard_silent(shard, call, is_silent)
    log.warning("shard_stopped_answering" if is_silent else "shard_answers_again", shard=shard, call=call)

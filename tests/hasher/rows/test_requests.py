"""A request is applied once in each partition and answered alike, for ten minutes by the time of its log."""

from __future__ import annotations

from typing import Any

import pytest

from hasher.log.base import Applied, Change, Outcome
from hasher.rows.requests import WINDOW_NS
from lookalike.errors import InvalidInputError, NotFoundError, Reason
from lookalike.placement import partition_of
from tests.hasher.conftest import TIME_NS
from tests.hasher.generations import row_number
from tests.hasher.rows.conftest import Writer

DIGEST = b"of what the caller sent"


def test_an_old_write_that_is_repeated_does_not_undo_newer_ones(write: Writer, rows: Any) -> None:
    first = write.one("first", rows.upsert("a", seed=1))
    others = [rows.change(f"r{n}", rows.upsert("a", seed=2)) for n in range(10_500)]
    write(*others)
    assert write.one("first", rows.upsert("a", seed=1)) == first
    assert write.store.get(["a"], False)[0].item == rows.item("a", seed=2)


def test_request_ids_are_kept_for_ten_minutes_of_the_log(write: Writer, rows: Any) -> None:
    change = rows.change("r0", rows.upsert("a"))
    write(change)
    write.one("r1", rows.upsert("b"), time_ns=TIME_NS + WINDOW_NS)
    assert write(change) == [Applied(2, (Outcome(2, existed=False),))]
    write.one("r2", rows.upsert("b"), time_ns=TIME_NS + WINDOW_NS + 1)
    assert write.store._writer.execute("SELECT count(*) FROM requests").get == 2
    assert write(change) == [Applied(6, (Outcome(6, existed=True),))]


def test_a_repeat_writes_nothing(write: Writer, rows: Any) -> None:
    change = rows.change("r", rows.upsert("a"))
    write(change)
    before = write.store.wal_bytes()
    write(change, change, time_ns=TIME_NS + 5)
    assert write.store.wal_bytes() == before
    assert (write.store.positions, write.store.revision) == ({0: 2}, 2)


def test_reused_request_id_is_refused_and_costs_the_group_nothing(write: Writer, rows: Any) -> None:
    first = rows.change("r1", rows.upsert("a"))
    results = write(first, first, rows.change("r1", rows.upsert("b")), rows.change("r2", rows.upsert("c")))
    assert results[0] == results[1] == Applied(2, (Outcome(2, existed=False),))
    assert isinstance(results[2], InvalidInputError)
    assert results[2].reason is Reason.REQUEST_ID_REUSED
    assert results[3] == Applied(5, (Outcome(5, existed=False),))
    assert row_number(write.store, "b") is None


def test_a_request_that_came_to_some_partitions_is_applied_in_the_others(write: Writer, rows: Any) -> None:
    here, there, more = rows.upsert("a"), rows.upsert("b"), rows.delete("c")
    assert write(Change("r1", DIGEST, (there,))) == [Applied(2, (Outcome(2, existed=False),))]
    write.one("r2", rows.upsert("b", seed=9))
    (whole,) = write(Change("r1", DIGEST, (here, there, more)))
    assert whole == Applied(
        4, (Outcome(4, existed=False), Outcome(2, existed=False), Outcome(0, existed=False))
    )
    assert write(Change("r1", DIGEST, (here, there, more))) == [whole]
    assert write.store.get(["b"], False)[0].item == rows.item("b", seed=9)


def same_partition(count: int) -> list[str]:
    ids = [f"i{n}" for n in range(20_000)]
    return [item_id for item_id in ids if partition_of(item_id, 1024) == 5][:count]


@pytest.mark.parametrize("second", [(0,), (1,), (1, 0), (0, 1, 2)])
def test_an_item_does_not_get_the_outcome_of_another(
    write: Writer, rows: Any, second: tuple[int, ...]
) -> None:
    """Photos that fail to be embedded are not among the mutations, and the digest is the same."""
    upserts = [rows.upsert(item_id) for item_id in same_partition(3)]
    first = (0, 1) if second != (1,) else (0,)
    write(Change("r1", DIGEST, tuple(upserts[n] for n in first)))
    (refused,) = write(Change("r1", DIGEST, tuple(upserts[n] for n in second)))
    assert isinstance(refused, InvalidInputError)
    assert refused.reason is Reason.REQUEST_ID_REUSED


def test_outcomes_are_kept_by_partition_in_the_order_of_the_request(write: Writer, rows: Any) -> None:
    one, two = same_partition(2)
    write.one("r0", rows.upsert(two))
    write.one("r1", rows.upsert("b"), rows.upsert(one), rows.upsert(two, if_version=9))
    assert write.store.outcomes("r1", 0, 3) == {
        partition_of("b", 1024): [Outcome(3, existed=False)],
        5: [Outcome(3, existed=False), Outcome(2, existed=True, conflict=True)],
    }


def test_outcomes_that_are_not_kept(write: Writer, rows: Any) -> None:
    write.one("r1", rows.upsert("a"))
    write.one("r1", rows.upsert("b"))
    with pytest.raises(InvalidInputError) as refused:
        write.store.outcomes("r1", 0, 3)
    assert refused.value.reason is Reason.REQUEST_ID_REUSED
    assert write.store.outcomes("r1", 0, 2)
    for request_id, lane in (("r2", 0), ("r1", 1)):
        with pytest.raises(NotFoundError) as unknown:
            write.store.outcomes(request_id, lane, 2)
        assert unknown.value.reason is Reason.OUTCOME_NOT_FOUND
    write.one("later", rows.upsert("c"), time_ns=TIME_NS + WINDOW_NS + 1)
    with pytest.raises(NotFoundError):
        write.store.outcomes("r1", 0, 2)
    assert write.store._writer.execute("SELECT count(*) FROM refusals").get == 0


def test_lanes_have_positions_times_and_request_ids_of_their_own(write: Writer, rows: Any) -> None:
    store = write.store
    (near,) = rows.records(1, rows.change("r", rows.upsert("a")))
    (far,) = rows.records(700, rows.change("r", rows.upsert("b")), lane=3, time_ns=TIME_NS + 5)
    (late,) = rows.records(2, rows.change("s", rows.upsert("c")), time_ns=TIME_NS + 3 * WINDOW_NS)
    assert [result.position for result in store.apply([near, far, late]).results] == [2, 701, 3]
    assert store.positions == {0: 3, 3: 701}
    # What was done in the other lane is still known there, by its own time.
    assert store.outcomes("r", 3, 701)
    with pytest.raises(NotFoundError):
        store.outcomes("r", 0, 2)
    kept = list(store._writer.execute("SELECT partition, lane, position FROM partitions"))
    assert (partition_of("b", 1024), 3, 701) in kept

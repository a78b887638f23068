"""A short soak of real processes: that it kills, counts and looks at everything, not how much is answered."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.soak import run as course
from benchmarks.soak.report import problems, report
from benchmarks.soak.run import Plan
from benchmarks.soak.trends import trends


def test_a_shard_is_killed_and_nothing_is_lost(
    load_generator: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "SLICE_SECONDS", 1.0)
    monkeypatch.setattr(course, "USUAL_SECONDS", 0.5)
    monkeypatch.setattr(course, "BEFORE_KILL_SECONDS", 0.2)
    plan = Plan(
        seconds=4.0,
        items=400,
        dim=16,
        share=0.1,
        cancelled=0.2,
        items_written=400.0,
        kill_seconds=1.0,
        around_seconds=1.0,
        warm_up_seconds=0.0,
        sample_seconds=0.3,
        capacity_seconds=0.5,
    )
    found = course.run(plan, tmp_path, lambda _: None)
    assert math.isclose(found.rate, 0.1 * found.capacity)
    assert found.kills
    assert all(1.0 <= kill.killed < kill.restored for kill in found.kills)
    around = [one for one in found.slices if one.around_kill]
    assert 0 < len(around) < len(found.slices)
    for one in found.slices:
        assert one.sent == one.whole + one.part + sum(one.failed.values()) > 0
    assert any(one.outcome == "cancelled" for one in found.cancelling)
    assert {one.kind for one in found.writing if one.outcome == "ok"} == {"upsert", "deletion"}
    assert (found.lost, found.left, found.ended) == ([], {}, {})
    pids = {
        name: {one.pid for one in found.samples if one.process == name} for name in ("gateway", "hasher-1")
    }
    assert [len(of) for of in pids.values()] == [1, 1 + len(found.kills)]
    # A busy machine may refuse searches.
    growth = trends(found.samples, plan.warm_up_seconds)
    assert all("failed that no kill explains" in one or " grow: " in one for one in problems(found, growth))
    assert f"{len(found.kills)} kills" in report(found, growth)

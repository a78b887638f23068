"""The benchmark of a hung shard: what it reports, not how fast it is."""

from __future__ import annotations

from pathlib import Path

from benchmarks.hung_shard import Options, run


def test_every_deadline_is_measured_with_all_shards_and_with_one_that_hangs(tmp_path: Path) -> None:
    options = Options(items=300, dim=16, callers=2, seconds=0.5, deadlines=[5.0])
    whole, hung = (phase.summary() for phase in run(options, tmp_path))
    assert (whole["situation"], hung["situation"]) == ("all answer", "one hangs")
    for summary in (whole, hung):
        assert summary["deadline_seconds"] == 5.0
        assert 0 < summary["p50_ms"] <= summary["p99_ms"] <= summary["max_ms"]
    assert whole["outcomes"] == {"complete": whole["searches"]}
    assert hung["outcomes"]["partial"] >= hung["searches"] - options.callers

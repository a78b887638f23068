"""A few rounds of kill, retry and power cut; ``make faults`` runs many."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.harness import RETRIED, SERVICES, Kill, Plan, load_of, revealing_plans, run
from tests.faults.sabotaged import STEPS

pytestmark = pytest.mark.usefixtures("mountable")
PLANS = [
    Plan(Kill("sync", 5), RETRIED, None, 1),
    Plan(Kill("milliseconds", 150), Kill("write", 250), "kept in part", 3),
]


@pytest.mark.parametrize("service", SERVICES)
def test_acknowledged_changes_survive_kills_retries_and_power_cuts(service: str, tmp_path: Path) -> None:
    with load_of(service, 1, tmp_path) as load:
        report = run(load, PLANS, tmp_path)
    assert report.lost == []
    assert (report.cuts, report.kills) == (2, 3)
    assert report.acknowledged > 20


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_step_left_out_is_found(service: str, step: str, tmp_path: Path) -> None:
    with load_of(service, 1, tmp_path, plain=True) as load:
        report = run(load, revealing_plans(step), tmp_path, step)
    assert report.lost

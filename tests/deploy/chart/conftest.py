"""The chart in every case that the tests know."""

from __future__ import annotations

import pytest

from tests.deploy.chart.rendering import CASES, Rendered, render


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Rendered:
    return render(*CASES[request.param])

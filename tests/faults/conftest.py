"""Fixtures of the tests that need a disk which forgets."""

from __future__ import annotations

import os

import pytest

from tests.faults.mount import unavailable_reason


@pytest.fixture(scope="session")
def mountable() -> None:
    """Skips where no disk can be mounted; in CI that is a failure."""
    if reason := unavailable_reason():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

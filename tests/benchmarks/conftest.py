"""What the tests of benchmarks share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.local.process import ROOT


@pytest.fixture
def load_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load generator as cargo's tests have built it."""
    program = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "native/target") / "debug/lookalike-load"
    if not program.exists():
        reason = f"{program} is missing; cargo test -p lookalike-load builds it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    monkeypatch.setenv("LOOKALIKE_LOAD", str(program))

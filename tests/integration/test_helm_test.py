"""What `helm test` runs in its pod, against a real installation."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from deploy.local.process import ROOT
from lookalike.client import Client

if TYPE_CHECKING:
    from conftest import Stack

SCRIPT = ROOT / "deploy" / "helm" / "lookalike" / "files" / "try_search.py"


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_it_searches_and_leaves_nothing(stack: Stack) -> None:
    result = run_script(stack.gateway.target)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "all as it should be" in result.stdout
    with Client(stack.gateway.target) as client:
        assert not client.list_collections()


def test_it_fails_where_photos_cannot_be_searched_for(stack: Stack) -> None:
    stack.hashers[0].kill()
    try:
        result = run_script(stack.gateway.target, "2")
    finally:
        stack.hashers[0].start()
    assert result.returncode != 0

"""What `make setup` asks for before it installs anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("tool", "named"), [("cargo", "Rust toolchain"), ("cc", "C compiler")])
def test_a_tool_that_does_not_work_is_named_in_one_line(tmp_path: Path, tool: str, named: str) -> None:
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / file, tmp_path)
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "Cargo.lock").touch()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cargo", "cc"):
        broken = "echo no default toolchain is configured >&2; exit 1" if name == tool else "exit 0"
        (tools / name).write_text(f"#!/bin/sh\n{broken}\n")
        (tools / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    # A Python that is too old ends what goes past the tools, before anything is installed.
    made = subprocess.run(
        ["make", "build/stamps/python", "PYTHON=false"],
        cwd=tmp_path,
        # Without the variables of the make that runs the tests: it would name its level in each line.
        env={**environment, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    first, *rest = made.stderr.splitlines()
    assert first.startswith("error: ")
    assert named in first
    assert all(line.startswith("make: ***") for line in rest)

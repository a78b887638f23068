"""Runs a service without one of the steps that make its acknowledgements true.

``python -m tests.faults.sabotaged STEP MODULE ARGUMENTS``. A harness that finds no loss then proves nothing.
"""

from __future__ import annotations

import re
import runpy
import sys
from typing import Any

import apsw

STEPS: dict[str, tuple[str, str]] = {
    # A statement, and what is run instead: the same rows, but nothing happens.
    "checkpoint": (r"(?i)PRAGMA\s+wal_checkpoint\s*\(\s*TRUNCATE\s*\)", "SELECT 0, 0, 0"),
    "fsync": (r"(?i)PRAGMA\s+synchronous\s*=\s*\w+", "PRAGMA synchronous = OFF"),
}
"""What can be left out: the checkpoint when a file is opened, and every fsync of SQLite."""


def leave_out(step: str) -> None:
    """Lets every connection that is opened from now on leave out a step, however it is asked for."""
    pattern, instead = STEPS[step]

    class Connection(apsw.Connection):
        def execute(self, statements: str, *arguments: Any, **options: Any) -> Any:
            return super().execute(re.sub(pattern, instead, statements), *arguments, **options)

        def pragma(self, name: str, *value: Any, **options: Any) -> Any:
            if name == "synchronous" and step == "fsync":
                value = ("off",)
            if name == "wal_checkpoint" and step == "checkpoint":
                return (0, 0, 0)
            return super().pragma(name, *value, **options)

        def wal_checkpoint(self, dbname: str | None = None, mode: int = 0) -> tuple[int, int]:
            if step == "checkpoint" and mode == apsw.SQLITE_CHECKPOINT_TRUNCATE:
                return (0, 0)
            return super().wal_checkpoint(dbname, mode)

    apsw.Connection = Connection  # type: ignore[misc]


if __name__ == "__main__":
    leave_out(sys.argv[1])
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

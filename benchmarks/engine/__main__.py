"""python -m benchmarks.engine: see docs/benchmarks/method.md."""

from __future__ import annotations

import sys

from benchmarks.engine.cli import main

if __name__ == "__main__":
    sys.exit(main())

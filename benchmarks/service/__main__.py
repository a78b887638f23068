"""python -m benchmarks.service: see docs/benchmarks/method.md."""

from __future__ import annotations

import sys

from benchmarks.service.cli import main

if __name__ == "__main__":
    sys.exit(main())

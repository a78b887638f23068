"""``python -m benchmarks.models.levers``."""

import sys

from benchmarks.models.levers.cli import main

sys.exit(main())

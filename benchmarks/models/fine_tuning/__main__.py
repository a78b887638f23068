"""``python -m benchmarks.models.fine_tuning``."""

import sys

from benchmarks.models.fine_tuning.cli import main

sys.exit(main())

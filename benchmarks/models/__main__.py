import sys

from benchmarks.models.cli import main

sys.exit(main())

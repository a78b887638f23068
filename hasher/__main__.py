"""``python -m hasher``: one hasher process."""

from __future__ import annotations

import sys

from hasher.config import HasherSettings
from hasher.server import run
from lookalike.runtime.entry import serve_main

if __name__ == "__main__":
    sys.exit(serve_main("hasher", HasherSettings, run))

"""``python -m embedder``: one embedder process; every setting is also a flag."""

from __future__ import annotations

import sys

from embedder.config import EmbedderSettings
from embedder.server import run
from lookalike.runtime.entry import serve_main

if __name__ == "__main__":
    sys.exit(serve_main("embedder", EmbedderSettings, run))

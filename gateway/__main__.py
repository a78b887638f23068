"""``python -m gateway``: one gateway process; every setting is also a flag."""

from __future__ import annotations

import sys

from gateway.config import GatewaySettings
from gateway.server import run
from lookalike.runtime.entry import serve_main

if __name__ == "__main__":
    sys.exit(serve_main("gateway", GatewaySettings, run))

"""``python -m embedder``: one embedder process; every setting is also a flag."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from embedder.config import EmbedderSettings
from embedder.server import run
from lookalike.errors import LookalikeError
from lookalike.runtime.logs import configure_logging
from lookalike.runtime.settings import load_settings


def main() -> int:
    """Serve until told to stop; return the exit code: 2 for what the operator must set right."""
    parser = argparse.ArgumentParser(prog="python -m embedder", description="Serve a model bundle over gRPC.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [embedder]")
    for name in EmbedderSettings.model_fields:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE")
    flags = vars(parser.parse_args())
    try:
        settings = load_settings(EmbedderSettings, flags.pop("config"), **flags)
        configure_logging("embedder", settings.log_level, settings.log_format)
        asyncio.run(run(settings))
    except LookalikeError as error:
        print(f"embedder: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

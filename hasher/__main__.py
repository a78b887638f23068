"""``python -m hasher``: one hasher process; every setting is also a flag."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from hasher.config import HasherSettings
from hasher.server import run
from lookalike.errors import LookalikeError
from lookalike.runtime.logs import configure_logging
from lookalike.runtime.settings import load_settings


def main() -> int:
    """Serves until told to stop; returns the exit code: 2 for what the operator must set right."""
    parser = argparse.ArgumentParser(prog="python -m hasher", description="Serve one shard over gRPC.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [hasher]")
    for name in HasherSettings.model_fields:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE")
    flags = vars(parser.parse_args())
    try:
        settings = load_settings(HasherSettings, flags.pop("config"), **flags)
        configure_logging("hasher", settings.log_level, settings.log_format)
        asyncio.run(run(settings))
    except LookalikeError as error:
        print(f"hasher: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

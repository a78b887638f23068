"""Writes the dashboards from code: ``python -m deploy.grafana [--check]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.embedder import EMBEDDER
from deploy.grafana.overview import OVERVIEW
from deploy.grafana.panels import build
from deploy.grafana.rollout import ROLLOUT
from deploy.grafana.search import SEARCH
from deploy.grafana.shards import SHARDS

PAGES = (OVERVIEW, SEARCH, EMBEDDER, SHARDS, ROLLOUT)
FOLDER = Path(__file__).parent / "dashboards"


def dashboards() -> dict[Path, str]:
    """Returns each dashboard's file and what belongs in it."""
    return {
        FOLDER / f"{page.uid}.json": JSONEncoder(sort_keys=True, indent=2).encode(build(page, PAGES).build())
        + "\n"
        for page in PAGES
    }


def main() -> int:
    """Writes the files, or with ``--check`` names those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file differs")
    check = parser.parse_args().check
    wanted = dashboards()
    stale = [path for path in FOLDER.glob("*.json") if path not in wanted]
    stale += [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if check:
            print(f"{path.name} is not what the code makes; run make dashboards", file=sys.stderr)
        elif path in wanted:
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

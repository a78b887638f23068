"""Writes the synchronous client from the one for asyncio: ``python -m scripts.unasync [--check]``.

The two are line by line the same program, so only one of them is written by hand. What they do differently
lies in ``lookalike/client/transport``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "lookalike" / "client" / "aio.py"
TARGET = ROOT / "lookalike" / "client" / "sync.py"

# In this order.
_SUBSTITUTIONS = (
    (
        r'^"""The client for asyncio\."""$',
        '"""The synchronous client. Written by scripts/unasync.py from aio.py; do not edit."""',
    ),
    (r"for asyncio; create it inside the running event loop\.", "; safe to share between threads."),
    (r"to Lookalike ;", "to Lookalike;"),
    (r"\btransport\.aio\b", "transport.sync"),
    (r"\bAsync([A-Z]\w+)\b", r"\1"),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
)


def synchronous(source: str) -> str:
    """Returns the program of the synchronous client.

    Raises:
        ValueError: Something of asyncio is left in it.
    """
    for pattern, replacement in _SUBSTITUTIONS:
        source = re.sub(pattern, replacement, source, flags=re.MULTILINE)
    if left := re.search(r"\b(async|await|asyncio|aio|Async\w*)\b(?!\.py;)", source):
        raise ValueError(f"{left.group()} is left in the synchronous client; add a substitution")
    return _ruff("format", _ruff("check", source, "--fix", "--unsafe-fixes", "--select", "I,UP028"))


def _ruff(command: str, source: str, *options: str) -> str:
    arguments = [sys.executable, "-m", "ruff", command, "--quiet", "--stdin-filename", str(TARGET), *options]
    outcome = subprocess.run([*arguments, "-"], input=source, capture_output=True, text=True, check=True)
    return outcome.stdout


def main(arguments: Sequence[str]) -> int:
    """Writes the synchronous client, or with ``--check`` only compares; returns the exit code."""
    wanted = synchronous(SOURCE.read_text())
    if "--check" not in arguments:
        TARGET.write_text(wanted)
    elif TARGET.read_text() != wanted:
        print(f"error: {TARGET.relative_to(ROOT)} is out of date; run `make client`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

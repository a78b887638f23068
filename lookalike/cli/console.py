"""What commands print: progress and notes on stderr, results on stdout."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 10.0
"""How often progress is reported without a terminal."""

Update: TypeAlias = Callable[[int, int], None]
"""Called with how much is done and how much there is; 0 for an unknown whole."""


class Progressing(Protocol):
    """An :data:`Update` that also takes a remark to show."""

    def __call__(self, done: int, total: int, remark: str = "") -> None:
        """Reports how far the work is."""


stderr = Console(stderr=True)
# Without a terminal, lines are not folded to the 80 columns that rich assumes.
stdout = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140)


def plain(message: str) -> str:
    """Returns a text as one line without control characters; what is not Unicode is escaped."""
    escaped = message.encode("utf-8", "backslashreplace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in escaped).split())


def counted(number: int, thing: str) -> str:
    """Returns a number with what it counts: "1 item", "2,000 items"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def escape_what_cannot_be_printed() -> None:
    """Lets no output fail for its text: neither files' names nor terminals need be Unicode."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def note(message: str) -> None:
    """Prints a remark on stderr."""
    stderr.print(message, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Prints a value as JSON on stdout, for programs."""
    any_text = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, indent=2, ensure_ascii=not any_text, allow_nan=False))


@contextmanager
def progress(description: str) -> Iterator[Progressing]:
    """Shows how far a long piece of work is: a bar on a terminal, else a line now and then."""
    if not stderr.is_terminal:
        yield _lines(description)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(description, total=None, remark="")

        def update(done: int, total: int, remark: str = "") -> None:
            bar.update(task, completed=done, total=total or None, remark=remark)

        yield update


def _lines(description: str) -> Progressing:
    start = last = time.monotonic()
    first = -1

    def update(done: int, total: int, remark: str = "") -> None:
        nonlocal last, first
        first = done if first < 0 else first  # what was there already says nothing about the speed
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        whole = f" of {total:,}" if total else ""
        left = (total - done) * (now - start) / (done - first) if total and done > first else None
        eta = f", about {left:.0f} s left" if left is not None else ""
        added = f" ({remark})" if remark else ""
        note(f"{description}: {done:,}{whole} after {now - start:.0f} s{eta}{added}")

    return update

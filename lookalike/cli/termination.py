"""SIGTERM for commands that have something to undo."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Treats SIGTERM as Ctrl-C until the block ends; by default it ends the process with nothing undone.

    Whoever has a handler of his own keeps it. Signals reach the main thread alone; elsewhere nothing changes.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number
    handler = signal.getsignal(signal.SIGINT)  # an event loop has one that cancels what it runs
    if not callable(handler):  # shells start what runs in the background with Ctrl-C ignored
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)

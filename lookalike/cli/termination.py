"""SIGTERM and SIGHUP for commands that have something to undo."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Treats SIGTERM and SIGHUP as Ctrl-C, so that one way of cleaning up serves all three.

    Of the two the first counts. Ctrl-C itself is set too: a shell that starts a command in the background
    makes it ignore SIGINT. What ``nohup`` keeps running goes on. Signals reach the main thread alone; in
    others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _interrupt}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers[signal.SIGHUP] = _interrupt
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number
    # Supervisors repeat themselves; whoever wants what is undone to end at once still has Ctrl-C.
    for repeated in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(repeated, signal.SIG_IGN)
    handler = signal.getsignal(signal.SIGINT)  # an event loop has one that cancels what it runs
    assert callable(handler)
    handler(signal.SIGINT, frame)

"""Ctrl-C and SIGTERM while steps are trained: after the current step, never inside a library."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Interruption(Callback):
    """Ends training after the step in which Ctrl-C was pressed or SIGTERM came, in all processes alike.

    An interrupt in the middle of a step may leave a lock of the TensorBoard writer's queue taken, and
    Lightning, which then ignores further ones, would wait for that queue for ever.

    Attributes:
        stopping: Training ends although it is not finished.
    """

    def __init__(self) -> None:
        self._asked = False
        self._takes_sigterm = False
        self.stopping = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes SIGTERM over from Lightning, which would end the process as if it had succeeded."""
        del trainer, pl_module
        if self._takes_sigterm:
            signal.signal(signal.SIGTERM, self._ask)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops if any of the processes was asked to."""
        del pl_module, outputs, batch, batch_idx
        if trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            self.stopping = trainer.should_stop = True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Turns Ctrl-C and SIGTERM into a KeyboardInterrupt at the end; a second Ctrl-C raises it at once.

        Whoever has a handler of his own keeps it. Signals reach the main thread alone.
        """
        handler = signal.getsignal(signal.SIGINT)
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and handler is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._ask)
        self._takes_sigterm = in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        try:
            yield
        except (Exception, SystemExit) as error:
            # Lightning makes an exit with status 1 of a KeyboardInterrupt; other processes that the
            # same Ctrl-C has ended make errors of all kinds.
            if not self._asked and not isinstance(error.__context__, KeyboardInterrupt):
                raise
            raise KeyboardInterrupt from error
        finally:
            # Lightning leaves Ctrl-C ignored after one.
            if in_main and handler is not None:
                signal.signal(signal.SIGINT, handler)
            if self._takes_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._asked or self.stopping:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        self._asked = True

"""Child processes that hold one engine each and run what the parent asks for, one call at a time."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from benchmarks.engine.engines.base import UnavailableError

__all__ = ["Child", "ChildError", "State"]

State = dict[str, Any]
"""What a child keeps between calls, such as its index."""

P = ParamSpec("P")
R = TypeVar("R")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PR_SET_PDEATHSIG = 1


class ChildError(Exception):
    """A call failed in the child, or the child died; the message has its traceback."""


class Child:
    """A fresh interpreter, pinned to `cores`, whose numeric libraries use one thread per core.

    It ends with the `with` block and, whatever happens to this process, with this process.
    """

    def __init__(self, cores: set[int]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, cores), daemon=True)
        held = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        # OpenMP and BLAS read these when they are loaded, which is before any line of ours runs there.
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(len(cores))))
        try:
            self._process.start()
        finally:
            for name, value in held.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def call(self, work: Callable[Concatenate[State, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the module-level function `work(state, ...)` in the child and returns its result.

        Raises:
            UnavailableError: `work` raised it.
            ChildError: `work` raised something else, or the process died.
        """
        try:
            self._pipe.send((work, args, kwargs))
            outcome, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            raise ChildError(f"the process died with exit code {self._process.exitcode}") from None
        if outcome == "unavailable":
            raise UnavailableError(value)
        if outcome == "failed":
            raise ChildError(value)
        result: R = value
        return result

    def close(self) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection, cores: set[int]) -> None:
    # Ctrl-C reaches the whole terminal group; the parent alone decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, cores)
    state: State = {}
    while True:
        try:
            work, args, kwargs = pipe.recv()
        except EOFError:
            return
        try:
            reply = ("done", work(state, *args, **kwargs))
        except UnavailableError as error:
            reply = ("unavailable", str(error))
        except Exception:
            reply = ("failed", traceback.format_exc())
        pipe.send(reply)

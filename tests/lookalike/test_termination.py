"""SIGTERM as Ctrl-C, in processes of their own: what was begun is undone."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lookalike.cli.termination import termination_as_interrupt

PLAIN = """
import time
from lookalike.cli.termination import termination_as_interrupt

@termination_as_interrupt()
def work():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("undone", flush=True)

try:
    work()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

IN_AN_EVENT_LOOP = """
import asyncio
from lookalike.cli.termination import termination_as_interrupt

async def work():
    try:
        print("begun", flush=True)
        await asyncio.sleep(60)
    except BaseException:
        await asyncio.sleep(0.01)
        print("undone", flush=True)
        raise

@termination_as_interrupt()
def command():
    asyncio.run(work())

try:
    command()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("ignored", [False, True], ids=["", "Ctrl-C ignored"])
@pytest.mark.parametrize("program", [PLAIN, IN_AN_EVENT_LOOP], ids=["plain", "event loop"])
def test_what_was_begun_is_undone(program: str, ignored: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "undone\ninterrupted\n"
        assert process.wait(10) == 0


def test_handlers_are_as_before_afterwards_and_those_of_others_stay() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with termination_as_interrupt():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with termination_as_interrupt():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_other_threads_are_let_be() -> None:
    entered: list[bool] = []

    def enter() -> None:
        with termination_as_interrupt():
            entered.append(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [True]

"""SIGTERM and SIGHUP as Ctrl-C, in processes of their own: what was begun is undone."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lookalike.cli.termination import termination_as_interrupt

pytestmark = pytest.mark.usefixtures("default_signals")

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("program", [PLAIN, IN_AN_EVENT_LOOP], ids=["plain", "event loop"])
def test_what_was_begun_is_undone(program: str, number: signal.Signals) -> None:
    assert said_after(program, number, ignored=signal.SIGINT) == "undone\ninterrupted\n"


def test_what_nohup_keeps_running_outlives_a_hangup() -> None:
    assert said_after(PLAIN.replace("60", "0.5"), signal.SIGHUP, ignored=signal.SIGHUP) == "undone\n"


def test_the_second_signal_does_not_disturb_what_is_undone() -> None:
    program = PLAIN.replace("finally:", "finally:\n        signal.raise_signal(signal.SIGTERM)")
    program = "import signal\n" + program
    assert said_after(program, signal.SIGHUP, ignored=signal.SIGINT) == "undone\ninterrupted\n"


def said_after(program: str, number: signal.Signals, ignored: signal.Signals) -> str:
    before = signal.signal(ignored, signal.SIG_IGN)  # which the process inherits
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[3],
        )
    finally:
        signal.signal(ignored, before)
    with process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        said = process.stdout.read()
        assert process.wait(10) == 0
    return said


def test_handlers_are_as_before_afterwards() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with termination_as_interrupt():
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


def test_other_threads_are_let_be() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found: list[object] = []

    def enter() -> None:
        with termination_as_interrupt():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]

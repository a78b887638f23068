"""How many heaps the threads of a process share."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

THREADS = 6
# Python's own allocator asks the C library for large blocks only, and not from a heap.
ALLOCATING = f"""
import ctypes, sys, threading
from lookalike.runtime.heap import share_heaps
if len(sys.argv) > 1:
    share_heaps(int(sys.argv[1]))
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
together = threading.Barrier({THREADS})
def allocate():
    together.wait()
    libc.malloc(100)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range({THREADS})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.malloc_stats()
"""


def heaps(*arguments: str, **variables: str) -> int:
    """Returns how many heaps a process has whose threads all allocate."""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    ended = subprocess.run(
        [sys.executable, "-c", ALLOCATING, *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stderr.count("Arena ")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_threads_share_as_many_heaps_as_they_are_given() -> None:
    assert heaps() > 2
    assert heaps("2") == 2
    assert heaps("2", MALLOC_ARENA_MAX="4") > 2

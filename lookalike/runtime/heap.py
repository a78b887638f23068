"""How the C library divides memory among threads, and whether it keeps what is freed or gives it back.

Each function does nothing where the C library is not glibc.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Parameters of mallopt(3), from malloc.h, with glibc's defaults.
_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT = -1, 128 << 10
_MMAP_THRESHOLD = -3
_MMAP_MAX, _MMAP_MAX_DEFAULT = -4, 65_536
_ARENA_MAX = -8
_LARGE_BYTES, _KEPT_BYTES = 12 << 20, 64 << 20


def return_large_blocks() -> None:
    """Gives the blocks of large pictures back as soon as they are freed, from now on.

    By default glibc soon keeps blocks of up to 32 MiB, in a heap for each thread: decoders that have each had
    a large picture then hold a gigabyte for nothing. Those of ordinary photos are kept as before.
    """
    if mallopt := _function("mallopt"):
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def share_heaps(count: int) -> None:
    """Lets threads share so many heaps, from now on, unless the variable MALLOC_ARENA_MAX says how many.

    By default glibc makes up to eight for each core. What is freed in one heap is of no use to the threads of
    another: a hasher on two cores that replaced 50 items a second took a fifth more memory, and each hour 37
    MB more, though what it held stayed the same.
    """
    mallopt = _function("mallopt")
    if mallopt and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_ARENA_MAX, count)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Lets the C library keep what is freed inside, and give it back at the end.

    The activations of a training step take gigabytes, in blocks that glibc hands back to the kernel as soon
    as they are freed. The next step asks for the same blocks again, and the kernel has to map and zero every
    page of them first: on a CPU that can cost more time than the arithmetic does.
    """
    mallopt, malloc_trim = _function("mallopt"), _function("malloc_trim")
    if not (mallopt and malloc_trim):
        yield
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        mallopt(_MMAP_MAX, _MMAP_MAX_DEFAULT)
        mallopt(_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT)
        malloc_trim(0)


def _function(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None)

"""Memory that one training step frees is kept for the next.

The activations of a batch take gigabytes, in blocks that glibc hands back to the kernel as soon as they
are freed. The next step asks for the same blocks again, and the kernel has to map and zero every page of
them first: on a CPU that can cost more time than the arithmetic does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3), from malloc.h, with glibc's defaults.
_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT = -1, 128 << 10
_MMAP_MAX, _MMAP_MAX_DEFAULT = -4, 65_536


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library keep what is freed inside, and give it back at the end.

    Does nothing where the C library is not glibc.
    """
    library = ctypes.CDLL(None)
    mallopt, malloc_trim = getattr(library, "mallopt", None), getattr(library, "malloc_trim", None)
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

"""Memory that PyTorch frees on a CPU is kept for its next tensors, not given back to the system each time.

The C library maps every large block anew and unmaps it when it is freed. A training step makes and frees hundreds of
them, and the system clears each, page by page: 5 to 20 % of a ResNet-18's step are spent so
(`benchmarks/kept_memory.py`). What is kept beyond the most that is needed at once is gaps between blocks.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
MOST_KEPT = 2**31 - 1
"""Bytes at the end of the heap that may lie unused, the most that can be said: 2 GB."""

SAID_OTHERWISE = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep() -> bool:
    """From now on keep what this process frees; does nothing where the C library is not glibc or was told otherwise."""
    library = _glibc()
    if library is None or any(name in os.environ for name in SAID_OTHERWISE):
        return False
    return bool(library.mallopt(_MMAP_MAX, 0) and library.mallopt(_TRIM_THRESHOLD, MOST_KEPT))


def give_back() -> None:
    """Give the system all memory that is kept and unused, as between two trials."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None

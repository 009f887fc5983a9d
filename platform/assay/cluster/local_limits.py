"""What this machine lets a local cluster have: memory, shared memory and open files."""

from __future__ import annotations

import logging
import os
import resource
import shutil

from assay.errors import SweepError
from assay.runtime import allowance

SHARED = "/dev/shm"
LEAST_MEMORY = 768 * 2**20
"""Bytes: before a model is in them, Ray's own processes take 0.3 GB, a worker 0.2 GB, and the driver about as much."""
LEAST_STORE = 80 * 2**20
"""Bytes of object store; Ray takes no fewer than 75 MiB."""
UNSHARED = 10 * 10**9
"""Bytes of object store above which Ray refuses one that does not lie in shared memory."""
LEAST_FILES = 128
"""With 40 Ray does not start; with 64 it does, for one worker."""


def options() -> dict[str, object]:
    """What `ray.init` is told of memory, where less is allowed than the machine has: Ray does not see it.

    Raises SweepError where this process may use too little memory, or open too few files, for Ray to start; warns where
    shared memory is small, as it is in a container unless it was asked for.
    """
    allowed, machine = allowance.memory(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if allowed < LEAST_MEMORY:
        raise SweepError(
            f"this process may use {allowed / 2**30:.2g} GB of memory, and Ray with one worker needs at least "
            f"{LEAST_MEMORY / 2**30:.2g} GB; raise the memory limit of the container or the job"
        )
    may_open = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if may_open != resource.RLIM_INFINITY and may_open < LEAST_FILES:
        raise SweepError(
            f"this process may open {may_open} files, and Ray needs at least {LEAST_FILES}; raise the limit first, "
            "with `ulimit -n 65536` or, in a container, --ulimit nofile=65536"
        )
    shared = _shared()
    store = object_store(allowed, shared)
    if shared < store:
        logging.getLogger("assay").warning(
            "%s has %.2g GB, so the images that workers share lie in files of RAY_TMPDIR, which may be slower; in a "
            "container, give it --shm-size=%.0fg",
            SHARED,
            shared / 2**30,
            max(1, store / 2**30),
        )
    return {} if allowed >= machine else {"object_store_memory": store, "_memory": int(0.7 * allowed)}


def object_store(allowed: int, shared: int) -> int:
    """Bytes of the object store: 30 % of the memory that is allowed, or as much as Ray takes for these two amounts."""
    return max(LEAST_STORE, min(int(0.3 * allowed), max(UNSHARED, int(0.95 * shared))))


def _shared() -> int:
    """Bytes of shared memory that are free."""
    try:
        return shutil.disk_usage(SHARED).free
    except OSError:  # there is none
        return 0

"""The kinds of failure, and how often each is tried again at once: one rule for trials and for jobs of audits."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from assay.errors import AssayError, DataError, DivergedError, InputError, StoreError, SweepError
from assay.runtime import out_of_memory

KINDS = {
    "diverged": "a loss, score or figure became NaN or infinite: this configuration does not train",
    "gpu_memory": "out of GPU memory while training: lower batch_size, or run fewer trials per GPU",
    "host_memory": "out of host memory: run fewer trials at a time, or state resources.memory_gb",
    "configuration": "the trainable cannot be built with this configuration",
    "dataset": "the data cannot be used by this trainable",
    "store": "the store could not be read or written",
    "worker": "the worker process died or could not begin, again and again",
    "node": "its machine was lost or pre-empted, again and again",
    "versions": "the worker's machine has other versions of what a trial is made with",
    "bug": "an error in the code of Assay or of the trainable",
}
"""Kind -> what it means."""

OUTSIDE = frozenset({"gpu_memory", "host_memory", "store", "worker", "node", "versions"})
"""Kinds that are the machine's fault: a resumed sweep tries such a trial again. The others would end the same way."""


def unfinished(state: str, failure: str) -> bool:
    """Whether a resumed sweep goes on with a trial that was left in that state, with that kind of failure."""
    return state == "running" or failure in OUTSIDE


WORKER = 2
"""How often for a process that died, through its own fault or not; a search space may set it with `retries:`."""

ALLOWED = {
    "node": 50,  # a machine lost or pre-empted is not the work's fault, and spot machines go often
    "gpu_memory": 1,  # as below, where trials share a GPU
    "host_memory": 1,  # the first time it may be its neighbours' fault, the second time it is its own
    "store": 2,  # the store has already waited and tried again by itself
}
"""Kind of failure -> how often the same work is begun again; a kind that isn't here would end the same way."""

ENDS_ALL = frozenset({"store", "versions"})
"""Kinds that end everything once they are no longer tried again: all other work would fail in the same way."""


def kind(error: BaseException) -> str:
    """The kind of failure that an exception is."""
    if isinstance(error, AssayError) and error.__cause__ and out_of_memory.out_of_memory(error.__cause__):
        return kind(error.__cause__)  # where not even one image fits
    if isinstance(error, DivergedError):
        return "diverged"
    if out_of_memory.of_gpu(error):
        return "gpu_memory"
    if out_of_memory.of_host(error):
        return "host_memory"
    if isinstance(error, StoreError):
        return "store"
    if isinstance(error, SweepError):  # only versions.check raises it in a worker
        return "versions"
    if isinstance(error, DataError):
        return "dataset"
    if isinstance(error, (InputError, ValidationError)):
        return "configuration"
    return "bug"


def lost_gpu(error: BaseException) -> bool:
    """Whether CUDA failed in a way after which nothing more can be computed on the GPU in this process."""
    import torch

    failed = isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
    return failed and not out_of_memory.of_gpu(error)


def leave_if_gpu_lost(error: BaseException) -> None:
    """End this process after an error that leaves its GPU unusable: its work is begun again in another process."""
    if lost_gpu(error):
        print(f"this process cannot use its GPU any more: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def again(kind: str, before: Sequence[str], worker: int = WORKER) -> bool:
    """Whether work that failed is begun again, from where it was last saved.

    before: the kinds of its earlier failures. worker: how often for a process that died.
    """
    allowed = {**ALLOWED, "worker": worker}
    return before.count(kind) < allowed.get(kind, 0)

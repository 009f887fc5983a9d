"""Failure has a kind: what ended a trial, and whether trying the same again could help."""

from __future__ import annotations

from pydantic import ValidationError

from assay.errors import DataError, DivergedError, InputError, StoreError, SweepError

KINDS = {
    "diverged": "a loss, score or figure became NaN or infinite: this configuration does not train",
    "gpu_memory": "out of GPU memory while training: lower batch_size, or run fewer trials per GPU",
    "host_memory": "out of host memory: run fewer trials at a time, or state resources.memory_gb",
    "configuration": "the trainable cannot be built as it was told to",
    "dataset": "the data cannot be used by this trainable",
    "store": "the store could not be read or written",
    "worker": "the worker process died or could not begin, again and again",
    "node": "its machine was lost or pre-empted, again and again",
    "versions": "the worker's machine has other versions of what a trial is made with",
    "bug": "an error in the code of Assay or of the trainable",
}
"""Kind -> what it means. `retry.py` says which of them are tried again at once, and how often."""

OUTSIDE = frozenset({"host_memory", "store", "worker", "node", "versions"})
"""Kinds that lie with the machine: a resumed sweep tries such a trial again. The others would end as they did."""


def kind(error: BaseException) -> str:
    """The kind of failure an exception is."""
    import torch

    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "gpu_memory"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # PyTorch's CPU allocator
        return "host_memory"
    if isinstance(error, StoreError):
        return "store"
    if isinstance(error, SweepError):  # of versions.check alone
        return "versions"
    if isinstance(error, DataError):
        return "dataset"
    if isinstance(error, (InputError, ValidationError)):
        return "configuration"
    return "bug"

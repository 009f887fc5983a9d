"""Failure has a kind: what ended a trial, and whether trying the same again could help."""

from __future__ import annotations

from assay.errors import DataError, InputError, StoreError
from assay.trial import DivergedError

KINDS = {
    "diverged": "a loss, score or figure became NaN or infinite: this configuration does not train",
    "gpu_memory": "out of GPU memory: lower batch_size or run fewer trials per GPU",
    "host_memory": "out of host memory: run fewer trials at a time",
    "dataset": "the data cannot be used by this trainable",
    "store": "the store could not be read or written",
    "worker": "the worker process died, again and again",
    "bug": "an error in the code of Assay or of the trainable",
}
"""Kind -> what it means. Only a dead worker is tried again: the others would end the same way."""


def kind(error: BaseException) -> str:
    """The kind of failure an exception is."""
    import torch

    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "gpu_memory"
    if isinstance(error, MemoryError):
        return "host_memory"
    if isinstance(error, StoreError):
        return "store"
    if isinstance(error, DataError):
        return "diverged" if "not finite" in str(error) else "dataset"
    if isinstance(error, InputError):
        return "dataset"
    return "bug"

"""The kinds of failure, and how often each is tried again at once: one rule for trials and for jobs of audits."""

from __future__ import annotations

from collections.abc import Sequence

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
"""Kind -> what it means."""

OUTSIDE = frozenset({"host_memory", "store", "worker", "node", "versions"})
"""Kinds that lie with the machine: a resumed sweep tries such a trial again. The others would end as they did."""

WORKER = 2
"""A process that died: by its own doing or not, nobody knows. A search space says otherwise with `retries:`."""

ALLOWED = {
    "node": 50,  # a machine lost or pre-empted is not the work's fault, and spot machines go often
    "host_memory": 1,  # it may have been the neighbours'; a second time it is its own
    "store": 2,  # the store has already waited and tried again by itself
}
"""Kind of failure -> how often the same work is begun again; a kind that isn't here would end as it did."""

ENDS_ALL = frozenset({"store", "versions"})
"""Kinds that end everything when they are not tried again: other work would fail as this did."""


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


def again(kind: str, before: Sequence[str], worker: int = WORKER) -> bool:
    """Whether work that failed is begun again, from where it was last saved.

    before: the kinds of its earlier failures. worker: how often for a process that died.
    """
    allowed = {**ALLOWED, "worker": worker}
    return before.count(kind) < allowed.get(kind, 0)

"""A GPU that several trials share: how large it is, and how a trial keeps to its part of it. Needs no Ray.

Ray counts shares of a GPU and does not hold anyone to them: memory is not divided, and a process that takes all of it
leaves its neighbours none. So every trial sets its own limit, and gives back what it does not use.
"""

from __future__ import annotations

import functools
import gc

CONTEXT_GB = 0.5
"""What CUDA itself takes of a GPU's memory for every process, outside of PyTorch's account."""

GB = 2**30


def memory_gb() -> float:
    """Memory of this process's GPU; raises RuntimeError or AssertionError where PyTorch finds none."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / GB


def keep_to(share: float) -> None:
    """Let PyTorch take no more memory than this share of the GPU, less CUDA's own; a whole GPU (1) has no limit."""
    import torch

    if 0 < share < 1:
        torch.cuda.set_per_process_memory_fraction(max(share - CONTEXT_GB / memory_gb(), 0.01), 0)


def emptied() -> None:
    """Give back what an earlier trial of this process holds of a GPU and does not use."""
    import torch

    gc.collect()
    _modules_aside()
    torch.cuda.empty_cache()


@functools.cache
def _modules_aside() -> None:
    """Once for a process: no collection looks again at what is there, which takes 0.1 s for PyTorch's modules alone."""
    gc.freeze()


def peak_gb() -> float:
    """The most memory that PyTorch held of the GPU since this was last asked."""
    import torch

    found = torch.cuda.max_memory_reserved() / GB
    torch.cuda.reset_peak_memory_stats()
    return found

"""A process's part of a GPU's memory: not more than its share, and given back when it is not needed."""

from __future__ import annotations

import gc
import sys

CONTEXT_GB = 0.9
"""What a process takes of a GPU beside its tensors: CUDA's context and the kernels of cuDNN and cuBLAS."""


def keep_to(share: float) -> None:
    """Let the tensors of this process have its share of its GPU's memory, 0 to 1, less CONTEXT_GB; no more.

    Otherwise what PyTorch keeps for later use in one process is missing in those beside it. Does nothing without a GPU
    or where the GPU is this process's alone. What does not fit then is "out of memory" of this process.
    """
    import torch

    if 0 < share < 1 and torch.cuda.is_available():
        _, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(max(share / 2, share - CONTEXT_GB * 2**30 / total))


def give_back() -> None:
    """Give back what earlier work of this process holds of a GPU, and what `compile` has kept of its models."""
    import torch

    if dynamo := sys.modules.get("torch._dynamo"):  # beyond 8 models it would stop compiling, without a word
        dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()

"""Where kernels are used: on the processor, for what is no part of a gradient. Elsewhere PyTorch's operators do it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_ONE_AT_A_TIME = threading.Lock()
"""Not all ways in which Numba runs threads can be used by several threads at once."""


def usable(*images: Tensor) -> bool:
    """Whether kernels can do it: on the processor, in single or double precision, no gradient asked for."""
    return all(
        part.device.type == "cpu"
        and part.dtype in (torch.float32, torch.float64)
        and not (part.requires_grad and torch.is_grad_enabled())
        for part in images
    )


def run(kernel: Callable[..., Any], *values: Tensor | tuple[Tensor, ...]) -> None:
    """Call the kernel with arrays in place of tensors, of the same memory, on as many threads as PyTorch has.

    values: tensors and named tuples of tensors. Modules of kernels are imported where they are used, for Numba takes
    half a second.
    """
    import numba

    arrays = [_array(value) if isinstance(value, Tensor) else type(value)(*map(_array, value)) for value in values]
    with _ONE_AT_A_TIME:
        before = numba.get_num_threads()
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        try:
            kernel(*arrays)
        finally:
            numba.set_num_threads(before)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().numpy()

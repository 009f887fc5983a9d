"""Float32 that is float32 on a GPU too: PyTorch lets convolutions round their operands to 10 bits (TF32) by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exact_float32() -> Iterator[None]:
    """No TF32 in the block, and convolutions that sum in the same order each time; nothing changes on a CPU.

    TF32 moves scores by up to 5 % of their standard deviation, and a score is compared with what another device found.
    """
    import torch

    matmul = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        with torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled, deterministic=True, allow_tf32=False, fp32_precision="ieee"
        ):
            yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = matmul

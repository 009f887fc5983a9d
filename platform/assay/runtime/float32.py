"""Float32 that is float32 on a GPU too: PyTorch lets convolutions round their operands to 10 bits (TF32) by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def rough_float32() -> Iterator[None]:
    """TF32 in the block, also within one that has none: four times as fast on a GPU; nothing changes on a CPU."""
    import torch

    matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = matmul.fp32_precision, convolutions.fp32_precision
    matmul.fp32_precision = convolutions.fp32_precision = "tf32"
    try:
        yield
    finally:
        matmul.fp32_precision, convolutions.fp32_precision = before


def is_rough() -> bool:
    """Whether TF32 is on."""
    import torch

    return bool(torch.backends.cudnn.conv.fp32_precision == "tf32")  # type: ignore[attr-defined]


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

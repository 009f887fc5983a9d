"""TF32 without a GPU: the operands of convolutions and products of matrices are rounded to 10 bits where it is on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CONVOLUTIONS = {"convolution", "convolution_backward", "_convolution"}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
HIDDEN = 13
"""Bits of a float32 that TF32 has not."""


class Tf32(TorchDispatchMode):
    """Rounds what a GPU of NVIDIA's would round; rounded: how many operations that were."""

    def __init__(self) -> None:
        super().__init__()
        self.rounded = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do it, rounded where TF32 is on for this kind of operation."""
        name, backends = function._schema.name.partition("::")[2], torch.backends
        rough = (name in CONVOLUTIONS and backends.cudnn.conv.fp32_precision == "tf32") or (
            name in PRODUCTS and backends.cuda.matmul.fp32_precision == "tf32"
        )
        if rough:
            self.rounded += 1
            args = tuple(to_10_bits(one) if isinstance(one, Tensor) else one for one in args)
        return function(*args, **(kwargs or {}))


def to_10_bits(values: Tensor) -> Tensor:
    """The nearest numbers with 10 bits after the leading one; other types than float32 stay as they are."""
    if values.dtype != torch.float32:
        return values
    bits = values.contiguous().view(torch.int32)
    kept = (bits + (1 << (HIDDEN - 1))) & -(1 << HIDDEN)
    return kept.view(torch.float32).reshape(values.shape)

"""Buffers that grow in training, such as a bank of neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def fit_buffers(detector: nn.Module, tensors: Mapping[str, Any]) -> None:
    """Resize buffers (such as a neighbour bank) to their size in `tensors`; weights are left alone."""
    for name, buffer in list(detector.named_buffers()):
        if name in tensors and tensors[name].shape != buffer.shape:
            parent, _, key = name.rpartition(".")
            setattr(detector.get_submodule(parent), key, buffer.new_zeros(tensors[name].shape))

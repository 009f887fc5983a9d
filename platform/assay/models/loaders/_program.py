"""An exported program as an nn.Module that can be moved to a device and called with any number of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram


class Program(nn.Module):
    """Images (B, C, H, W) -> whatever the program returns; more than `largest` images are split into batches."""

    def __init__(self, exported: ExportedProgram, largest: int | None) -> None:
        super().__init__()
        self.exported, self.largest = exported, largest
        self.program = _module(exported)
        self.training = False

    def forward(self, images: Tensor) -> Any:
        """What the program returns."""
        if self.largest is None or len(images) <= self.largest:
            return self.program(images)
        return torch.cat([self.program(part) for part in torch.split(images, self.largest)])

    def train(self, mode: bool = True) -> Self:
        """Does nothing: a program's mode was fixed when it was exported."""
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the program as well: its constants and the devices written into its operators are not buffers."""
        from torch.export.passes import move_to_device_pass

        self.exported = move_to_device_pass(self.exported, fn(torch.empty(0)).device)
        self.program = _module(self.exported)
        return self


def _module(exported: ExportedProgram) -> nn.Module:
    module: nn.Module = exported.module().requires_grad_(False)
    for part in module.modules():
        part.training = False
    return module

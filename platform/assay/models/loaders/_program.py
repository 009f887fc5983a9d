"""An exported program as an nn.Module that can be moved to a device and called with any number of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from assay.models.loaders._memory_limit import MemoryLimit, allowed


class Program(nn.Module):
    """Images (B, C, H, W) -> whatever the program returns; more than `largest` images are split into batches.

    file: the bytes of its file, by which its memory is limited. grey_levels: whether it takes uint8 images, from 0 to
    255. output: which of several tensors is returned, None for a program that returns one. Raises ModelError where one
    image is beyond the limit, MemoryError where several are and gradients are wanted: fewer may fit.
    """

    def __init__(
        self,
        exported: ExportedProgram,
        largest: int | None,
        file: int,
        grey_levels: bool = False,
        output: int | None = None,
    ) -> None:
        super().__init__()
        self.grey_levels, self.output = grey_levels, output
        self.exported, self.largest, self.file = exported, largest, file
        self.program = _module(exported)
        self.training = False
        self._within: set[tuple[Any, ...]] = set()

    def forward(self, images: Tensor) -> Any:
        """What the program returns."""
        count = min(len(images), self.largest or len(images))
        if count == len(images):
            try:
                with torch.set_grad_enabled(torch.is_grad_enabled()):  # a part without gradients may fail in its midst
                    return self._limited(images)
            except MemoryError:
                if len(images) == 1 or _differentiated(images):
                    raise
                count = (count + 1) // 2
        return torch.cat([self(part) for part in torch.split(images, count)])

    def _limited(self, images: Tensor) -> Any:
        """The same, within its memory: sizes follow from the shape of the images, and are looked at once for each."""
        shape = (images.shape, images.dtype, images.device, _differentiated(images))
        if shape in self._within or images.device.type == "meta":
            return self._called(images)
        with MemoryLimit(allowed(self.file, images), len(images)) as limit:
            scores = self._called(images)
        if not limit.by_value:
            self._within.add(shape)
        return scores

    def _called(self, images: Tensor) -> Any:
        returned = self.program((images * 255).round().byte() if self.grey_levels else images)
        return returned if self.output is None else returned[self.output]

    def train(self, mode: bool = True) -> Self:
        """Does nothing: a program's mode was fixed when it was exported."""
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the program as well: its constants and the devices written into its operators are not buffers."""
        from torch.export.passes import move_to_device_pass

        self.exported = move_to_device_pass(self.exported, fn(torch.empty(0)).device)
        self.program = _module(self.exported)
        return self


def _differentiated(images: Tensor) -> bool:
    return images.requires_grad and torch.is_grad_enabled()


def _module(exported: ExportedProgram) -> nn.Module:
    module: nn.Module = exported.module().requires_grad_(False)
    for part in module.modules():
        part.training = False
    return module

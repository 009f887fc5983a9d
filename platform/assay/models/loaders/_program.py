"""An exported program as an nn.Module that can be moved to a device and called with any number of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from assay.errors import ModelError
from assay.models.loaders._memory_limit import MemoryLimit, allowed
from assay.models.loaders._signature import Signature

FLOATS = {"float32": torch.float32, "float16": torch.float16}


class Program(nn.Module):
    """Images (B, C, H, W) -> whatever the program returns; more than `largest` images are split into batches.

    takes: the type, layout and number of images that it is given. file: the bytes of its file, by which its memory is
    limited. output: which of several tensors is returned, None for a program that returns one. Raises ModelError where
    one image is beyond the limit, MemoryError where several are and fewer may fit.
    """

    def __init__(
        self, exported: ExportedProgram, takes: Signature, largest: int | None, file: int, output: int | None = None
    ) -> None:
        super().__init__()
        self.takes, self.output = takes, output
        self.exported, self.largest, self.file = exported, largest, file
        self.program = _module(exported)
        self.training = False
        self._within: set[tuple[Any, ...]] = set()

    def forward(self, images: Tensor) -> Any:
        """What the program returns; scores (B, 1, ...) as (B,)."""
        if self.takes.batch not in (None, len(images)):
            return torch.cat([self._filled(part) for part in torch.split(images, self.takes.batch)])
        count = min(len(images), self.largest or len(images))
        if count == len(images):
            try:
                with torch.set_grad_enabled(torch.is_grad_enabled()):  # a part without gradients may fail in its midst
                    return self._limited(images)
            except MemoryError as error:
                if len(images) == self.takes.batch:
                    raise ModelError(str(error)) from error
                if len(images) == 1 or _differentiated(images):
                    raise
                count = (count + 1) // 2
        return torch.cat([self(part) for part in torch.split(images, count)])

    def _filled(self, images: Tensor) -> Any:
        """Of a fixed batch that is filled up with the last image: a program may look at all of it."""
        filler = images[-1:].expand((self.takes.batch or 0) - len(images), -1, -1, -1)
        return self(torch.cat([images, filler]))[: len(images)]

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
        returned = self.program(self._pixels(images))
        scores = returned if self.output is None else returned[self.output]
        return scores.reshape(-1) if scores.numel() == len(images) else scores  # others are for preflight to report

    def _pixels(self, images: Tensor) -> Tensor:
        """The images as the program takes them."""
        pixels = (images * 255).round().byte() if self.takes.type == "uint8" else images.to(FLOATS[self.takes.type])
        return pixels.permute(0, 2, 3, 1).contiguous() if self.takes.last else pixels

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

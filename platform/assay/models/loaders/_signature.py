"""How a deployed file wants its images, and which of its outputs is the score; shared by the runtimes of such files.

A file states its own type of pixels, layout and number of images, and often returns decisions and maps beside the
score. The images of an audit, (B, C, H, W) floats in [0, 1], are turned into what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.data.images import height_and_width
from assay.errors import ModelError

PIXELS: Mapping[str, np.dtype[Any]] = {name: np.dtype(name) for name in ("float32", "float16", "uint8")}
"""The types of images that are given: floats in [0, 1], or bytes from 0 to 255."""
MOST = 256
"""Images of a fixed batch, which is filled up however few there are."""
SCORES = ("float32", "float16", "float64", "bfloat16")


class Port(NamedTuple):
    """An input or output of a file: its type as numpy calls it, its shape with None for a free size; None: any rank."""

    name: str
    type: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        sizes = "any shape" if self.shape is None else ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.name} ({self.type}, {sizes})"


class Signature(NamedTuple):
    """What a file is given and what of its answer is the score.

    type: of the pixels. last: whether the channels come last, (B, H, W, C). batch: how many images it takes at a time,
    None for any number. output: the name of the score.
    """

    input: str
    type: str
    last: bool
    batch: int | None
    output: str

    def batches(self, images: Tensor) -> Iterator[tuple[NDArray[Any], int]]:
        """The images as the file takes them, and how many of each batch count: the others fill it up."""
        pixels = images.detach().cpu().numpy()
        pixels = (pixels * 255).round().astype(np.uint8) if self.type == "uint8" else pixels.astype(PIXELS[self.type])
        pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if self.last else pixels
        size = self.batch or len(pixels)
        for first in range(0, len(pixels), size):
            part = pixels[first : first + size]
            filler = np.repeat(part[-1:], size - len(part), axis=0)
            yield (np.concatenate([part, filler]) if len(filler) else part), len(part)

    def scores(self, images: Tensor, run: Callable[[NDArray[Any]], NDArray[Any]]) -> Tensor:
        """The scores (B,) of images; run: one batch as the file takes it -> the score's output."""
        parts = [self._column(run(batch), count, len(batch)) for batch, count in self.batches(images)]
        return torch.cat(parts).to(images.device)

    def _column(self, answer: NDArray[Any], count: int, size: int) -> Tensor:
        """(B,) of (B, 1, ...), of a single number for a single image; other shapes are left for preflight to report."""
        column = answer.reshape(-1) if answer.size == size else answer
        return torch.from_numpy(np.array(column[:count]))  # a copy: a runtime may use its memory again


def signature(inputs: Sequence[Port], outputs: Sequence[Port], manifest: Mapping[str, Any], export: str) -> Signature:
    """The signature of a file with those inputs and outputs.

    manifest: `channels`, `image_size` and, where the card names it, `output`. export: the line that exports such a file
    rightly. Raises ModelError where the file does not take such images, or where the score is not clear.
    """
    if len(inputs) != 1:
        raise ModelError(f"has {len(inputs)} inputs ({_listed(inputs)}); must have one, the images")
    [images] = inputs
    if images.type not in PIXELS:
        raise ModelError(
            f"takes {images.type}; must take float32 or float16 images in [0, 1], or uint8 images; export it with "
            f"{export}"
        )
    batch, last = _layout(images, manifest)
    return Signature(images.name, images.type, last, batch, the_score(outputs, manifest.get("output"), batch).name)


def _layout(images: Port, manifest: Mapping[str, Any]) -> tuple[int | None, bool]:
    """The number of images at a time, and whether channels come last; sizes given as numbers must fit the dataset's."""
    if images.shape is None:
        return None, False
    if len(images.shape) != 4:
        raise ModelError(f"takes an input of {len(images.shape)} dimensions; must take images (B, C, H, W)")
    batch, *have = images.shape
    if batch is not None and not 1 <= batch <= MOST:
        raise ModelError(f"takes {batch} images at a time; at most {MOST} are given, or any number")
    channels, size = manifest["channels"], height_and_width(manifest["image_size"])
    last = have[2] == channels and have[0] != channels
    order, wanted = ("H, W, C", (*size, channels)) if last else ("C, H, W", (channels, *size))
    if any(is_ not in (None, want) for is_, want in zip(have, wanted, strict=True)):
        shown = ", ".join("?" if n is None else str(n) for n in have)
        raise ModelError(
            f"takes images ({shown}) ({order}); those of the dataset are {wanted}: set image_size and channels to the "
            "detector's"
        )
    return batch, last


def the_score(outputs: Sequence[Port], name: str | None, batch: int | None) -> Port:
    """The output that a card names, the only one, or the only one with one number for each image."""
    if name is not None:
        for port in outputs:
            if port.name == name:
                return port
        raise ModelError(f"has no output '{name}', which its card names; it has: {_listed(outputs)}")
    fit = [port for port in outputs if port.type in SCORES and _one_each(port.shape, batch)]
    if len(outputs) == 1 or len(fit) == 1:
        return (fit or outputs)[0]
    which = f"{len(fit)} that may be the score" if fit else "none that has one number for each image"
    raise ModelError(
        f"has {len(outputs)} outputs and {which}: {_listed(fit or outputs)}; name the score in the card, such as "
        f"`output: {(fit or outputs)[0].name}`"
    )


def _one_each(shape: tuple[int | None, ...] | None, batch: int | None) -> bool:
    """Whether an output has one number for each image: (B,), (B, 1, ...), or one number if one image is taken."""
    if shape is None:
        return False
    return batch == 1 if not shape else all(size == 1 for size in shape[1:])


def _listed(ports: Sequence[Port]) -> str:
    return ", ".join(map(str, ports))

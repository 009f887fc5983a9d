"""One random stream per image, seeded by a seed, a purpose and the image itself.

What an image draws then depends on nothing else: not on its position in the split, the slice it is sent in, the number
of workers, or a batch that was halved for lack of memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.contracts import Images
from assay.hashing import canonical, digest

if TYPE_CHECKING:
    import torch


def streams_of(images: Images, seed: int, purpose: str, device: str = "cpu") -> list[torch.Generator]:
    """A new generator for each image; purpose: what is drawn, such as the name of an attack."""
    import torch

    return [torch.Generator(device).manual_seed(_seed(seed, purpose, image)) for image in images.hashes]


def _seed(seed: int, purpose: str, image: str) -> int:
    return int(digest(canonical([seed, purpose, image]))[:15], 16)

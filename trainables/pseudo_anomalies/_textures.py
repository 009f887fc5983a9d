"""A folder of images as textures, decoded once and kept in memory."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from assay.data.images import decode, image_files

MOST = 512
"""A larger folder is thinned evenly to this many images, by sorted name; 77 MB in colour at 224 pixels."""


@functools.lru_cache(maxsize=4)
def textures(folder: str, height: int, width: int, channels: int) -> Tensor:
    """The images directly in a folder: uint8 (T, channels, height, width); raises DataError for none or a bad one."""
    files, _ = image_files(Path(folder))
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(MOST, len(files))).astype(int)]
    side = max(height, width)
    pixels = np.stack([decode(file, size=side, channels=channels)[:, :height, :width] for file in chosen])
    return torch.from_numpy(pixels)

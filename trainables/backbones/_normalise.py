"""Normalises images in [0, 1] inside the network, so that what is attacked is what is deployed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm

from assay.errors import InputError


class Normalise(nn.Module):
    """(images - mean) / std; for a colour network, `channels_wanted` 3, grey images are repeated three times.

    The constants are not part of the state dict. Raises InputError if the channels do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, channels_wanted: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if channels not in (1, channels_wanted):
            raise InputError(f"this backbone takes images of 1 or {channels_wanted} channels, these have {channels}")
        self.channels_wanted = channels_wanted
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) in [0, 1] -> (B, channels_wanted, H, W), about -2 to 2."""
        return (images.expand(-1, self.channels_wanted, -1, -1) - self.mean) / self.std


class Standardise(nn.Module):
    """Standardises each image by its own mean and deviation, which removes brightness and contrast."""

    FLOOR = 0.01  # of the deviation, in pixel scale, so that a flat image is not amplified into noise

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, C, H, W) with mean 0 and deviation about 1 per image."""
        # One group of all channels. Slow in channels_last, which the next convolution restores.
        return group_norm(images.contiguous(), 1, eps=self.FLOOR**2)

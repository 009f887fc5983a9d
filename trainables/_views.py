"""Views of an image for training: random flips and brightness and contrast jitter, batched."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from assay.units import Fraction


class Views(BaseModel):
    """How views differ: chance-1/2 flips along each axis that `flips` allows, jitter of contrast and brightness."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flips: bool = True
    jitter: Fraction = 0.0

    def draw(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """One view (B, C, H, W) in [0, 1] of every image, each with its own draw."""
        count = len(images)

        def uniform() -> Tensor:
            return torch.rand(count, generator=generator, device=generator.device).to(images.device).view(-1, 1, 1, 1)

        if self.flips:
            images = torch.where(uniform() < 0.5, images.flip(3), images)
            images = torch.where(uniform() < 0.5, images.flip(2), images)
        if self.jitter:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            contrast = 1 + self.jitter * (2 * uniform() - 1)
            brightness = 1 + self.jitter * (2 * uniform() - 1)
            images = (((images - mean) * contrast + mean) * brightness).clamp(0, 1)
        return images

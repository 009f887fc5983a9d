"""Views of an image for training and scoring: flips, crops and colour changes, batched."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Gt
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional as F

from assay.units import Fraction
from trainables.pseudo_anomalies._colour import hue_matrix

DRAWS = 12
"""Most uniform numbers that one view of all images takes."""


class Views(BaseModel):
    """How views differ: flips along each axis with probability 1/2 if `flips`, colour changes, and random crops.

    jitter: of contrast and brightness, factors U[1 - jitter, 1 + jitter]. colour: the same for saturation, and hue
    rotations of U[-colour / 4, colour / 4] of a circle; grey images have neither. chance: probability of jitter and
    colour. grey: probability of dropping the colour. crop: smallest share of the area that a random crop, enlarged to
    the whole, may show; 1 shows all. COBRA has jitter 0.4, colour 0.4, chance 0.8, grey 0.2 and, for small images, crop
    0.54.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flips: bool = True
    jitter: Fraction = 0.0
    colour: Fraction = 0.0
    chance: Fraction = 1.0
    grey: Fraction = 0.0
    crop: Annotated[Fraction, Gt(0)] = 1.0

    def draw(self, images: Tensor, generator: torch.Generator, *, shared: bool = False) -> Tensor:
        """One view (B, C, H, W) in [0, 1] of every image, each with its own draw; with one draw for all if `shared`."""
        count = 1 if shared else len(images)

        def uniform(low: float = 0.0, high: float = 1.0) -> Tensor:
            draws = torch.rand(count, generator=generator, device=generator.device).to(images.device)
            return low + (high - low) * draws.view(-1, 1, 1, 1)

        return self._drawn(images, uniform)

    def fixed(self, images: Tensor, draws: Tensor) -> Tensor:
        """The view (B, C, H, W) of all images that DRAWS numbers from U[0, 1] make, as `draw` shares one draw."""
        place = itertools.count()

        def uniform(low: float = 0.0, high: float = 1.0) -> Tensor:
            return low + (high - low) * draws[next(place)].to(images.device).view(1, 1, 1, 1)

        return self._drawn(images, uniform)

    def _drawn(self, images: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
        if self.flips:
            images = torch.where(uniform() < 0.5, images.flip(3), images)
            images = torch.where(uniform() < 0.5, images.flip(2), images)
        if self.crop < 1:
            side = uniform(self.crop, 1).sqrt()
            images = _part(images, side, (1 - side) * uniform(-1, 1), (1 - side) * uniform(-1, 1))
        coloured = images.shape[1] == 3
        if self.jitter or (self.colour and coloured):
            plain = images
            if self.jitter:
                mean = images.mean(dim=(1, 2, 3), keepdim=True)
                contrast = 1 + self.jitter * (2 * uniform() - 1)
                brightness = 1 + self.jitter * (2 * uniform() - 1)
                images = (((images - mean) * contrast + mean) * brightness).clamp(0, 1)
            if self.colour and coloured:
                turns = uniform(-self.colour / 4, self.colour / 4).flatten()
                saturation = uniform(1 - self.colour, 1 + self.colour).flatten()
                matrix = hue_matrix(turns, saturation).expand(len(images), -1, -1)
                images = (matrix @ images.flatten(2)).view_as(images).clamp(0, 1)
            if self.chance < 1:
                images = torch.where(uniform() < self.chance, images, plain)
        if self.grey and coloured:
            images = torch.where(uniform() < self.grey, images.mean(1, keepdim=True), images)
        return images


def _part(images: Tensor, side: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A crop around (x, y) in [-1, 1], of `side` (B, 1, 1, 1) relative to the image's, enlarged to the full size."""
    zero = torch.zeros_like(side)
    rows = torch.stack([side, zero, x, zero, side, y], dim=1).view(-1, 2, 3).expand(len(images), -1, -1)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(0, 1)

"""Cutout: a flat box (DeVries and Taylor 2017), as large as COBRA's by default."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._boxes import Box, Boxed, Source
from trainables.pseudo_anomalies._colour import same_colour
from trainables.pseudo_anomalies._draws import uniform
from trainables.pseudo_anomalies._geometry import one_place
from trainables.pseudo_anomalies._paste import Draw, pasted


@pasted
def cutout(
    images: Tensor,
    generator: torch.Generator,
    *,
    side: Annotated[Fraction, Ge(0.1), Le(0.5)] = 0.25,
    fill: Literal["zero", "mean"] = "zero",
) -> Draw:
    """Images (B, C, H, W) in [0, 1], each with one flat box.

    side: largest height and width of the box as shares of the image's; each is U[2/3 side, side]. COBRA uses 1/4.
    fill: `zero` for a black box, `mean` for a box in the image's own mean colour.
    An image that is flat and of the box's colour stays as it is.

    Looks like: one upright box, about square, black or in the picture's mean colour.
    """
    colour = images.new_zeros(images.shape[:2]) if fill == "zero" else images.mean((2, 3))
    flat, own = colour[:, :, None, None].expand_as(images), torch.arange(len(images), device=images.device)

    def draw(waiting: Tensor) -> Boxed:
        share = uniform(images, generator, side * 2 / 3, side)
        height = (share * images.shape[-2]).round().long()
        width = (share * images.shape[-1]).round().long()
        box = Box(*one_place(images, generator, height, width), height, width)
        return Boxed(box, Source(flat, own, box.top, box.left), same_colour(images), images.new_ones(len(images)))

    return draw

"""Cutout: a flat box (DeVries and Taylor 2017), as a pseudo-anomaly of the size that COBRA uses."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from assay.contracts import PseudoAnomalies
from trainables.pseudo_anomalies._draws import uniform
from trainables.pseudo_anomalies._geometry import box, one_place
from trainables.pseudo_anomalies._redraw import redraw


def cutout(images: Tensor, generator: torch.Generator, *, fill: Literal["zero", "mean"] = "zero") -> PseudoAnomalies:
    """Images (B, C, H, W) in [0, 1], each with one flat box that spans U[1/6, 1/4] of the height and of the width.

    fill: `zero` for a black box, `mean` for a box in the image's own mean colour.
    """

    def draw() -> PseudoAnomalies:
        share = uniform(images, generator, 1 / 6, 1 / 4)
        height = (share * images.shape[-2]).round().long()
        width = (share * images.shape[-1]).round().long()
        mask = box(images, *one_place(images, generator, height, width), height, width)
        value = torch.zeros_like(images) if fill == "zero" else images.mean((2, 3), keepdim=True)
        return PseudoAnomalies(torch.where(mask, value, images), mask)

    return redraw(images, draw)

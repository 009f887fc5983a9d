"""CutPaste: a rectangle of the image, slightly recoloured, pasted elsewhere in it (Li et al. 2021, section 2.2)."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.contracts import PseudoAnomalies
from assay.units import Fraction
from trainables.pseudo_anomalies._colour import jitter as colour_jitter
from trainables.pseudo_anomalies._draws import per_pixel, uniform
from trainables.pseudo_anomalies._geometry import box, box_sides, log_uniform, pixels, take, two_places
from trainables.pseudo_anomalies._redraw import redraw

SMALLEST = 0.02
MOST_OBLONG = 0.3


def cutpaste(
    images: Tensor,
    generator: torch.Generator,
    *,
    area: Annotated[Fraction, Ge(SMALLEST), Le(0.5)] = 0.15,
    jitter: Fraction = 0.1,
) -> PseudoAnomalies:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with one patch of itself pasted at another place.

    area: largest share of the image that a patch covers; each is U[0.02, area], its aspect log-uniform in [0.3, 1/0.3].
    jitter: strength of the patch's change of brightness and contrast (three channels: also hue and saturation).
    Without jitter a patch from a flat area onto the same flat area changes nothing; such a draw is repeated.
    """

    def draw() -> PseudoAnomalies:
        aspect = log_uniform(images, generator, MOST_OBLONG)
        height, width = box_sides(images, uniform(images, generator, SMALLEST, area), aspect)
        (top, left), (from_top, from_left) = two_places(images, generator, height, width)
        mask = box(images, top, left, height, width)
        rows, columns = pixels(images)
        # Modulo keeps the indices valid outside the box, where what they fetch is not used.
        source_rows = (rows + per_pixel(from_top - top)) % images.shape[-2]
        source_columns = (columns + per_pixel(from_left - left)) % images.shape[-1]
        patch = colour_jitter(take(images, source_rows, source_columns), mask, jitter, generator)
        return PseudoAnomalies(torch.where(mask, patch, images), mask)

    return redraw(images, draw)

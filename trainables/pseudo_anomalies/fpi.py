"""FPI: foreign patch interpolation, a square mixed with the same square of another image (Tan et al. 2020)."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._boxes import Boxed, Source
from trainables.pseudo_anomalies._colour import same_colour
from trainables.pseudo_anomalies._draws import uniform
from trainables.pseudo_anomalies._foreign import SMALLEST, STRONGEST, WEAKEST, others, square
from trainables.pseudo_anomalies._paste import Draw, pasted


@pasted
def fpi(
    images: Tensor,
    generator: torch.Generator,
    *,
    side: Annotated[Fraction, Ge(SMALLEST), Le(0.8)] = 0.4,
    factor: Annotated[Fraction, Ge(WEAKEST), Le(STRONGEST)] = STRONGEST,
) -> Draw:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with a square mixed with that of another image of the batch.

    side: largest side of the square as a share of the image's shorter side; each is U[0.1, side], centred in the inner
    80 %. factor: largest share of the other image in the mix, each U[0.05, factor]. The defaults are the paper's.
    A batch of one uses itself, rolled by half its sides. Identical images do not change each other.

    Looks like: a square ghost of another picture, from hardly visible to solid, hard edges.
    """

    def draw(waiting: Tensor) -> Boxed:
        source, number = others(images, generator)
        box = square(images, generator, side)
        share = uniform(images, generator, WEAKEST, factor).to(images.dtype)
        return Boxed(box, Source(source, number, box.top, box.left), same_colour(images), share)

    return draw

"""PII: Poisson image interpolation, seamless foreign patch interpolation (Tan et al. 2021)."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from assay.units import Fraction
from trainables.pseudo_anomalies._draws import uniform
from trainables.pseudo_anomalies._foreign import SMALLEST, STRONGEST, WEAKEST, others, square
from trainables.pseudo_anomalies._paste import Draw, pasted
from trainables.pseudo_anomalies._poisson import Blended, Places


@pasted
def pii(
    images: Tensor,
    generator: torch.Generator,
    *,
    side: Annotated[Fraction, Ge(SMALLEST), Le(0.8)] = 0.4,
    factor: Annotated[Fraction, Ge(WEAKEST), Le(STRONGEST)] = STRONGEST,
) -> Draw:
    """Images (B, C, H, W) in [0, 1], H and W >= 16, each with a square blended with that of another image of the batch.

    In the square every gradient is the stronger of its own, times 1 - f, and the other's, times f; its rim matches.
    side: largest side of the square as a share of the image's shorter side; each is U[0.1, side], centred in the inner
    80 %. factor: largest f, each U[0.05, factor]. The defaults are the paper's.
    A batch of one uses itself, rolled by half its sides. Flat images leave nothing to blend.

    Looks like: structure of another picture that fades into this one without edges; the faintest of all.
    """

    def draw(waiting: Tensor) -> Blended:
        source, number = others(images, generator)
        box = square(images, generator, side)
        share = uniform(images, generator, WEAKEST, factor).to(images.dtype)
        here = Places(torch.zeros_like(share), torch.ones_like(share))
        return Blended(box, source, number, here, here, own=1 - share, foreign=share)

    return draw
